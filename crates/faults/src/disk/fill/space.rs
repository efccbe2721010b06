//! The space of a filesystem, and the file of ours that takes it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs, ftruncate};
use rustix::io::Errno;

use super::Mark;

/// At most this share of a filesystem stays free against `to`.
const FLOOR_SHARE: u64 = 100;
/// And at most this much.
const FLOOR_BYTES_MAX: u64 = 256 << 20;
/// What is asked of the filesystem at once: so that a stop of the fault is heard in between.
const STEP_BYTES: u64 = 1 << 30;
/// Taking space needs space for its own books, so the mark is neared in steps; never more.
const STEPS_MAX: u32 = 4096;

/// What a filesystem says of its space, as `df` reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// In use.
    pub(super) used: u64,
    /// Free for everybody: what is set aside for root is left out.
    pub(super) free: u64,
    /// The unit that it is given out in.
    pub(super) block: u64,
}

impl Space {
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstatvfs(file)?;
        let block = stat.f_frsize.max(1);
        Ok(Self {
            used: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(block),
            free: stat.f_bavail.saturating_mul(block),
            block,
        })
    }

    pub(super) fn usable(&self) -> u64 {
        self.used.saturating_add(self.free)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of a filesystem is shown with a digit")]
    pub(super) fn used_percent(&self) -> f64 {
        100.0 * self.used as f64 / self.usable().max(1) as f64
    }

    /// What stays free unless bytes are asked for.
    pub(super) fn floor(&self) -> u64 {
        (self.usable() / FLOOR_SHARE).min(FLOOR_BYTES_MAX)
    }

    /// How much is to be free at the mark.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share was checked to be in 0 to 1, and bytes are rounded down"
    )]
    pub(super) fn wanted_free(&self, mark: Mark) -> u64 {
        match mark {
            Mark::Free(bytes) => bytes,
            Mark::To(share) => (self.usable() as f64 * (1.0 - share)) as u64,
        }
    }
}

/// Makes the file as long as it must be for the mark to be reached: longer, or shorter where
/// others have taken space meanwhile.
///
/// # Errors
/// The filesystem cannot be asked, or cannot give out space ahead of writing.
pub(super) fn adjust(file: &File, mark: Mark) -> io::Result<()> {
    let mut step_max = STEP_BYTES;
    for _ in 0..STEPS_MAX {
        let space = Space::of(file)?;
        let wanted = space.wanted_free(mark);
        let len = file.metadata()?.len();
        if space.free < wanted {
            let excess = (wanted - space.free).next_multiple_of(space.block);
            if len > 0 && excess >= space.block {
                ftruncate(file, len.saturating_sub(excess))?;
            }
            return Ok(());
        }
        let missing = (space.free - wanted) / space.block * space.block;
        let step = missing.min(step_max);
        if step < space.block {
            return Ok(());
        }
        match fallocate(file, FallocateFlags::empty(), len, step) {
            // A signal to us says nothing of the filesystem.
            Ok(()) | Err(Errno::INTR) => {}
            // It wants some of what is left for its books: less is asked for.
            Err(Errno::NOSPC | Errno::DQUOT) => step_max = step / 2,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_share_of_what_anybody_can_use_or_bytes() {
        let space = Space { used: 600, free: 400, block: 10 };
        assert_eq!(space.used_percent(), 60.0);
        assert_eq!(space.wanted_free(Mark::To(0.75)), 250);
        assert_eq!(space.wanted_free(Mark::To(1.0)), 0);
        assert_eq!(space.wanted_free(Mark::Free(7)), 7);
        assert_eq!(space.floor(), 10);
        assert_eq!(Space { used: 1 << 50, ..space }.floor(), FLOOR_BYTES_MAX);
    }
}
