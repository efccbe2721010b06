//! What a worker does: writes, syncs and reads back, round and round in one file.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Advice, fadvise};
use temblor_event::clock::now_ns;

/// What a filesystem compares, where it compares at all.
const PAGE_BYTES: usize = 4096;

/// What a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskWork {
    /// Bytes in one write.
    pub(crate) block_bytes: u64,
    /// The file never gets longer than this.
    pub(crate) file_bytes: u64,
    /// Sync after each write, or once a round.
    pub(crate) sync: bool,
}

impl DiskWork {
    pub(crate) fn args(self) -> [String; 3] {
        [self.block_bytes.to_string(), self.file_bytes.to_string(), self.sync.to_string()]
    }

    pub(crate) fn parse(args: &[&str]) -> Option<Self> {
        let [block, file, sync] = args else { return None };
        let work = Self {
            block_bytes: block.parse().ok()?,
            file_bytes: file.parse().ok()?,
            sync: sync.parse().ok()?,
        };
        (work.block_bytes > 0 && work.file_bytes >= work.block_bytes).then_some(work)
    }

    /// Works in the file that is this process's standard output, until the process ends.
    pub(crate) fn on_output(self) -> io::Result<()> {
        let file: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
        round_and_round(&File::from(file), self, || false)
    }
}

fn round_and_round(
    file: &File,
    work: DiskWork,
    mut is_over: impl FnMut() -> bool,
) -> io::Result<()> {
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
            let _ = fadvise(file, before, NonZeroU64::new(work.block_bytes), Advice::DontNeed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_never_gets_longer_than_it_may() {
        for sync in [true, false] {
            let file = tempfile::tempfile().unwrap();
            let work = DiskWork { block_bytes: 1000, file_bytes: 3500, sync };
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
