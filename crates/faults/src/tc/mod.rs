//! Traffic control, spoken through rtnetlink: the queues (qdiscs) of a namespace's interfaces,
//! the filters on them, and the interfaces themselves.
//!
//! Only messages and their reading are here. What is put where is the faults' affair; what may be
//! taken away again is [`crate::undo`]'s.

mod links;
mod qdiscs;

use std::io;

#[cfg(test)]
pub(crate) use links::set_up;
pub(crate) use links::{Link, add_ifb, delete_link, has_address, links};
pub(crate) use qdiscs::{
    Filter, Qdisc, Stats, add_filter, add_ingress, add_qdisc, change_qdisc, delete_filters,
    delete_qdisc, filters, qdiscs,
};

use crate::netlink::Netlink;

/// Where the kernel's own queue of an interface hangs (`TC_H_ROOT`).
pub(crate) const ROOT: u32 = 0xffff_ffff;
/// Where what comes in is caught (`TC_H_INGRESS`), and the handle that this place always has.
pub(crate) const INGRESS: u32 = 0xffff_fff1;
pub(crate) const INGRESS_HANDLE: u32 = 0xffff_0000;

/// rtnetlink in the namespace of the calling thread.
pub(crate) fn open() -> io::Result<Netlink> {
    Netlink::open(libc::NETLINK_ROUTE)
}

/// Word `at` of a message's fixed part.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
