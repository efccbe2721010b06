//! Addresses to names: while a process lives, and after it has ended.
//!
//! Two halves, at two times. While addresses are collected, [`Files`] opens what a process has
//! mapped, and its [`Space`] says of each address in which file it lies, and where in it: that is
//! cheap, and all that needs the process. Later [`Symbolizer`] finds the names, from what is held
//! open. What a runtime made while it ran is in no file; its [`PerfMap`] is read while the process
//! lives, the later the better.
//!
//! Where somebody names servers that have debug files, [`Debuginfod`] fetches those of files without
//! names; nothing else goes over a network.
//!
//! What this crate does not know: how addresses are collected, and what stacks are.

mod debuginfod;
mod elf;
mod files;
mod go;
mod held;
mod maps;
mod names;
mod open;
mod perf_map;
mod resolver;
mod space;
mod symbolizer;

pub use debuginfod::{Debuginfod, DebuginfodSettings};
pub use elf::BuildId;
pub use files::{FileId, Files};
pub use held::{Held, Unopened};
pub use maps::{Backing, Inode, Mapping, Maps};
pub use names::demangle;
pub use perf_map::PerfMap;
pub use space::{Place, Space, Unknown};
pub use symbolizer::{Frame, Symbolizer, Symbols};
