//! Whether this machine can cut anybody off at all: only an attempt can tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::thread::{UnshareFlags, unshare_unsafe};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use super::{Action, Direction, Partition, Peer, rules};
use crate::nft::{OwnedTable, next_name};
use crate::{Error, Result};

/// Addresses that are set aside for documentation: nobody's.
const PEERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Puts a partition of each action in place in an empty network namespace that is made for it
/// and goes with it. What the library, the kernel or its modules lack shows here, before anybody
/// is hurt.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<()> {
    let netns = empty_netns()?;
    for action in [Action::Drop, Action::Reject] {
        let partition = Partition {
            from: Target::of_namespace("a trial", netns.clone(), Vec::new()),
            to: PEERS.map(|a| Peer { name: a.to_string(), address: a.into() }).into(),
            ports: vec![5432],
            direction: Direction::Both,
            action,
        };
        let name = next_name();
        let own = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let commands = rules::table(&partition, &name, &rules::parts(&partition), &own);
        drop(OwnedTable::create(&netns, name, commands)?);
    }
    Ok(())
}

/// A namespace that only our handle keeps alive.
pub(crate) fn empty_netns() -> Result<Netns> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: CLONE_NEWNET leaves the file descriptor table shared; it moves this thread
            // only, which ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            Netns::of_this_thread()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Error::Missing {
            what: "the right to make a network namespace (CAP_SYS_ADMIN)".into(),
            how: "run as root".into(),
        },
        _ => Error::system("make a network namespace", error),
    })
}
