//! The `edges` probe: who talks to whom over TCP, and how long an answer takes.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | connections of this machine, and whose each end is | `inet_sock_set_state` (who connects), `tcp_rcv_space_adjust` (who reads), `iter/task_file` (those that were there before) |
//! | bytes, and turns: from the last of a request to the first of its answer | a program on the first control group's packets, which are known by their socket |
//!
//! An end belongs to a process, not to an address: where both ends are on this machine the peer is
//! known by its process, whatever namespaces lie between. A turn needs nothing of what is said, and
//! so is the same with TLS.

mod figures;
mod group;
mod hooks;
mod probe;
mod requests;

/// The types that both halves share.
mod skeleton {
    use crate::plain::plain;

    crate::plain::generated!("edges");
    pub(super) use generated::types::{
        bss, edge_figures, edge_key, edge_peer, edge_role, edges_exchange, rodata,
    };

    plain!(bss, rodata, edge_figures, edge_key, edges_exchange);
}

pub use hooks::{capabilities, trial};
pub use probe::{EdgesProbe, Settings};

const NAME: &str = "edges";
