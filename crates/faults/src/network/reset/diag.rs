//! The kernel's own list of TCP connections, and its way to end one of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{parse_u16_be, parse_u32};

use crate::netlink::{Netlink, Raw};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// `TCP_ESTABLISHED` and `TCP_CLOSE_WAIT`: what the kernel resets when it is told to, and what
/// its counter of resets of established connections (`EstabResets`) counts.
const STATES: u32 = 1 << 1 | 1 << 8;
/// Where things are in `inet_diag_msg`: family, state, timer and retransmissions come first, then
/// the socket's id, then five words of which the last is the inode.
const ID_AT: usize = 4;
const ID_BYTES: usize = 48;
const INODE_AT: usize = ID_AT + ID_BYTES + 16;
/// Where the cookie is in a socket's id: two words that no other socket of this boot has.
const COOKIE_AT: usize = 40;

/// A connection as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Connection {
    family: u8,
    /// What the kernel knows the socket by: ports, addresses, interface, cookie.
    id: [u8; ID_BYTES],
    pub(in crate::network) peer: SocketAddr,
    /// Of the socket's file; 0 while no program has accepted the connection.
    pub(super) inode: u64,
}

impl Connection {
    fn parse(message: &[u8]) -> Option<Self> {
        let id: [u8; ID_BYTES] = message.get(ID_AT..ID_AT + ID_BYTES)?.try_into().ok()?;
        let family = *message.first()?;
        let far = &id[20..36];
        let address = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(&far[..4]).ok()?).into(),
            // A connection over IPv4 of a socket that speaks both is listed as IPv6.
            libc::AF_INET6 => {
                let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(far).ok()?);
                v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
            }
            _ => return None,
        };
        let port = parse_u16_be(&id[2..4]).ok()?;
        let inode = parse_u32(message.get(INODE_AT..INODE_AT + 4)?).ok()?;
        Some(Self { family, id, peer: SocketAddr::new(address, port), inode: inode.into() })
    }

    /// What tells it from every other connection, also from a later one with the same addresses.
    pub(super) fn cookie(&self) -> [u8; 8] {
        let mut cookie = [0; 8];
        cookie.copy_from_slice(&self.id[COOKIE_AT..]);
        cookie
    }
}

/// `inet_diag_req_v2`.
fn request(kind: u16, family: u8, states: u32, id: &[u8; ID_BYTES]) -> Raw {
    let mut body = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    Raw { kind, body }
}

/// `NETLINK_SOCK_DIAG` in the namespace of the calling thread.
pub(in crate::network) fn open() -> io::Result<Netlink> {
    Netlink::open(libc::NETLINK_SOCK_DIAG)
}

/// The connections of a namespace that are established, over IPv4 and IPv6.
pub(in crate::network) fn established(kernel: &mut Netlink) -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let answer = kernel.dump(&request(BY_FAMILY, family as u8, STATES, &[0; ID_BYTES]))?;
        found.extend(answer.iter().filter_map(|message| Connection::parse(&message.body)));
    }
    Ok(found)
}

/// Resets a connection: its program reads ECONNABORTED, its peer gets a reset. False: it had
/// ended before.
pub(super) fn destroy(kernel: &mut Netlink, connection: &Connection) -> io::Result<bool> {
    match kernel.change(request(DESTROY, connection.family, STATES, &connection.id), 0) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells the kernel to reset a connection that cannot be there, to see whether it knows how.
pub(super) fn try_out(kernel: &mut Netlink) -> io::Result<()> {
    let nobody = request(DESTROY, libc::AF_INET as u8, STATES, &[0; ID_BYTES]);
    match kernel.change(nobody, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(family: i32, far: &[u8], port: u16, inode: u32) -> Vec<u8> {
        let mut message = vec![family as u8, 1, 0, 0];
        message.extend(5432_u16.to_be_bytes());
        message.extend(port.to_be_bytes());
        message.extend([0; 16]);
        message.extend(far);
        message.resize(ID_AT + COOKIE_AT - 4, 0);
        message.extend([0; 4]);
        message.extend([7; 8]);
        message.extend([0; 16]);
        message.extend(inode.to_ne_bytes());
        message
    }

    #[test]
    fn a_connection_is_read_as_the_kernel_wrote_it() {
        let mapped: Ipv6Addr = "::ffff:10.0.0.2".parse().unwrap();
        let v6: Ipv6Addr = "fd00::2".parse().unwrap();
        for (family, far, peer) in [
            (libc::AF_INET, &[10, 0, 0, 2][..], "10.0.0.2:41000"),
            (libc::AF_INET6, &mapped.octets(), "10.0.0.2:41000"),
            (libc::AF_INET6, &v6.octets(), "[fd00::2]:41000"),
        ] {
            let read = Connection::parse(&message(family, far, 41000, 99)).unwrap();
            assert_eq!(read.peer, peer.parse().unwrap());
            assert_eq!((read.inode, read.cookie()), (99, [7; 8]));
        }
        assert_eq!(Connection::parse(&message(libc::AF_UNIX, &[0; 4], 1, 1)), None);
        assert_eq!(Connection::parse(&message(libc::AF_INET, &[0; 4], 1, 1)[..71]), None);
        assert_eq!(Connection::parse(&[]), None);
    }

    #[test]
    fn a_request_has_the_length_the_kernel_expects() {
        assert_eq!(request(DESTROY, 2, STATES, &[1; ID_BYTES]).body.len(), 56);
        assert_eq!(STATES, 0x102);
    }
}
