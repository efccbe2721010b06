//! What a worker process does: writes, syncs and reads back, round and round in one file.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, fadvise};
use temblor_event::clock::now_ns;

/// The program that is started for each worker: usually this one, with arguments that lead to
/// [`worker`]. What it is to do is added as further arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    /// The program.
    pub path: PathBuf,
    /// Its own arguments.
    pub args: Vec<OsString>,
}

/// What a filesystem compares, where it compares at all.
const PAGE_BYTES: usize = 4096;

/// A worker's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Bytes in one write.
    pub(super) block_bytes: u64,
    /// The file never gets longer than this.
    pub(super) file_bytes: u64,
    /// Sync after each write, or once a round.
    pub(super) sync: bool,
}

impl Work {
    pub(super) fn to_args(self) -> [String; 3] {
        [self.block_bytes.to_string(), self.file_bytes.to_string(), self.sync.to_string()]
    }

    fn from_args(args: &[OsString]) -> Option<Self> {
        let [block, file, sync] = args else { return None };
        let work = Self {
            block_bytes: block.to_str()?.parse().ok()?,
            file_bytes: file.to_str()?.parse().ok()?,
            sync: sync.to_str()?.parse().ok()?,
        };
        (work.block_bytes > 0 && work.file_bytes >= work.block_bytes).then_some(work)
    }
}

/// The whole of a worker process, which `disk.contention` starts: `args` are the arguments that it
/// added. Its standard output is the file to work in, which has no name. It begins when a byte
/// comes from its standard input, and ends when that is closed, which it is when whoever started
/// it dies.
///
/// # Errors
/// The arguments are not a worker's, or the file cannot be written (the filesystem is full).
pub fn worker(args: &[OsString]) -> io::Result<()> {
    let work = Work::from_args(args).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "these are not a disk worker's arguments")
    })?;
    let input = io::stdin();
    if rustix::io::read(&input, &mut [0; 1])? == 0 {
        return Ok(());
    }
    let file: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    round_and_round(&File::from(file), work, || is_closed(&input))
}

fn round_and_round(file: &File, work: Work, mut is_over: impl FnMut() -> bool) -> io::Result<()> {
    let size = usize::try_from(work.block_bytes).map_err(io::Error::other)?;
    let mut block = unlike_any_other(size);
    let mut back = vec![0_u8; size];
    let blocks = work.file_bytes / work.block_bytes;
    for turn in 0_u64.. {
        if is_over() {
            break;
        }
        // Never the same twice: a disk that stores what is alike once would have no work.
        for page in block.chunks_mut(PAGE_BYTES) {
            let stamp = turn.to_le_bytes();
            let len = stamp.len().min(page.len());
            page[..len].copy_from_slice(&stamp[..len]);
        }
        let at = turn % blocks * work.block_bytes;
        file.write_all_at(&block, at)?;
        if work.sync || turn % blocks == blocks - 1 {
            file.sync_data()?;
        }
        // Read from the disk and not from the page cache, which is told to forget it: what has
        // not reached the disk yet it cannot forget.
        let before = (turn + blocks - 1) % blocks * work.block_bytes;
        if turn > 0 {
            let _ = fadvise(
                file,
                before,
                std::num::NonZeroU64::new(work.block_bytes),
                Advice::DontNeed,
            );
            file.read_exact_at(&mut back, before)?;
        }
    }
    Ok(())
}

/// Bytes that nothing compresses, others in every process.
fn unlike_any_other(size: usize) -> Vec<u8> {
    let mut state = u64::from(std::process::id()) << 32 | (now_ns() & 0xffff_ffff);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 33)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Whether the other end of a pipe is gone.
fn is_closed(pipe: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&pipe, PollFlags::empty())];
    // What cannot be asked is taken as gone: a worker never outlives its fault.
    poll(&mut asked, Some(&Timespec::default())).map_or(true, |_| !asked[0].revents().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_back_as_they_were_and_others_are_refused() {
        let work = Work { block_bytes: 4096, file_bytes: 1 << 20, sync: true };
        let args = work.to_args().map(OsString::from);
        assert_eq!(Work::from_args(&args), Some(work));
        for bad in [&["4096", "1", "true"][..], &["0", "1", "true"], &["1", "1", "yes"], &["1"]] {
            let args: Vec<OsString> = bad.iter().map(OsString::from).collect();
            assert_eq!(Work::from_args(&args), None, "{bad:?}");
        }
    }

    #[test]
    fn the_file_never_gets_longer_than_it_may() {
        for sync in [true, false] {
            let file = tempfile::tempfile().unwrap();
            let work = Work { block_bytes: 1000, file_bytes: 3500, sync };
            let mut turns = 0;
            round_and_round(&file, work, || {
                turns += 1;
                turns > 20
            })
            .unwrap();
            assert_eq!(file.metadata().unwrap().len(), 3000);
        }
    }
}
