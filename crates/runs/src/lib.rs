//! The run directory: appended to while the run goes on, read back by whoever judges or reports.
//!
//! ```text
//! 20260807T101502Z-network-partition/
//!   experiment.yaml     the experiment, resolved
//!   events.ndjson       one event a line; events.ndjson.zst once it is finished and long
//!   profiles/           cpu-baseline.pb.gz …: a profile for each kind and phase, where it asks for one
//!   result.json …       whatever is written beside them with `RunDir::write_file`
//! ```
//!
//! This crate knows how events are kept, and nothing of what they mean: that is the judge's.

mod compress;
mod dir;
mod error;
mod reader;
mod writer;

pub use dir::{EXPERIMENT_FILE, RunDir};
pub use error::RunError;
pub use reader::{EVENTS_MAX, Reader, Recorded, Torn};
pub use writer::{Sink, Writer};

/// The longest line of an event log, bytes, its newline included. Neither written nor read beyond.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// An event log longer than this is compressed when it is finished, bytes.
pub const COMPRESS_BYTES_MIN: u64 = 1 << 20;

const EVENTS_FILE: &str = "events.ndjson";
const EVENTS_FILE_COMPRESSED: &str = "events.ndjson.zst";
const PROFILES_DIR: &str = "profiles";
