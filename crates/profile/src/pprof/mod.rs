//! The pprof format: protocol buffers, compressed with gzip.

mod read;
mod wire;
mod write;

pub use self::read::read;
pub use self::write::write;
