//! A network namespace found again by its inode, by whoever is left.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use temblor_host::netns::Netns;

/// Processes that end while they are asked for the namespace are made up for by looking again.
const LOOKS_MAX: u32 = 8;

/// Opens the namespace with this inode, wherever somebody keeps it: a process in it, a mount (as
/// `ip netns` makes), or a process that holds it open. None: nobody keeps it, so it is gone.
///
/// # Errors
/// Whoever keeps it has let go each time before it could be opened: it may be there.
pub(super) fn find(inode: u64) -> io::Result<Option<Netns>> {
    for _ in 0..LOOKS_MAX {
        // What is nearest first: in this process's own hands, then processes in it.
        let mut kept: Vec<PathBuf> = in_process("self", inode).into_iter().collect();
        kept.extend(by_process(inode)?);
        kept.extend(by_mount(inode));
        if kept.is_empty() {
            kept.extend(by_holder(inode)?);
        }
        if kept.is_empty() {
            return Ok(None);
        }
        for path in kept {
            // Whoever kept it may have let go meanwhile.
            let Ok(netns) = File::open(path).and_then(Netns::open) else { continue };
            if netns.inode() == inode {
                return Ok(Some(netns));
            }
        }
    }
    Err(io::Error::other(format!("the processes of the network namespace {inode} come and go")))
}

fn processes() -> io::Result<impl Iterator<Item = String>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())))
}

fn link(inode: u64) -> PathBuf {
    format!("net:[{inode}]").into()
}

fn by_process(inode: u64) -> io::Result<Vec<PathBuf>> {
    Ok(processes()?
        .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")))
        .filter(|path| fs::read_link(path).is_ok_and(|target| target == link(inode)))
        .collect())
}

/// `/proc/self/mountinfo`: the fourth field is what is mounted, the fifth is where.
fn by_mount(inode: u64) -> Option<PathBuf> {
    mounted_at(&fs::read_to_string("/proc/self/mountinfo").ok()?, inode)
}

fn mounted_at(mountinfo: &str, inode: u64) -> Option<PathBuf> {
    let wanted = format!("net:[{inode}]");
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        (fields.next()? == wanted).then(|| fields.next())?.map(PathBuf::from)
    })
}

fn by_holder(inode: u64) -> io::Result<Option<PathBuf>> {
    Ok(processes()?.find_map(|pid| in_process(&pid, inode)))
}

/// Where a process holds the namespace open.
fn in_process(pid: &str, inode: u64) -> Option<PathBuf> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| fs::read_link(path).is_ok_and(|target| target == link(inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_a_process_is_found_and_no_other() {
        let here = Netns::of_this_thread().unwrap();
        assert_eq!(find(here.inode()).unwrap(), Some(here));
        assert_eq!(find(1).unwrap(), None);
    }

    #[test]
    fn one_that_a_mount_keeps_is_found_where_it_is() {
        let mountinfo = "22 1 0:5 / /dev rw - devtmpfs udev rw\n\
                         99 22 0:4 net:[4026532999] /run/netns/x rw shared:1 - nsfs nsfs rw\n";
        assert_eq!(mounted_at(mountinfo, 4_026_532_999), Some("/run/netns/x".into()));
        assert_eq!(mounted_at(mountinfo, 4_026_532_998), None);
    }
}
