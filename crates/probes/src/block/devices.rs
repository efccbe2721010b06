//! Disks by the kernel's number and by their names.

use std::collections::BTreeMap;
use std::fs;

/// Where the kernel links each device's number to its place in the tree of devices.
const BY_NUMBER: &str = "/sys/dev/block";
/// A name for each disk, partitions left out.
const DISKS: &str = "/sys/block";
/// Minor numbers have so many bits.
const MINOR_BITS: u32 = 20;

/// How many disks there are that hold anything.
pub(super) fn count() -> usize {
    let Ok(disks) = fs::read_dir(DISKS) else { return 0 };
    let holds = |disk: &fs::DirEntry| {
        // A loop device without a file, or a compressed one without memory, has none.
        fs::read_to_string(disk.path().join("size")).is_ok_and(|size| size.trim() != "0")
    };
    disks.flatten().filter(holds).count()
}

/// The names that were found, for disks that are gone since.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    /// The disk's name, as in /proc/partitions; where nothing has it, its number.
    pub(super) fn of(&mut self, device: u32) -> String {
        let (major, minor) = (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1));
        let number = format!("{major}:{minor}");
        let found = fs::read_link(format!("{BY_NUMBER}/{number}")).ok();
        let name = found.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned()));
        match name {
            Some(name) => {
                self.0.insert(device, name.clone());
                name
            }
            None => self.0.get(&device).cloned().unwrap_or(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_goes_by_its_name_and_what_is_none_by_its_number() {
        assert_eq!(Names::default().of(4095 << MINOR_BITS | 7), "4095:7");
        let Ok(partitions) = fs::read_to_string("/proc/partitions") else { return };
        for line in partitions.lines().skip(2) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (major, minor): (u32, u32) = (words[0].parse().unwrap(), words[1].parse().unwrap());
            assert_eq!(Names::default().of(major << MINOR_BITS | minor), words[3]);
        }
    }
}
