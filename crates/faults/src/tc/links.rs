//! The interfaces of a namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::word;
use crate::netlink::{Attributes, Netlink, Raw, attribute, text};

/// `ifinfomsg` and `ifaddrmsg`: the fixed parts.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The kind of a made one: `veth`, `ifb`. Hardware has none.
    pub(crate) kind: Option<String>,
    pub(crate) is_up: bool,
    pub(crate) is_loopback: bool,
}

impl Link {
    fn parse(body: &[u8]) -> Option<Self> {
        let flags = word(body, 8)? as i32;
        let attributes = body.get(LINK_BYTES..)?;
        Some(Self {
            index: word(body, 4)?,
            name: text(attributes, IFLA_IFNAME)?,
            kind: attribute(attributes, IFLA_LINKINFO).and_then(|info| text(info, IFLA_INFO_KIND)),
            is_up: flags & libc::IFF_UP != 0,
            is_loopback: flags & libc::IFF_LOOPBACK != 0,
        })
    }
}

/// All interfaces.
pub(crate) fn links(kernel: &mut Netlink) -> io::Result<Vec<Link>> {
    let answer = kernel.dump(&Raw { kind: libc::RTM_GETLINK, body: vec![0; LINK_BYTES] })?;
    Ok(answer.iter().filter_map(|message| Link::parse(&message.body)).collect())
}

/// The indices of the interfaces at which others can reach the namespace: those with an IPv4
/// address, or an IPv6 address that is not link-local.
pub(crate) fn has_address(kernel: &mut Netlink) -> io::Result<BTreeSet<u32>> {
    let answer = kernel.dump(&Raw { kind: libc::RTM_GETADDR, body: vec![0; ADDRESS_BYTES] })?;
    Ok(answer.iter().filter_map(|message| reachable(&message.body)).collect())
}

fn reachable(body: &[u8]) -> Option<u32> {
    let family = i32::from(*body.first()?);
    let address = attribute(body.get(ADDRESS_BYTES..)?, IFA_ADDRESS)?;
    let is_reachable = match family {
        libc::AF_INET => true,
        libc::AF_INET6 => {
            !Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).is_unicast_link_local()
        }
        _ => false,
    };
    if is_reachable { word(body, 4) } else { None }
}

fn link_message(kind: u16, index: u32, flags: i32, attributes: &Attributes) -> Raw {
    let mut body = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    // The flags, and which of them are meant.
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(attributes.bytes());
    Raw { kind, body }
}

/// Makes an interface of the kind `ifb`, which sends what it is given back to where it came from,
/// through a queue of its own, and gives its index.
pub(crate) fn add_ifb(kernel: &mut Netlink, name: &str) -> io::Result<u32> {
    let info = Attributes::default().with_text(IFLA_INFO_KIND, "ifb");
    let attributes =
        Attributes::default().with_text(IFLA_IFNAME, name).with_nested(IFLA_LINKINFO, &info);
    let message = link_message(libc::RTM_NEWLINK, 0, libc::IFF_UP, &attributes);
    kernel.change(message, NLM_F_CREATE | NLM_F_EXCL)?;
    links(kernel)?
        .into_iter()
        .find(|link| link.name == name)
        .map(|link| link.index)
        .ok_or_else(|| io::Error::other(format!("the interface {name} is gone again")))
}

/// Brings an interface up.
#[cfg(test)]
pub(crate) fn set_up(kernel: &mut Netlink, index: u32) -> io::Result<()> {
    kernel.change(link_message(libc::RTM_NEWLINK, index, libc::IFF_UP, &Attributes::default()), 0)
}

/// Takes an interface away.
pub(crate) fn delete_link(kernel: &mut Netlink, index: u32) -> io::Result<()> {
    kernel.change(link_message(libc::RTM_DELLINK, index, 0, &Attributes::default()), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_the_kernel_wrote_it() {
        let info = Attributes::default().with_text(IFLA_INFO_KIND, "veth");
        let attributes =
            Attributes::default().with_text(IFLA_IFNAME, "eth0").with_nested(IFLA_LINKINFO, &info);
        let message =
            link_message(libc::RTM_NEWLINK, 7, libc::IFF_UP | libc::IFF_LOOPBACK, &attributes);
        assert_eq!(
            Link::parse(&message.body),
            Some(Link {
                index: 7,
                name: "eth0".into(),
                kind: Some("veth".into()),
                is_up: true,
                is_loopback: true,
            })
        );
        assert_eq!(Link::parse(&message.body[..15]), None);
    }

    #[test]
    fn a_link_local_address_reaches_nobody() {
        let message = |family: i32, address: &[u8]| {
            let mut body = vec![family as u8, 24, 0, 0];
            body.extend(5_u32.to_ne_bytes());
            body.extend(Attributes::default().with(IFA_ADDRESS, address).bytes());
            body
        };
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(reachable(&message(libc::AF_INET, &[10, 0, 0, 1])), Some(5));
        assert_eq!(reachable(&message(libc::AF_INET6, &v6("fd00::1"))), Some(5));
        assert_eq!(reachable(&message(libc::AF_INET6, &v6("fe80::1"))), None);
        assert_eq!(reachable(&[]), None);
    }
}
