//! The directory that a fault works in: beside a target's files, or where it is told to.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use temblor_host::target::Target;

use super::{DiskRefusal, device};
use crate::process::members::Roll;
use crate::{Error, Result};

/// Which directory a fault works in.
#[derive(Debug, Clone)]
pub enum Place {
    /// Where the target keeps its files: its working directory, where that is on the filesystem
    /// of a file that it has open for writing, else the directory of such a file, else its
    /// working directory.
    Files(Target),
    /// A directory as this program sees it.
    Path(PathBuf),
    /// A directory as the target sees it: a container has its own idea of `/data`.
    PathIn(Target, PathBuf),
}

/// A directory that is held open: it stays the same one, whatever is mounted or renamed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) dir: OwnedFd,
    /// Its path as it was named or found, with how it was found.
    pub(super) words: String,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Place {
    /// What is hit, in a word: the target's name, or the path.
    pub(super) fn who(&self) -> String {
        match self {
            Self::Files(target) => target.service.clone(),
            Self::Path(path) => path.display().to_string(),
            Self::PathIn(target, path) => format!("{} in {}", path.display(), target.service),
        }
    }

    pub(super) fn open(&self) -> Result<Found> {
        match self {
            Self::Files(target) => of_files(target),
            Self::Path(path) => {
                let dir = rustix::fs::open(path, DIRECTORY, Mode::empty())
                    .map_err(|e| no_directory(path, "this program", e))?;
                Ok(Found { dir, words: path.display().to_string() })
            }
            Self::PathIn(target, path) => {
                let pid = pids(target)?[0];
                let no_directory = |e| no_directory(path, &target.service, e);
                let root = format!("/proc/{pid}/root");
                let root =
                    rustix::fs::open(&root, DIRECTORY, Mode::empty()).map_err(no_directory)?;
                // Links are followed as the target would follow them.
                let dir = rustix::fs::openat2(
                    &root,
                    path,
                    DIRECTORY,
                    Mode::empty(),
                    ResolveFlags::IN_ROOT,
                )
                .map_err(no_directory)?;
                Ok(Found { dir, words: self.who() })
            }
        }
    }
}

fn no_directory(path: &Path, service: &str, e: rustix::io::Errno) -> Error {
    DiskRefusal::NoDirectory { path: path.into(), service: service.into(), source: e.into() }.into()
}

/// Its processes, the main one first: that one knows best where its files are.
fn pids(target: &Target) -> Result<Vec<u32>> {
    let roll = Roll::of(target);
    let main = roll.main();
    let rest = roll.members().into_iter().filter(|pid| Some(*pid) != main);
    let pids: Vec<u32> = main.into_iter().chain(rest).collect();
    if pids.is_empty() {
        return Err(DiskRefusal::NoProcesses { service: target.service.clone() }.into());
    }
    Ok(pids)
}

fn of_files(target: &Target) -> Result<Found> {
    let pids = pids(target)?;
    let mut file = None;
    for pid in &pids {
        // A process may end while it is looked at: what it had open does not matter then.
        let open = device::open_for_writing(*pid).unwrap_or_default();
        let on_disk = open.into_iter().find(|open| {
            // A file that has been removed, or never had a name, is in no directory.
            FileType::from_raw_mode(open.stat.st_mode) == FileType::RegularFile
                && open.stat.st_nlink > 0
        });
        if let Some(found) = on_disk {
            file = Some((*pid, found));
            break;
        }
    }
    let cwd = |pid: u32| -> io::Result<(OwnedFd, PathBuf)> {
        let link = format!("/proc/{pid}/cwd");
        Ok((rustix::fs::open(&link, DIRECTORY, Mode::empty())?, fs::read_link(&link)?))
    };
    let Some((pid, file)) = file else {
        let (dir, path) = pids
            .iter()
            .find_map(|pid| cwd(*pid).ok())
            .ok_or_else(|| DiskRefusal::NoProcesses { service: target.service.clone() })?;
        let words = format!("{}, the working directory of {}", path.display(), target.service);
        return Ok(Found { dir, words });
    };
    if let Ok((dir, path)) = cwd(pid)
        && rustix::fs::fstat(&dir).is_ok_and(|stat| stat.st_dev == file.stat.st_dev)
    {
        let words = format!("{}, the working directory of {}", path.display(), target.service);
        return Ok(Found { dir, words });
    }
    let parent = file.path.parent().unwrap_or(Path::new("/"));
    let inside = PathBuf::from(format!("/proc/{pid}/root")).join(
        // The kernel gave the path without links, as seen from the process's root.
        parent.strip_prefix("/").unwrap_or(parent),
    );
    let dir = rustix::fs::open(&inside, DIRECTORY, Mode::empty())
        .map_err(|e| no_directory(parent, &target.service, e))?;
    let words = format!("{}, beside a file that {} writes", parent.display(), target.service);
    Ok(Found { dir, words })
}
