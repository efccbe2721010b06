//! One reset of all that matches, in the target's namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use temblor_host::target::Target;

use super::Reset;
use super::counters::Counters;
use super::diag::{self, Connection};
use crate::network::partition::is_shared;
use crate::{Error, Result};

/// What one or several rounds have come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Rounds made.
    pub(super) rounds: u64,
    /// Connections that matched, one figure a peer.
    pub(super) found: Vec<u64>,
    /// Of those, the ones that were told to end and are not in the kernel's list any more.
    pub(super) gone: Vec<u64>,
    /// What TCP itself counted meanwhile.
    pub(super) counted: Counters,
}

impl Tally {
    pub(super) fn of(peers: usize) -> Self {
        Self { found: vec![0; peers], gone: vec![0; peers], ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        for (mine, others) in [(&mut self.found, &other.found), (&mut self.gone, &other.gone)] {
            mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
        }
        self.counted = self.counted.plus(other.counted);
    }
}

/// Resets what matches now and adds what became of it to the tally.
pub(super) fn round(reset: &Reset, tally: &mut Tally) -> Result<()> {
    let held = held(&reset.target)?;
    let one = in_namespace(&reset.target, "reset connections", || {
        let matching = |connection: &Connection| {
            let is_held = held.as_ref().is_none_or(|held| held.contains(&connection.inode));
            if is_held { peer_of(reset, connection.peer) } else { None }
        };
        let mut one = Tally::of(reset.peers.len());
        let mut kernel = diag::open()?;
        let before = Counters::read()?;
        let mut destroyed = Vec::new();
        for connection in diag::established(&mut kernel)? {
            let Some(peer) = matching(&connection) else { continue };
            one.found[peer] += 1;
            if diag::destroy(&mut kernel, &connection)? {
                destroyed.push((peer, connection.cookie()));
            }
        }
        let left: BTreeSet<[u8; 8]> =
            diag::established(&mut kernel)?.iter().map(Connection::cookie).collect();
        for (peer, cookie) in destroyed {
            one.gone[peer] += u64::from(!left.contains(&cookie));
        }
        one.counted = Counters::read()?.since(before);
        one.rounds = 1;
        Ok(one)
    })?;
    tally.add(&one);
    Ok(())
}

/// Whether the kernel knows how to reset a connection, and lets us.
pub(super) fn trial(target: &Target) -> Result<()> {
    in_namespace(target, "ask for connections to be reset", || diag::try_out(&mut diag::open()?))
}

/// The place of the first peer that a connection's other end belongs to.
fn peer_of(reset: &Reset, other_end: SocketAddr) -> Option<usize> {
    if !reset.ports.is_empty() && !reset.ports.contains(&other_end.port()) {
        return None;
    }
    reset.peers.iter().position(|peer| peer.address.contains(other_end.ip()))
}

/// The sockets of a target that shares its namespace; none where the namespace is its own, and
/// with it every connection in there.
fn held(target: &Target) -> Result<Option<BTreeSet<u64>>> {
    if !is_shared(&target.netns) {
        return Ok(None);
    }
    let mut inodes = BTreeSet::new();
    for pid in target.processes_now() {
        // A process may end between the two looks; then it holds nothing.
        let files = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Error::Missing {
                    what: "the right to see other processes' files (CAP_SYS_PTRACE)".into(),
                    how: "run as root".into(),
                });
            }
            Err(_) => continue,
        };
        inodes.extend(files.flatten().filter_map(|file| {
            let link = std::fs::read_link(file.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        }));
    }
    Ok(Some(inodes))
}

fn in_namespace<T: Send>(
    target: &Target,
    doing: &str,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T> {
    let entered = target.netns.run(work).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Error::Missing {
            what: "the right to enter network namespaces (CAP_SYS_ADMIN)".into(),
            how: "run as root".into(),
        },
        _ => Error::system(format!("enter the network namespace of {}", target.service), error),
    })?;
    entered.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => Error::Missing {
            what: "the right to reset connections (CAP_NET_ADMIN)".into(),
            how: "run as root".into(),
        },
        Some(libc::EOPNOTSUPP) => Error::Missing {
            what: "a kernel that resets connections on request".into(),
            how: "boot a kernel with CONFIG_INET_DIAG_DESTROY".into(),
        },
        Some(libc::EPROTONOSUPPORT | libc::ENOENT) => Error::Missing {
            what: "the kernel's list of connections (sock_diag)".into(),
            how: "load the module (modprobe tcp_diag), or boot a kernel with CONFIG_INET_DIAG"
                .into(),
        },
        _ => {
            Error::system(format!("{doing} in the network namespace of {}", target.service), error)
        }
    })
}

#[cfg(test)]
mod tests {
    use temblor_host::netns::Netns;

    use super::*;
    use crate::network::Peer;

    #[test]
    fn a_connection_belongs_to_the_first_peer_that_has_its_address_and_port() {
        let peer = |address: &str| Peer { name: String::new(), address: address.parse().unwrap() };
        let netns = Netns::of_this_thread().unwrap();
        let mut reset = Reset {
            target: Target::of_namespace("api", netns, Vec::new()),
            peers: ["10.0.0.2", "10.0.0.0/24", "fd00::/8"].map(peer).into(),
            ports: Vec::new(),
            every: None,
        };
        let of = |reset: &Reset, end: &str| peer_of(reset, end.parse().unwrap());
        assert_eq!(of(&reset, "10.0.0.2:5432"), Some(0));
        assert_eq!(of(&reset, "10.0.0.3:5432"), Some(1));
        assert_eq!(of(&reset, "[fd00::9]:1"), Some(2));
        assert_eq!(of(&reset, "10.0.1.3:5432"), None);
        reset.ports = vec![5432];
        assert_eq!(of(&reset, "10.0.0.3:5432"), Some(1));
        assert_eq!(of(&reset, "10.0.0.3:5433"), None);
    }

    #[test]
    fn the_sockets_a_process_holds_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = {
            use std::os::fd::AsRawFd as _;
            std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap()
        };
        let mut target = Target::of_namespace("us", Netns::of_this_thread().unwrap(), Vec::new());
        assert_eq!(held(&target).unwrap(), Some(BTreeSet::new()), "no process, no socket");
        target.pids = vec![std::process::id()];
        let held = held(&target).unwrap().unwrap();
        assert!(held.iter().any(|inode| link.to_str() == Some(&format!("socket:[{inode}]"))));
    }
}
