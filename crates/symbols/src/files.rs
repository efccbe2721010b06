//! The files behind addresses, held open from the time that a process was seen with them: names
//! can be looked up when the process has ended and the file has been deleted.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::held::{Contents, Held, Unopened};
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

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// As `stat` numbers it: no two files have the same at a time.
    Stat { device: u64, inode: u64 },
    /// As `maps` shows it, for whoever may not ask more, and for a process that has ended
    /// meanwhile. All volumes of a btrfs have one device there and count their inodes each for
    /// itself, so that the numbers alone would be too little.
    Shown { inode: Inode, path: PathBuf },
}

/// The files that processes were seen with, each opened once.
///
/// An open file keeps its inode, so that no other can come under its number, and keeps its blocks
/// on the disk if it is deleted: what is held here should not be held for ever.
#[derive(Debug)]
pub struct Files {
    held: Vec<Held>,
    known: HashMap<Key, FileId>,
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
            known: HashMap::new(),
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
                let file = Shown { inode: *inode, path, is_deleted: *is_deleted };
                self.file(pid, mapping, file)
            }
            // A program can be run from such memory; otherwise it is code that was made.
            Backing::Memfd { inode, name } => {
                let path = PathBuf::from(format!("memfd:{name}"));
                let file = Shown { inode: *inode, path: &path, is_deleted: true };
                match self.file(pid, mapping, file) {
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

    fn file(&mut self, pid: u32, mapping: &Mapping, file: Shown<'_>) -> Behind {
        let shown = Key::Shown { inode: file.inode, path: file.path.to_owned() };
        let key = std::fs::metadata(by_range(pid, mapping)).map_or_else(
            |_| shown.clone(),
            |stat| Key::Stat { device: stat.dev(), inode: stat.ino() },
        );
        let known = self.known.get(&key).copied().and_then(|id| Some((id, self.get(id)?)));
        let (earlier, may_be_opened) = match known {
            Some((id, Held { contents: Ok(contents), .. })) if contents.is_unchanged() => {
                return Behind::File(id);
            }
            // Written over in place: what it held before has its own id, and no names.
            None | Some((_, Held { contents: Ok(_), .. })) => (None, false),
            // What is not open may have left its number to another file.
            Some((id, held)) => {
                let is_elf = !matches!(held.contents, Err(Unopened::NotElf));
                (Some(id), is_elf && held.path == file.path)
            }
        };
        let contents = self.contents(pid, mapping, file);
        if let Some(id) = earlier {
            match contents {
                // Another process, or this one a moment later, has what the first had not.
                Ok(contents) if may_be_opened => {
                    self.put(id, contents);
                    return Behind::File(id);
                }
                Ok(_) => {}
                Err(_) => return Behind::File(id),
            }
        }
        let held = Held { path: file.path.to_owned(), is_deleted: file.is_deleted, contents };
        match self.add(held) {
            Some(id) => {
                self.known.insert(key, id);
                self.known.insert(shown, id);
                Behind::File(id)
            }
            None => Behind::Unknown(Unknown::TooManyFiles),
        }
    }

    fn contents(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        file: Shown<'_>,
    ) -> Result<Contents, Unopened> {
        self.room()?;
        let opened = match open::regular(by_range(pid, mapping).as_ref()) {
            Ok(opened) => opened,
            Err(error) if file.is_deleted && error.kind() == io::ErrorKind::NotFound => {
                return Err(Unopened::Gone);
            }
            Err(_) if file.is_deleted => return Err(Unopened::Deleted),
            Err(_) => {
                let opened = open::in_root(pid, file.path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Unopened::Gone,
                    _ => error.into(),
                })?;
                if opened.metadata()?.ino() != file.inode.number {
                    return Err(Unopened::Replaced);
                }
                opened
            }
        };
        Contents::new(opened)
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

/// A file as `maps` shows it.
#[derive(Clone, Copy)]
struct Shown<'a> {
    inode: Inode,
    path: &'a Path,
    is_deleted: bool,
}

/// The link of the kernel's to what is mapped, whatever path it had.
fn by_range(pid: u32, mapping: &Mapping) -> String {
    let range = &mapping.addresses;
    format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end)
}

fn read_vdso(pid: u32, mapping: &Mapping) -> io::Result<Vec<u8>> {
    let range = &mapping.addresses;
    let length = (range.end - range.start).min(VDSO_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
