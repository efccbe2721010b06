//! The faults of resources, on servers that this program starts.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod connections;
mod files;
mod world;
