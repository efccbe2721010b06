//! nftables, spoken to through libnftables inside this process.
//!
//! A table with `flags owner` belongs to the netlink socket that made it and vanishes when that
//! socket closes, however it closes. libnftables opens one socket per context and keeps it, so
//! the context *is* the fault's lease. Three things follow from that, and each was seen to
//! matter:
//!
//! - **The socket must not be inherited.** libnftables opens it without close-on-exec, so any
//!   child of this process would keep the fault alive after this process is dead. The context
//!   therefore lives on a thread with a file table of its own, of which no child gets a copy.
//! - **The owning context runs one command in its life.** A context may close and reopen its
//!   socket when the ruleset changes under it; for the owner that would end the fault without a
//!   word. Counters are read through another, short-lived context (which also never shows an
//!   old reading out of its cache).
//! - **Listings are read as text, not as JSON.** libnftables 1.0.6 uses freed memory when it
//!   writes the flags of a table as JSON.
//!
//! Turned down: an `nft -i` child (a second process to lose, and its pipe's end decides when
//! the fault ends), netlink messages by hand (the rules could not be shown in the words
//! everybody knows), and deleting the table by command when a fault ends: closing the socket is
//! what SIGKILL does, so the way out that matters most is the one taken every time.

mod library;
pub(crate) mod listing;
mod owned;

pub(crate) use owned::{OwnedTable, enter_alone, next_name};
