//! `network.partition`: a target and some addresses no longer hear each other.
//!
//! One nftables table in the target's own network namespace, owned by this process: when the
//! process dies, however it dies, the kernel takes the table away ([`crate`]'s `nft` module says
//! how). Nothing outside that namespace is touched.
//!
//! **Where.** The chains stand between the wire and every other filter of the namespace: what
//! goes out is caught after all of them (priority 350), what comes in before all of them
//! (priority -350). So foreign rules see what they would see if the wire were cut. Packets that
//! the namespace only forwards are not the target's and pass. Connection tracking is not needed.
//!
//! **Drop is silent.** Going out, a packet is turned back to the namespace's own loopback and
//! dropped when it arrives there. The plain way, `drop` in the output hook, tells the sender:
//! UDP gets EPERM, and TCP does not count the segment as sent, so that it probes (its persist
//! timer) instead of retransmitting. No cut wire does that, and the retransmissions are what a
//! partition is known by. Turned down: stealing packets in the netdev egress hook (5.16 or later,
//! one chain per interface, and interfaces come and go).
//!
//! **Reject answers.** TCP gets a reset, all else ICMP "port unreachable". Going out, the
//! target's own program gets the answer, so a connect fails at once with ECONNREFUSED and an
//! established connection is reset when it next sends; a datagram's send may also fail with
//! EPERM. Coming in, the peer gets the answer. A reset or an unreachable message on its way out is
//! let through, since it may be such an answer.
//!
//! **Ports** are the peer's ports, TCP and UDP: what goes out to them and what comes back from
//! them. A connection that the peer opened to a port of the target's comes from some other port
//! of the peer's, and is spared. With ports ICMP is spared too.
//!
//! **IPv6 as IPv4.** ARP never passes these chains, so neighbour discovery is let through as
//! well: what is cut is the traffic, not the peer's place on the link. Loopback traffic is never
//! matched, whatever prefix is given.
//!
//! **Counters** count packets as the namespace's IP layer has them; a batch that is handed on as
//! one (segmentation offload) counts once, with all its bytes.

mod check;
mod rules;
mod trial;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};
use temblor_host::target::Target;

pub(in crate::network) use check::{check_ends, is_shared};
pub(in crate::network) use rules::{comment, ports, who};
pub(crate) use trial::empty_netns;
pub use trial::trial;

use super::Prefix;
use crate::nft::{OwnedTable, listing, next_name};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Refusal, Result, Reverted};

const NAME: &str = "network.partition";
const UNDONE_BY: &str = "the kernel, when the table's owner closes its socket";

/// How many peers one partition takes: each costs every packet a comparison.
pub const MAX_PEERS: usize = 1024;
/// How many ports one partition takes.
pub const MAX_PORTS: usize = 1024;

/// Somebody the target is cut off from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// How the report calls it: the service's name, or the address again.
    pub name: String,
    /// Its address, or a network of them. A peer with several addresses is given several times.
    pub address: Prefix,
}

/// Which way is cut, as seen from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// What the target sends.
    Out,
    /// What the target would receive.
    In,
}

impl Direction {
    pub(super) fn cuts_out(self) -> bool {
        matches!(self, Self::Both | Self::Out)
    }

    pub(super) fn cuts_in(self) -> bool {
        matches!(self, Self::Both | Self::In)
    }

    /// The word for it in an experiment file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// It vanishes.
    #[default]
    Drop,
    /// It is answered: TCP with a reset, all else with ICMP "port unreachable".
    Reject,
}

impl Action {
    /// The word for it in an experiment file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }

    fn measure(self) -> &'static str {
        match self {
            Self::Drop => "packets dropped",
            Self::Reject => "packets rejected",
        }
    }
}

/// A partition between a target and its peers.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Who is cut off; the change is made in its network namespace.
    pub from: Target,
    /// From whom.
    pub to: Vec<Peer>,
    /// On which of the peers' TCP and UDP ports. None: on all of them, and for every protocol.
    pub ports: Vec<u16>,
    /// Which way.
    pub direction: Direction,
    /// How.
    pub action: Action,
}

