//! A partition as nftables rules. Pure: text in, text out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Action, Partition, Peer};
use crate::network::Prefix;

/// On packets that are turned back to the namespace's loopback, so that they are known there.
/// It means nothing else to anybody: a packet that carries it goes nowhere but to its end.
const TURNED_BACK: u32 = 0x7e3b_1042;
/// After every filter of the namespace, so that each has seen what the target sends.
const LAST: i32 = 350;
/// Before every filter of the namespace (connection tracking begins at -400 with putting
/// fragments together, which the input hook is past in any case).
const FIRST: i32 = -350;
/// nft takes comments up to 128 bytes.
const COMMENT_BYTES_MAX: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// Which protocols a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// All that the partition is for.
    All,
    /// TCP, which is answered with a reset.
    Tcp,
    /// What the partition is for besides TCP.
    Others,
}

/// One rule, and so one counter.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    way: Way,
    peer: &'a Peer,
    /// The peer's place in the partition.
    index: usize,
    ports: Option<String>,
    class: Class,
}

impl Part<'_> {
    /// What a packet does to be counted here: `goes` out, or `comes` in.
    pub(super) fn verb(&self) -> &'static str {
        match self.way {
            Way::Out => "goes",
            Way::In => "comes",
        }
    }

    /// `out to postgres (10.0.0.5), port 5432`.
    pub(super) fn name(&self) -> String {
        let mut name = match self.way {
            Way::Out => format!("out to {}", who(self.peer)),
            Way::In => format!("in from {}", who(self.peer)),
        };
        if let Some(ports) = &self.ports {
            let word = if ports.contains(',') { "ports" } else { "port" };
            // Writing to a String cannot fail.
            let _ = write!(name, ", {word} {ports}");
        }
        match (self.class, &self.ports) {
            (Class::All, _) => {}
            (Class::Tcp, _) => name.push_str(", TCP"),
            (Class::Others, Some(_)) => name.push_str(", UDP"),
            (Class::Others, None) => name.push_str(", all but TCP"),
        }
        name
    }
}

/// A peer in words: its name with its address, unless they are the same.
pub(in crate::network) fn who(peer: &Peer) -> String {
    let address = peer.address.to_string();
    if peer.name.is_empty() || peer.name == address {
        address
    } else {
        format!("{} ({address})", peer.name)
    }
}

