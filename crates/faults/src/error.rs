//! Why a fault is not put in place, or could not be read or undone.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::network::Prefix;

/// Whose problem an [`Error`] is; each kind has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user asked for something that is refused: wrong input.
    Input,
    /// The machine lacks something that can be named.
    Missing,
    /// What should have worked did not.
    Failed,
}

/// Why a fault is not put in place, or could not be read or undone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fault, as asked for, is not one that can be made or that should be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The machine lacks something.
    #[error("this machine lacks {what}: {how}")]
    Missing {
        /// The thing.
        what: String,
        /// How to get it.
        how: String,
    },
    /// The operating system refused a step.
    #[error("could not {doing}")]
    System {
        /// The step, as in "enter the network namespace of postgres".
        doing: String,
        /// What it said.
        source: io::Error,
    },
    /// The packet filter refused a command.
    #[error("could not {doing}: {said}")]
    Nftables {
        /// The step.
        doing: String,
        /// What libnftables said, on one line.
        said: String,
    },
}

impl From<crate::disk::DiskRefusal> for Error {
    fn from(refusal: crate::disk::DiskRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Error {
    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) => Kind::Input,
            Self::Missing { .. } => Kind::Missing,
            Self::System { .. } | Self::Nftables { .. } => Kind::Failed,
        }
    }

    pub(crate) fn system(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { doing: doing.into(), source: source.into() }
    }
}

/// Why a fault, as asked for, is not made. Each is about the experiment, not about the machine.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is about a disk.
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskRefusal),
    /// A fault of a clock.
    #[error(transparent)]
    Clock(#[from] crate::clock::Refused),
    /// A fault of a resource.
    #[error(transparent)]
    Resource(#[from] crate::resource::Refused),
    /// A fault of the processor's.
    #[error(transparent)]
    Cpu(#[from] crate::cpu::CpuRefusal),
    /// A fault of memory.
    #[error(transparent)]
    Memory(#[from] crate::memory::MemoryRefusal),
    /// A fault on processes.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessRefusal),
    /// Ramps and steps want a dose that can be changed.
    #[error(
        "{fault} has no dose that could be changed while it is in place: leave out the ramp or \
         the steps"
    )]
    NoLevels {
        /// The fault.
        fault: String,
    },
    /// The target has no network namespace of its own.
    #[error(
        "{service} has no network namespace of its own: a fault of its network would be one of \
         every process that shares its namespace; run it in a namespace or a container"
    )]
    SharedNamespace {
        /// The target.
        service: String,
    },
    /// A dose that is none, or that nobody can mean.
    #[error("{fault}: a {what} of {given} {why}")]
    BadDose {
        /// The fault.
        fault: &'static str,
        /// `share`, `delay`.
        what: &'static str,
        /// What was given.
        given: String,
        /// Why it is none, and what to give instead.
        why: String,
    },
    /// Nobody to be cut off from.
    #[error("the partition of {service} names no peer: say from whom it is to be cut off")]
    NoPeers {
        /// The target.
        service: String,
    },
    /// A fault between a target and nobody.
    #[error("the {fault} of {service} names no peer: say who is at the other end")]
    NobodyNamed {
        /// The fault.
        fault: &'static str,
        /// The target.
        service: String,
    },
    /// More peers or ports than one table should hold.
    #[error(
        "{given} {what} are more than the {max} that one fault takes: use a prefix, or no ports for all"
    )]
    TooMany {
        /// `peers` or `ports`.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// How many there may be.
        max: usize,
    },
    /// Port 0 is never on the wire.
    #[error("port 0 is not a port: leave the ports out to mean all of them")]
    PortZero,
    /// The target and the peer are the same.
    #[error("{peer} is an address of {service}'s own: packets to it never leave {service}")]
    Itself {
        /// The target.
        service: String,
        /// The peer.
        peer: Prefix,
    },
    /// Loopback never leaves the target.
    #[error("{peer} is loopback: packets to it never leave {service}")]
    Loopback {
        /// The target.
        service: String,
        /// The peer.
        peer: Prefix,
    },
    /// The address is no single peer's.
    #[error("{peer} is {what}, not the address of a peer")]
    NotAPeer {
        /// The address.
        peer: Prefix,
        /// What it is instead.
        what: &'static str,
    },
    /// An IPv4 address in IPv6 clothes: on the wire it is IPv4.
    #[error("{peer} is an IPv4 address written as IPv6; on the wire it is {v4}: write that")]
    Mapped {
        /// What was written.
        peer: Prefix,
        /// What is meant.
        v4: Ipv4Addr,
    },
    /// A link-local IPv6 address means nothing without its interface.
    #[error("{peer} is link-local, which means nothing without an interface: use another address")]
    LinkLocal {
        /// The address.
        peer: Prefix,
    },
    /// The target cannot be reached by anybody, so nobody's packets can be made worse.
    #[error("{service} has no network interface that is up and has an address, but loopback")]
    NoInterface {
        /// The target.
        service: String,
    },
    /// An interface has a queue that we could not restore exactly.
    #[error(
        "{interface} has the qdisc {qdisc}, which somebody else has put there and which could not \
         be restored exactly: netem cannot be put in its place"
    )]
    ForeignQdisc {
        /// The interface.
        interface: String,
        /// The queue.
        qdisc: String,
    },
    /// What was given as a domain name is none.
    #[error("`{given}` {why}")]
    NotADomain {
        /// What was written.
        given: String,
        /// Why it is none.
        why: &'static str,
    },
    /// Neither an address nor a prefix.
    #[error("`{given}` is neither an IP address nor a prefix such as 10.0.0.0/24")]
    NotAnAddress {
        /// What was written.
        given: String,
    },
    /// A prefix with bits set below its length.
    #[error("{address}/{len} has bits set past its length: the network is {network}")]
    HostBits {
        /// The address as written.
        address: IpAddr,
        /// The length as written.
        len: u8,
        /// The network it lies in.
        network: Prefix,
    },
    /// The target cannot send to the peer anyway.
    #[error("{service} has no route to {peer}: there is nothing to cut")]
    NoRoute {
        /// The target.
        service: String,
        /// The peer.
        peer: Prefix,
        /// What the kernel said.
        source: io::Error,
    },
}
