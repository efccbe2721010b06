//! One file that was behind an address, and why it may have no names to give.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::elf::{BuildId, Image};

/// Why a file has no names to give.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unopened {
    /// As many are open as may be.
    #[error("no more than {open_max} files are held open at a time")]
    Full {
        /// The bound.
        open_max: usize,
    },
    /// The process ended, or took the file out of its memory, before it could be opened.
    #[error("the process had ended, or had it mapped no more")]
    Gone,
    /// The path leads to another file by now, and without root there is no other way.
    #[error(
        "another file has its path by now, and /proc/PID/map_files, which has the right one, \
         is for root only"
    )]
    Replaced,
    /// It was deleted, and without root there is no other way.
    #[error("it was deleted, and /proc/PID/map_files, which still has it, is for root only")]
    Deleted,
    /// It is something else.
    #[error("not an ELF file of this machine's byte order")]
    NotElf,
    /// The system refused.
    #[error("could not open it")]
    System(#[source] Arc<io::Error>),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}

/// A file that was behind an address.
#[derive(Debug)]
pub struct Held {
    pub(crate) path: PathBuf,
    pub(crate) is_deleted: bool,
    pub(crate) contents: Result<Contents, Unopened>,
}

impl Held {
    /// Its path as the process had it, for showing: `[vdso]` for the kernel's own library.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path led to it no more when it was seen first.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// What its linker called it, where it is open and says so.
    #[must_use]
    pub fn build_id(&self) -> Option<&BuildId> {
        self.contents.as_ref().ok()?.image.build_id.as_ref()
    }

    /// Why it is not open.
    #[must_use]
    pub fn why_unopened(&self) -> Option<&Unopened> {
        self.contents.as_ref().err()
    }

    /// A place in it as its linker counts addresses, where it is code.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.contents.as_ref().ok()?.image.address_of(offset)
    }

    /// All of it, mapped into memory. As with looking names up, a file that is cut short meanwhile
    /// ends us.
    ///
    /// # Errors
    /// It is not open, or cannot be mapped.
    pub fn map(&self) -> Result<Mmap, Unopened> {
        let contents = self.contents.as_ref().map_err(Clone::clone)?;
        // SAFETY: it is only read; what others write to it meanwhile shows as other bytes, which
        // every reader of it has to expect of a file.
        Ok(unsafe { Mmap::map(&contents.file)? })
    }
}

/// An open ELF file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) file: File,
    pub(crate) image: Image,
    stamp: Stamp,
}

impl Contents {
    pub(crate) fn new(file: File) -> Result<Self, Unopened> {
        let stamp = Stamp::of(&file.metadata()?);
        let image = read_image(&file).ok_or(Unopened::NotElf)?;
        Ok(Self { file, image, stamp })
    }

    /// Whether it still holds what it held when it was opened: a file can be written over in
    /// place, unless somebody executes it as a program.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| Stamp::of(&now) == self.stamp)
            || self.image.build_id.is_some()
                && read_image(&self.file).is_some_and(|now| now == self.image)
    }
}

fn read_image(file: &File) -> Option<Image> {
    Image::parse(|offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    })
}

/// What changes when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}