/// The ports as nft lists them, each once, in order. None: there is no such condition.
pub(in crate::network) fn ports(ports: &[u16]) -> Option<String> {
    let ports: BTreeSet<u16> = ports.iter().copied().collect();
    let words: Vec<String> = ports.iter().map(u16::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The rules a partition consists of, in the order in which they stand.
pub(super) fn parts(partition: &Partition) -> Vec<Part<'_>> {
    let ways =
        [(Way::Out, partition.direction.cuts_out()), (Way::In, partition.direction.cuts_in())];
    let classes: &[Class] = match partition.action {
        Action::Drop => &[Class::All],
        Action::Reject => &[Class::Tcp, Class::Others],
    };
    let ports = ports(&partition.ports);
    let mut parts = Vec::new();
    for way in ways.into_iter().filter_map(|(way, cut)| cut.then_some(way)) {
        let mut seen = BTreeSet::new();
        for (index, peer) in partition.to.iter().enumerate() {
            // A second rule for the same address would never see a packet.
            if !seen.insert(peer.address) {
                continue;
            }
            for &class in classes {
                parts.push(Part { way, peer, index, ports: ports.clone(), class });
            }
        }
    }
    parts
}

/// The commands that make the table. `own` has, for each peer of a partition that cuts what goes
/// out, the target's own address towards that peer.
pub(super) fn table(
    partition: &Partition,
    name: &str,
    parts: &[Part<'_>],
    own: &[IpAddr],
) -> String {
    let mut chains = String::new();
    let drops_out = partition.action == Action::Drop && partition.direction.cuts_out();
    if drops_out {
        chains += &chain(
            "returned",
            "filter hook prerouting",
            FIRST,
            &[format!("iifname \"lo\" meta mark {TURNED_BACK:#x} counter drop")],
        );
    }
    if partition.direction.cuts_out() {
        let mut rules = vec!["oifname \"lo\" accept".to_owned()];
        rules.extend(spared(partition));
        if partition.action == Action::Reject {
            rules.push("tcp flags & rst == rst accept".into());
            rules.push("icmp type destination-unreachable accept".into());
            rules.push("icmpv6 type destination-unreachable accept".into());
        }
        rules.extend(cuts(partition, parts, Way::Out, own));
        let hook = if drops_out { "route hook output" } else { "filter hook output" };
        chains += &chain("outgoing", hook, LAST, &rules);
    }
    if partition.direction.cuts_in() {
        let mut rules = vec!["iifname \"lo\" accept".to_owned()];
        rules.extend(spared(partition));
        rules.extend(cuts(partition, parts, Way::In, own));
        chains += &chain("incoming", "filter hook input", FIRST, &rules);
    }
    format!(
        "table inet {name} {{\n\tflags owner\n\tcomment \"{}\"\n{chains}}}\n",
        comment(super::NAME, &partition.from.service)
    )
}

/// The table's comment. A service's name may hold anything; nft's quoted strings may not.
pub(in crate::network) fn comment(fault: &str, service: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' };
    let mut comment = format!("{fault} of {service}").chars().map(safe).collect::<String>();
    // Every character is one byte by now.
    comment.truncate(COMMENT_BYTES_MAX);
    comment
}

fn chain(name: &str, hook: &str, priority: i32, rules: &[String]) -> String {
    let mut text =
        format!("\tchain {name} {{\n\t\ttype {hook} priority {priority}; policy accept;\n");
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text + "\t}\n"
}

/// Neighbour discovery, which IPv4 has below these chains.
fn spared(partition: &Partition) -> Option<String> {
    let has_v6 = partition.to.iter().any(|peer| peer.address.address().is_ipv6());
    (has_v6 && partition.ports.is_empty()).then(|| {
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
         nd-neighbor-advert } accept"
            .into()
    })
}

fn cuts(partition: &Partition, parts: &[Part<'_>], way: Way, own: &[IpAddr]) -> Vec<String> {
    parts
        .iter()
        .enumerate()
        .filter(|(_, part)| part.way == way)
        .map(|(number, part)| {
            let family = if part.peer.address.address().is_ipv4() { "ip" } else { "ip6" };
            let matched = [address(family, part), protocol(part)].concat();
            let end = match (partition.action, way, own.get(part.index)) {
                (Action::Drop, Way::Out, Some(own)) => {
                    format!("meta mark set {TURNED_BACK:#x} {family} daddr set {own} accept")
                }
                (Action::Drop, ..) => "drop".into(),
                (Action::Reject, ..) if part.class == Class::Tcp => "reject with tcp reset".into(),
                (Action::Reject, ..) if family == "ip" => {
                    "reject with icmp type port-unreachable".into()
                }
                (Action::Reject, ..) => "reject with icmpv6 type port-unreachable".into(),
            };
            format!("{matched}counter {end} comment \"part {number}\"")
        })
        .collect()
}

/// The condition on the peer's address, with the space that follows it.
fn address(family: &str, part: &Part<'_>) -> String {
    let end = match part.way {
        Way::Out => "daddr",
        Way::In => "saddr",
    };
    let peer: Prefix = part.peer.address;
    if peer.len_bits() == 0 {
        // nft has no word for all addresses of a family but the family itself.
        let version = if family == "ip" { "ipv4" } else { "ipv6" };
        return format!("meta nfproto {version} ");
    }
    format!("{family} {end} {peer} ")
}

/// The condition on the protocol and the peer's port, with the space that follows it.
fn protocol(part: &Part<'_>) -> String {
    let end = match part.way {
        Way::Out => "dport",
        Way::In => "sport",
    };
    match (part.class, &part.ports) {
        (Class::All | Class::Others, None) => String::new(),
        (Class::All, Some(ports)) => {
            format!("meta l4proto {{ tcp, udp }} th {end} {{ {ports} }} ")
        }
        (Class::Tcp, None) => "meta l4proto tcp ".into(),
        (Class::Tcp, Some(ports)) => format!("tcp {end} {{ {ports} }} "),
        (Class::Others, Some(ports)) => format!("udp {end} {{ {ports} }} "),
    }
}

#[cfg(test)]
mod tests;
