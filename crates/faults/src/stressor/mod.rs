//! The program that takes processor time or memory inside a target's cgroup.
//!
//! It is this very program, run again: nothing else needs to be on the machine. Whoever uses this
//! crate gives its command line a hidden word that leads to [`main`], and says which
//! ([`set_program`]).
//!
//! **It cannot outlive us.** It waits for a byte before it does anything, so that it can be put on
//! record and into its cgroup first; it reads on, and ends when we do, since the pipe ends then;
//! and the kernel kills it when the thread that started it ends, which is one that lives as long
//! as this process.

mod launch;
mod work;

pub use launch::set_program;
pub(crate) use launch::{Running, is_ours};
pub(crate) use work::Job;
pub use work::main;