impl Fault for Partition {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        Ok(check::check(self)?)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let table = PlannedChange {
            what: format!(
                "add an nftables table inet temblor_{}_N with an owner, in the network namespace \
                 of {} (inode {})",
                std::process::id(),
                self.from.service,
                self.from.netns.inode()
            ),
            undo: format!("{UNDONE_BY}: at the end of the fault, or when this program dies"),
        };
        let rules = rules::parts(self).into_iter().map(|part| PlannedChange {
            what: format!("{} what {} {}", self.action.word(), part.verb(), part.name()),
            undo: "ends with the table".into(),
        });
        std::iter::once(table).chain(rules).collect()
    }

    /// The table dies with this process: there is nothing to put on record.
    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let parts = rules::parts(self);
        let own = if self.direction.cuts_out() { self.own_addresses()? } else { Vec::new() };
        let name = next_name();
        let commands = rules::table(self, &name, &parts, &own);
        let began_ns = now_ns();
        let table = OwnedTable::create(&self.from.netns, name, commands)?;
        let ended_ns = now_ns();
        let described = Described {
            name: NAME.into(),
            dose: self.dose(),
            mechanism: format!(
                "nftables table inet {} with an owner, in the network namespace of {}",
                table.name(),
                self.from.service
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        let effect = Effect {
            measure: self.action.measure().into(),
            count: 0,
            source: format!(
                "nftables rule counters in the network namespace of {}",
                self.from.service
            ),
            parts: parts
                .iter()
                .map(|part| EffectPart { name: part.name(), count: 0, bytes: 0 })
                .collect(),
            doses: Vec::new(),
        };
        Ok(Box::new(InPlace { table, described, effect }))
    }
}

impl Partition {
    fn dose(&self) -> BTreeMap<String, String> {
        let to: Vec<String> = self.to.iter().map(who).collect();
        BTreeMap::from([
            ("from".into(), self.from.service.clone()),
            ("to".into(), to.join(", ")),
            ("ports".into(), ports(&self.ports).unwrap_or_else(|| "all".into())),
            ("direction".into(), self.direction.word().into()),
            ("action".into(), self.action.word().into()),
        ])
    }

    /// For each peer the target's own address towards it, which is where packets to that peer
    /// are turned back to. Connecting a datagram socket asks the kernel and sends nothing.
    fn own_addresses(&self) -> Result<Vec<IpAddr>> {
        let asked = self.from.netns.run(|| {
            self.to
                .iter()
                .map(|peer| {
                    let any: IpAddr = match peer.address.address() {
                        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                    };
                    // Any port will do: a route does not depend on it.
                    let own = UdpSocket::bind((any, 0))
                        .and_then(|socket| {
                            socket.connect((peer.address.some_host(), 9))?;
                            socket.local_addr()
                        })
                        .map_err(|source| Refusal::NoRoute {
                            service: self.from.service.clone(),
                            peer: peer.address,
                            source,
                        })?
                        .ip();
                    if Prefix::from(own) == peer.address {
                        return Err(Refusal::Itself {
                            service: self.from.service.clone(),
                            peer: peer.address,
                        });
                    }
                    Ok(own)
                })
                .collect::<Result<Vec<IpAddr>, Refusal>>()
        });
        let doing = format!("enter the network namespace of {}", self.from.service);
        Ok(asked.map_err(|e| match e.kind() {
            std::io::ErrorKind::PermissionDenied => Error::Missing {
                what: "the right to enter network namespaces (CAP_SYS_ADMIN)".into(),
                how: "run as root".into(),
            },
            _ => Error::system(doing, e),
        })??)
    }
}

/// A partition that is in place.
struct InPlace {
    table: OwnedTable,
    described: Described,
    /// The last reading.
    effect: Effect,
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let listing = self.table.list()?;
        let counters = listing::counters(&listing, self.effect.parts.len()).ok_or_else(|| {
            Error::Nftables {
                doing: format!("read the counters of the nftables table {}", self.table.name()),
                said: "its listing lacks rules that were put there".into(),
            }
        })?;
        for (part, counter) in self.effect.parts.iter_mut().zip(&counters) {
            part.count = counter.packets;
            part.bytes = counter.bytes;
        }
        self.effect.count = counters.iter().map(|c| c.packets).fold(0, u64::saturating_add);
        Ok(self.effect.clone())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let Self { table, effect, .. } = *self;
        let (name, netns) = (table.name().to_owned(), table.netns().clone());
        let began_ns = now_ns();
        drop(table);
        let ended_ns = now_ns();
        let verified = !listing::our_tables(&netns)?.contains(&name);
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
