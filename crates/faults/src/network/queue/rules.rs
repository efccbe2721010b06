//! The table that hands packets to the queues. Pure: text out.
//!
//! Each direction has a chain that hands over and a chain behind it that counts what has gone on,
//! so that what was lost, and how much passes in a second, is the kernel's word. They stand
//! between the wire and every other filter of the namespace, as a partition's do.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::partition::{ports, who};
use crate::network::shape::EchoIds;
use crate::network::{Direction, Dose, Peer, Shape};

/// On the copies of packets that are sent again, so that they are known.
pub(super) const COPY_MARK: u32 = 0x7e3b_1043;
/// After every filter of the namespace, so that each has seen what the target sends.
const LAST: i32 = 350;
/// Before every filter of the namespace.
const FIRST: i32 = -350;

/// A direction in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

impl Way {
    /// The directions that a fault acts in, in the order of its queues.
    pub(super) fn all(direction: Direction) -> Vec<Self> {
        match direction {
            Direction::Both => vec![Self::Out, Self::In],
            Direction::Out => vec![Self::Out],
            Direction::In => vec![Self::In],
        }
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }

    /// The chain of the one rule that hands over.
    pub(super) fn queue_chain(self) -> &'static str {
        match self {
            Self::Out => "queue_out",
            Self::In => "queue_in",
        }
    }

    /// The chains whose rules count.
    pub(super) fn counting_chains(self) -> [&'static str; 2] {
        self.chains().map(|(chain, ..)| chain)
    }

    /// The chain in which packets are chosen, the one behind it, and where they stand.
    fn chains(self) -> [(&'static str, &'static str, i32); 2] {
        match self {
            Self::Out => [("outgoing", "output", LAST), ("gone", "output", LAST + 1)],
            Self::In => [("incoming", "input", FIRST), ("arrived", "input", FIRST + 1)],
        }
    }

    fn loopback(self) -> &'static str {
        match self {
            Self::Out => "oifname \"lo\"",
            Self::In => "iifname \"lo\"",
        }
    }

    fn echo(self) -> &'static str {
        match self {
            Self::Out => "echo-request",
            Self::In => "echo-reply",
        }
    }
}

/// What a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// Packets that are handed over.
    Handed,
    /// Packets that have gone on.
    Passed,
    /// Copies.
    Copies,
}

/// A rule with a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) way: Way,
    pub(super) counts: Counts,
    /// `out to postgres (10.0.0.5), ports 5432`.
    pub(super) name: String,
    pub(super) matched: String,
}

/// The rules with counters, in the order of their numbers.
pub(super) fn parts(shape: &Shape) -> Vec<Part> {
    let ways = Way::all(shape.direction);
    let mut parts = Vec::new();
    for counts in [Counts::Handed, Counts::Passed] {
        for way in &ways {
            parts.extend(matches(shape, *way).into_iter().map(|(matched, name)| Part {
                way: *way,
                counts,
                name,
                matched,
            }));
        }
    }
    if matches!(shape.dose, Dose::Duplicate { .. }) {
        parts.extend(ways.into_iter().map(|way| Part {
            way,
            counts: Counts::Copies,
            name: format!("copies {}", way.word()),
            matched: format!("meta mark {COPY_MARK:#x} "),
        }));
    }
    parts
}

/// What is matched in a direction, as (condition, name).
fn matches(shape: &Shape, way: Way) -> Vec<(String, String)> {
    let (to, end) = match way {
        Way::Out => ("out to", "dport"),
        Way::In => ("in from", "sport"),
    };
    let (port, port_name) = match ports(&shape.ports) {
        None => (String::new(), String::new()),
        Some(ports) => (
            format!("meta l4proto {{ tcp, udp }} th {end} {{ {ports} }} "),
            format!(", {} {ports}", if shape.ports.len() == 1 { "port" } else { "ports" }),
        ),
    };
    if shape.to.is_empty() {
        return vec![(port, format!("{to} everybody{port_name}"))];
    }
    let mut seen = BTreeSet::new();
    shape
        .to
        .iter()
        // A second rule for the same address would never see a packet.
        .filter(|peer| seen.insert(peer.address))
        .map(|peer| {
            (format!("{}{port}", address(peer, way)), format!("{to} {}{port_name}", who(peer)))
        })
        .collect()
}

