//! The files behind addresses, held open from the time that a process was seen with them: names
//! can be looked up when the process has ended and the file has been deleted.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::elf::{BuildId, Image};
use crate::maps::{Backing, Inode, Mapping, Maps};
use crate::open;
use crate::space::{Behind, Space, Unknown};

/// What is known of files that could not be opened is small, but not nothing.
const KNOWN_MAX: usize = 1 << 16;
/// More than any kernel's vDSO has.
const VDSO_BYTES_MAX: u64 = 1 << 20;

/// One file among those that [`Files`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

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
    path: PathBuf,
    is_deleted: bool,
    contents: Result<Contents, Unopened>,
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

    pub(crate) fn contents(&self) -> Result<&Contents, &Unopened> {
        self.contents.as_ref()
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

/// The files that processes were seen with, each opened once.
///
/// An open file keeps its inode, so that no other can come under its number, and keeps its blocks
/// on the disk if it is deleted: what is held here should not be held for ever.
#[derive(Debug)]
pub struct Files {
    held: Vec<Held>,
    by_inode: HashMap<Inode, FileId>,
    /// 64-bit and 32-bit processes have different ones, and one can be changed in memory.
    vdsos: Vec<(Vec<u8>, FileId)>,
    open: usize,
    open_max: usize,
    refused: usize,
}

impl Files {
    /// None yet. At most so many will be open at a time; the process' own limit of descriptors
    /// should leave room for them, and for a few more that lookups need.
    #[must_use]
    pub fn new(open_max: usize) -> Self {
        Self {
            held: Vec::new(),
            by_inode: HashMap::new(),
            vdsos: Vec::new(),
            open: 0,
            open_max,
            refused: 0,
        }
    }

    /// What a process has mapped to execute now, with each file behind it opened.
    ///
    /// As root files are found through `/proc/PID/map_files`, in whatever mount namespace and
    /// whether they were deleted or not; otherwise by their paths.
    ///
    /// # Errors
    /// The process has ended, or it may not be looked at.
    pub fn snapshot(&mut self, pid: u32) -> io::Result<Space> {
        let maps = Maps::read(pid)?;
        let behind = maps.all().iter().map(|mapping| self.behind(pid, mapping)).collect();
        Ok(Space::new(maps, behind))
    }

    /// One of them. An id of another `Files` has none here, or another file's.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&Held> {
        self.held.get(usize::try_from(id.0).ok()?)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (FileId, &Held)> {
        (0..).map(FileId).zip(&self.held)
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// How often a file was not opened because as many were open as may be.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    fn behind(&mut self, pid: u32, mapping: &Mapping) -> Behind {
        match &mapping.backing {
            Backing::File { inode, path, is_deleted } => {
                self.file(pid, mapping, *inode, path, *is_deleted)
            }
            // A program can be run from such memory; otherwise it is code that was made.
            Backing::Memfd { inode, name } => {
                let path = PathBuf::from(format!("memfd:{name}"));
                match self.file(pid, mapping, *inode, &path, true) {
                    Behind::File(id) if self.is_elf(id) => Behind::File(id),
                    _ => Behind::Jit,
                }
            }
            Backing::Anonymous => Behind::Jit,
            Backing::Vdso => self.vdso(pid, mapping),
            Backing::Uprobes => Behind::Unknown(Unknown::Uprobes),
            Backing::Kernel(_) => Behind::Unknown(Unknown::Kernel),
        }
    }

    fn is_elf(&self, id: FileId) -> bool {
        self.get(id).is_some_and(|held| held.contents.is_ok())
    }

    fn file(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        inode: Inode,
        path: &Path,
        is_deleted: bool,
    ) -> Behind {
        if let Some(id) = self.by_inode.get(&inode).copied()
            && let Some(held) = self.get(id)
        {
            match &held.contents {
                Ok(contents) if contents.is_unchanged() => return Behind::File(id),
                Err(Unopened::NotElf) => return Behind::File(id),
                // Written over in place: what it held before has its own id, and no names.
                Ok(_) => {}
                // Another process, or this one a moment later, may have what the first had not.
                Err(_) => {
                    if let Ok(contents) = self.contents(pid, mapping, inode, path, is_deleted) {
                        self.put(id, contents);
                    }
                    return Behind::File(id);
                }
            }
        }
        let contents = self.contents(pid, mapping, inode, path, is_deleted);
        match self.add(Held { path: path.to_owned(), is_deleted, contents }) {
            Some(id) => {
                self.by_inode.insert(inode, id);
                Behind::File(id)
            }
            None => Behind::Unknown(Unknown::TooManyFiles),
        }
    }

    fn contents(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        inode: Inode,
        path: &Path,
        is_deleted: bool,
    ) -> Result<Contents, Unopened> {
        self.room()?;
        let range = &mapping.addresses;
        let by_range = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
        let file = match open::regular(by_range.as_ref()) {
            Ok(file) => file,
            Err(error) if is_deleted && error.kind() == io::ErrorKind::NotFound => {
                return Err(Unopened::Gone);
            }
            Err(_) if is_deleted => return Err(Unopened::Deleted),
            Err(_) => {
                let file = open::in_root(pid, path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Unopened::Gone,
                    _ => error.into(),
                })?;
                if file.metadata()?.ino() != inode.number {
                    return Err(Unopened::Replaced);
                }
                file
            }
        };
        Contents::new(file)
    }

    /// The kernel's library is in no file: it is copied out of the process.
    fn vdso(&mut self, pid: u32, mapping: &Mapping) -> Behind {
        let image = match read_vdso(pid, mapping) {
            Ok(image) => image,
            // All but a few processes have the same one.
            Err(_) => {
                return self
                    .vdsos
                    .first()
                    .map_or(Behind::Unknown(Unknown::Kernel), |(_, id)| Behind::File(*id));
            }
        };
        if let Some((_, id)) = self.vdsos.iter().find(|(known, _)| *known == image) {
            return Behind::File(*id);
        }
        let contents = self.room().and_then(|()| {
            let file = File::from(
                memfd_create("temblor-vdso", MemfdFlags::CLOEXEC).map_err(io::Error::from)?,
            );
            file.write_all_at(&image, 0)?;
            Contents::new(file)
        });
        let held = Held { path: PathBuf::from("[vdso]"), is_deleted: false, contents };
        match self.add(held) {
            Some(id) => {
                self.vdsos.push((image, id));
                Behind::File(id)
            }
            None => Behind::Unknown(Unknown::TooManyFiles),
        }
    }

    fn room(&mut self) -> Result<(), Unopened> {
        if self.open < self.open_max {
            return Ok(());
        }
        self.refused += 1;
        Err(Unopened::Full { open_max: self.open_max })
    }

    fn add(&mut self, held: Held) -> Option<FileId> {
        let id = u32::try_from(self.held.len()).ok()?;
        if self.held.len() >= KNOWN_MAX {
            return None;
        }
        self.open += usize::from(held.contents.is_ok());
        self.held.push(held);
        Some(FileId(id))
    }

    fn put(&mut self, id: FileId, contents: Contents) {
        let held = usize::try_from(id.0).ok().and_then(|at| self.held.get_mut(at));
        if let Some(held) = held {
            held.contents = Ok(contents);
            self.open += 1;
        }
    }
}

fn read_vdso(pid: u32, mapping: &Mapping) -> io::Result<Vec<u8>> {
    let range = &mapping.addresses;
    let length = (range.end - range.start).min(VDSO_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
