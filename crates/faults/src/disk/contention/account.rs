//! What the kernel's accounts say of workers and of their disk.

use std::fs;
use std::io;

use crate::disk::BlockDevice;

/// One line of `/proc/diskstats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DiskStats {
    /// Since boot.
    pub(super) written_bytes: u64,
    /// For how long it had anything to do, since boot.
    pub(super) busy_ms: u64,
}

/// The kernel counts in sectors of this size, whatever the disk's are.
const SECTOR_BYTES: u64 = 512;

impl DiskStats {
    pub(super) fn of(device: BlockDevice) -> io::Result<Self> {
        let text = fs::read_to_string("/proc/diskstats")?;
        parse(&text, device).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("/proc/diskstats has no {device}"))
        })
    }
}

/// `254 0 vda READS … WRITES MERGED SECTORS MS IN_FLIGHT BUSY_MS …`, the first three being who.
fn parse(text: &str, device: BlockDevice) -> Option<DiskStats> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        if number(0)? != u64::from(device.major) || number(1)? != u64::from(device.minor) {
            return None;
        }
        let written_bytes = number(9)?.saturating_mul(SECTOR_BYTES);
        Some(DiskStats { written_bytes, busy_ms: number(12)? })
    })
}

/// What a process has had written to disks, as the kernel charges it.
pub(super) fn written_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_numbers() {
        let text = "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12\n \
                    254       0 vda 90 0 720 8 50 7 3000 4 0 350 60 1 2 3 4 5 6\n";
        let of = |major, minor| parse(text, BlockDevice { major, minor });
        assert_eq!(of(254, 0), Some(DiskStats { written_bytes: 3000 * 512, busy_ms: 350 }));
        assert_eq!(of(8, 0).unwrap().busy_ms, 10);
        assert_eq!(of(8, 1), None);
    }
}
