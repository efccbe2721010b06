//! A table that lives as long as its owner: put in place, read, let go.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use temblor_host::netns::Netns;

use super::library::{self, Context};
use crate::{Error, Result};

/// Tables that this process means to be there.
static ACTIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A name that no other table of ours has: `temblor_<pid>_<n>`.
pub(crate) fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("temblor_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether a table of this process is meant to be there.
pub(super) fn is_active(name: &str) -> bool {
    ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

/// A request for a listing: the commands that list, one by one, and where the answer goes.
type Request = (Vec<String>, SyncSender<Result<String>>);

/// An `inet` table with `flags owner`. Dropping it closes the owner's socket, which is the end
/// of the table.
pub(crate) struct OwnedTable {
    name: String,
    netns: Netns,
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl OwnedTable {
    /// Makes the table `name` (from [`next_name`]) in `netns` by running `commands`, all or
    /// nothing.
    pub(crate) fn create(netns: &Netns, name: String, commands: String) -> Result<Self> {
        Self::create_then(netns, name, commands, |_| Ok(()))
    }

    /// As [`Self::create`], and then adds what nft has no words for, on the socket that owns the
    /// table. Where `addition` fails, there is no table.
    pub(crate) fn create_then(
        netns: &Netns,
        name: String,
        commands: String,
        addition: impl FnOnce(BorrowedFd<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        library::present()?;
        let (requests, inbox) = sync_channel::<Request>(1);
        let (done, made) = sync_channel(1);
        let theirs = (netns.clone(), name.clone());
        // From here on `Drop` clears up, on every way out.
        let mut table = Self { name, netns: netns.clone(), requests: Some(requests), thread: None };
        ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(table.name.clone());
        let thread = std::thread::Builder::new()
            .name("nft-owner".into())
            .spawn(move || {
                let (netns, name) = theirs;
                let owned = own(netns, &commands).and_then(|owner| {
                    with_own_socket(addition)?;
                    Ok(owner)
                });
                match owned {
                    Ok(owner) => {
                        let _ = done.send(Ok(()));
                        serve(owner, &name, &inbox);
                    }
                    Err(error) => {
                        let _ = done.send(Err(error));
                    }
                }
            })
            .map_err(|e| Error::system("start a thread to own an nftables table", e))?;
        table.thread = Some(thread);
        made.recv().unwrap_or_else(|_| Err(owner_is_gone(&table.name)))?;
        Ok(table)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub(crate) fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The table as nft lists it, counters included.
    pub(crate) fn list(&self) -> Result<String> {
        self.ask(vec![format!("list table inet {}", self.name)])
    }

    /// Some of the table's chains as nft lists them, counters included. Rules of other chains,
    /// which nft may have no words for, are not even looked at.
    pub(crate) fn list_chains(&self, chains: &[&str]) -> Result<String> {
        let name = &self.name;
        let list = |chain: &&str| format!("list chain inet {name} {chain}");
        self.ask(chains.iter().map(list).collect())
    }

    fn ask(&self, commands: Vec<String>) -> Result<String> {
        let (reply, answer) = sync_channel(1);
        let requests = self.requests.as_ref().ok_or_else(|| owner_is_gone(&self.name))?;
        requests.send((commands, reply)).map_err(|_| owner_is_gone(&self.name))?;
        answer.recv().unwrap_or_else(|_| Err(owner_is_gone(&self.name)))
    }
}

impl Drop for OwnedTable {
    fn drop(&mut self) {
        // The owner waits for requests; with nobody left to send one it frees its context and
        // ends. Joining makes the table's end a fact when this returns.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

fn owner_is_gone(name: &str) -> Error {
    Error::Nftables {
        doing: format!("reach the owner of the nftables table {name}"),
        said: "its thread has ended".into(),
    }
}

/// Enters the namespace, takes a file table of its own, and makes the table.
fn own(netns: Netns, commands: &str) -> Result<Context> {
    enter_alone(netns, None)?;
    let mut owner = Context::new()?;
    owner.run(commands).map_err(|said| why_not_made(&said))?;
    Ok(owner)
}

/// Gives `addition` the socket that the calling thread's table is owned by. libnftables does not
/// say which that is; but on this thread it is the only one to the packet filter.
fn with_own_socket(addition: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    const SEARCHED: std::ops::Range<i32> = 3..64;
    let mut found = SEARCHED.filter(|number| {
        let option = |name| {
            let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
            // SAFETY: the kernel writes an int at most, and refuses a number that is no socket.
            let status = unsafe {
                libc::getsockopt(
                    *number,
                    libc::SOL_SOCKET,
                    name,
                    (&raw mut value).cast(),
                    &raw mut length,
                )
            };
            (status == 0).then_some(value)
        };
        option(libc::SO_DOMAIN) == Some(libc::AF_NETLINK)
            && option(libc::SO_PROTOCOL) == Some(libc::NETLINK_NETFILTER)
    });
    let (Some(number), None) = (found.next(), found.next()) else {
        return Err(Error::Nftables {
            doing: "find the socket that owns an nftables table".into(),
            said: "the thread that owns it has not exactly one to the packet filter".into(),
        });
    };
    // SAFETY: it was just seen to be open, in a file table that only this thread uses; it is
    // libnftables' and stays open until the context ends, which this thread does after this.
    addition(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Moves the calling thread, which was started for this, into a network namespace, and gives it
/// a file table of its own with nothing in it but the standard streams and `kept`. No child of
/// the process can inherit what this thread opens from here on, and this thread keeps nothing
/// open that the rest of the process closes.
pub(crate) fn enter_alone(netns: Netns, kept: Option<RawFd>) -> Result<()> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|e| {
        if e == rustix::io::Errno::PERM {
            Error::Missing {
                what: "the right to enter network namespaces (CAP_SYS_ADMIN)".into(),
                how: "run as root".into(),
            }
        } else {
            Error::system(format!("enter the network namespace {}", netns.inode()), e)
        }
    })?;
    // It must go while this thread still shares the file table it was opened in: later its
    // number here would be closed, or somebody else's.
    drop(netns);
    private_file_table(kept)
}

fn private_file_table(kept: Option<RawFd>) -> Result<()> {
    const FIRST_PAST_THE_STANDARD_STREAMS: libc::c_uint = 3;
    // Closing one side of what is kept unshares the table; closing the other is then private too.
    let kept = kept.and_then(|kept| libc::c_uint::try_from(kept).ok());
    let ranges = match kept {
        None => [Some((FIRST_PAST_THE_STANDARD_STREAMS, libc::c_uint::MAX)), None],
        Some(kept) => [
            Some((kept + 1, libc::c_uint::MAX)),
            (kept > FIRST_PAST_THE_STANDARD_STREAMS)
                .then(|| (FIRST_PAST_THE_STANDARD_STREAMS, kept - 1)),
        ],
    };
    for (first, last) in ranges.into_iter().flatten() {
        // SAFETY: the thread was started for this and owns no file; with CLOSE_RANGE_UNSHARE the
        // closing happens in the thread's own table only, so no other thread's file is closed.
        let status =
            unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_UNSHARE) };
        if status == 0 {
            continue;
        }
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOSYS) {
            return Err(too_old());
        }
        return Err(Error::system("give a thread its own file table", error));
    }
    Ok(())
}

/// Answers requests until nobody can make one any more.
fn serve(owner: Context, name: &str, inbox: &Receiver<Request>) {
    while let Ok((commands, reply)) = inbox.recv() {
        // A context for each: what one has cached of a chain is all that it knows of the table.
        let list = |command: &String| {
            Context::new()?.run(command).map_err(|said| Error::Nftables {
                doing: format!("read the counters of the nftables table {name}"),
                said,
            })
        };
        let listing = commands.iter().map(list).collect();
        let _ = reply.send(listing);
    }
    drop(owner);
}

/// Turns a refusal into what the machine lacks, where that is the reason.
fn why_not_made(said: &str) -> Error {
    if !kernel_has_owner(&kernel_release()) {
        return too_old();
    }
    if said.contains("syntax error") && said.contains("owner") {
        return Error::Missing {
            what: "nftables 0.9.9 or later, whose tables can have an owner".into(),
            how: format!("upgrade the package nftables ({said})"),
        };
    }
    if said.contains("Operation not permitted") {
        return Error::Missing {
            what: "the right to change the packet filter (CAP_NET_ADMIN)".into(),
            how: "run as root".into(),
        };
    }
    Error::Nftables { doing: "make an nftables table".into(), said: said.to_owned() }
}

fn too_old() -> Error {
    Error::Missing {
        what: "nftables tables that end with their owner".into(),
        how: format!("Linux 5.12 or later is needed, and this is {}", kernel_release()),
    }
}

fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a kernel of this release knows `flags owner`. One whose release says nothing is
/// given the benefit of the doubt.
fn kernel_has_owner(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 12),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_12_know_no_owner() {
        for (release, expected) in [
            ("5.10.0-28-amd64", false),
            ("4.19.0", false),
            ("5.11.22", false),
            ("5.12.0-rc1", true),
            ("6.18.44", true),
            ("6.1-custom", true),
            ("unnamed", true),
        ] {
            assert_eq!(kernel_has_owner(release), expected, "{release}");
        }
    }

    #[test]
    fn names_differ() {
        assert_ne!(next_name(), next_name());
    }
}
