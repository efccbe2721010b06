//! Network namespaces: found by process, entered for the length of one closure.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// An open network namespace. It lives as long as somebody holds it open, so a fault that is in
/// place can still be undone when every process in there has died.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<File>,
    inode: u64,
}

impl Netns {
    /// The namespace of a process.
    ///
    /// # Errors
    /// The process does not exist, or its namespaces may not be seen (another user's, and no
    /// CAP_SYS_PTRACE).
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        Self::open(File::open(format!("/proc/{pid}/ns/net"))?)
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_this_thread() -> io::Result<Self> {
        Self::open(File::open("/proc/thread-self/ns/net")?)
    }

    /// A namespace from an open handle.
    ///
    /// # Errors
    /// The handle cannot be asked for its inode.
    pub fn open(file: File) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        Ok(Self { file: Arc::new(file), inode })
    }

    /// The inode, which is what the kernel calls `net->ns.inum`.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` inside the namespace, on a thread of its own: sockets opened there belong to
    /// the namespace for good, and no other thread of this process is moved.
    ///
    /// # Errors
    /// The thread cannot be started, or may not enter the namespace (CAP_SYS_ADMIN).
    ///
    /// # Panics
    /// As `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(
                scope,
                || -> io::Result<T> {
                    move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok(work())
                },
            )?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

impl Eq for Netns {}