/// The condition on the peer's address, with the space that follows it.
fn address(peer: &Peer, way: Way) -> String {
    let v4 = peer.address.address().is_ipv4();
    if peer.address.len_bits() == 0 {
        // nft has no word for all addresses of a family but the family itself.
        return format!("meta nfproto {} ", if v4 { "ipv4" } else { "ipv6" });
    }
    let family = if v4 { "ip" } else { "ip6" };
    let end = if way == Way::Out { "daddr" } else { "saddr" };
    format!("{family} {end} {} ", peer.address)
}

/// The commands that make the table. `queues` are the queues' numbers, one a direction; none:
/// their chains stay empty, to be filled by other means.
pub(super) fn table(
    shape: &Shape,
    name: &str,
    parts: &[Part],
    echo: Option<EchoIds>,
    queues: Option<&[u16]>,
) -> String {
    let mut text = format!(
        "table inet {name} {{\n\tflags owner\n\tcomment \"{}\"\n",
        super::super::partition::comment(shape.dose.name(), &shape.from.service)
    );
    for (at, way) in Way::all(shape.direction).into_iter().enumerate() {
        let _ = writeln!(text, "\tchain {} {{", way.queue_chain());
        if let Some(number) = queues.and_then(|queues| queues.get(at)) {
            let _ = writeln!(text, "\t\tqueue num {number} bypass");
        }
        text += "\t}\n";
        let [chosen, behind] = way.chains();
        for ((chain, hook, priority), counts) in
            [(chosen, Counts::Handed), (behind, Counts::Passed)]
        {
            let _ = writeln!(
                text,
                "\tchain {chain} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;"
            );
            for rule in rules(shape, parts, echo, way, counts) {
                let _ = writeln!(text, "\t\t{rule}");
            }
            text += "\t}\n";
        }
    }
    text + "}\n"
}

fn rules(
    shape: &Shape,
    parts: &[Part],
    echo: Option<EchoIds>,
    way: Way,
    counts: Counts,
) -> Vec<String> {
    let numbered = |counts| {
        parts.iter().enumerate().filter(move |(_, part)| part.way == way && part.counts == counts)
    };
    let mut rules = Vec::new();
    // Copies come first: one of what came in arrives over the loopback.
    if counts == Counts::Handed {
        rules.extend(numbered(Counts::Copies).map(|(number, part)| {
            format!("{}counter accept comment \"part {number}\"", part.matched)
        }));
    } else if matches!(shape.dose, Dose::Duplicate { .. }) {
        rules.push(format!("meta mark {COPY_MARK:#x} accept"));
    }
    rules.push(format!("{} accept", way.loopback()));
    if shape.ports.is_empty() {
        // Neighbour discovery, which IPv4 has below these chains.
        rules.push(
            "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
             nd-neighbor-advert } accept"
                .into(),
        );
    }
    if let Some(echo_ids) = echo {
        for icmp in ["icmp", "icmpv6"] {
            let kind = format!("{icmp} type {} {icmp} id", way.echo());
            rules.push(format!("{kind} {} accept", echo_ids.beside));
            let end = match counts {
                Counts::Handed => format!("goto {}", way.queue_chain()),
                _ => "accept".into(),
            };
            rules.push(format!("{kind} {} {end}", echo_ids.through));
        }
    }
    rules.extend(numbered(counts).map(|(number, part)| {
        let end = match counts {
            Counts::Handed => format!("goto {} ", way.queue_chain()),
            // Who is named twice, alone and in a network, is counted once.
            _ => "accept ".into(),
        };
        format!("{}counter {end}comment \"part {number}\"", part.matched)
    }));
    rules
}

#[cfg(test)]
mod tests;
