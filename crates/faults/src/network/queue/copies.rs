//! A second packet like the first: the queue can let a packet go, but not twice.
//!
//! So the copy is sent by a raw socket in the same namespace, with a mark by which the table's
//! rules know it, count it and leave it alone. What goes out takes the way to the peer; what comes
//! in takes the loopback to the target's own address. A copy passes the namespace's other filters
//! as the original did; one that came in passes them as coming from the loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sendto, socket_with,
};

use super::flip::{Version, version};
use super::rules::COPY_MARK;
use super::socket::Packet;
use crate::{Error, Result};

/// The sockets that copies are sent by. A machine without IPv6 has none for it.
#[derive(Debug)]
pub(super) struct Copies {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
}

impl Copies {
    /// Opens them in the namespace of the calling thread.
    pub(super) fn open() -> Result<Self> {
        let doing = "open a socket to send copies of packets by";
        let v4 = open(AddressFamily::INET).map_err(|e| Error::system(doing, e))?;
        let v6 = match open(AddressFamily::INET6) {
            Ok(v6) => Some(v6),
            Err(Errno::AFNOSUPPORT) => None,
            Err(e) => return Err(Error::system(doing, e)),
        };
        Ok(Self { v4, v6 })
    }

    /// Sends a packet again. One that the kernel does not take is as lost as a copy on a wire
    /// may be; the kernel counts those that leave.
    pub(super) fn send(&self, packet: &Packet<'_>) {
        let bytes = packet.copied;
        match (version(bytes), &self.v6) {
            (Some(Version::V4), _) => {
                let Some(to) = bytes.get(16..).and_then(|rest| rest.first_chunk::<4>()) else {
                    return;
                };
                let to = SocketAddrV4::new(Ipv4Addr::from(*to), 0);
                let _ = sendto(&self.v4, bytes, SendFlags::DONTWAIT, &to);
            }
            (Some(Version::V6), Some(v6)) => {
                let Some(to) = bytes.get(24..).and_then(|rest| rest.first_chunk::<16>()) else {
                    return;
                };
                // Only a link-local address needs its interface.
                let to = SocketAddrV6::new(Ipv6Addr::from(*to), 0, 0, packet.out_interface);
                let _ = sendto(v6, bytes, SendFlags::DONTWAIT, &to);
            }
            _ => {}
        }
    }
}

/// A socket that takes whole packets, IP header included, and receives none.
fn open(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let protocol = Protocol::from_raw(
        std::num::NonZeroU32::new(libc::IPPROTO_RAW as u32).ok_or(Errno::INVAL)?,
    );
    let fd = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    let mark = COPY_MARK;
    // SAFETY: the descriptor is open, and the value an int of that length.
    let status = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw const mark).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if status != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(fd)
}
