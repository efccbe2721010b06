//! Whatever kind of profile it is.

use crate::error::Error;
use crate::profile::{Profile, ValueType};
use crate::{folded, perf_script, pprof};

/// What a file is, which its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// pprof's, compressed or not.
    Pprof,
    /// Folded stacks.
    Folded,
    /// What `perf script` prints.
    PerfScript,
}

/// How much of a file is looked at.
const LOOKED_AT: usize = 4096;

impl Format {
    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let begin = &bytes[..bytes.len().min(LOOKED_AT)];
        let is_text = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
        if !begin.iter().all(is_text) || begin.starts_with(&[0x1f, 0x8b]) {
            return Self::Pprof;
        }
        // A stack's frames stand on lines of their own there, behind their addresses.
        let is_frame = |line: &[u8]| {
            let indented = line.starts_with(b"\t") || line.starts_with(b"  ");
            let address = line.trim_ascii_start().split(|byte| *byte == b' ').next();
            let is_hex = |word: &[u8]| word.len() > 3 && word.iter().all(u8::is_ascii_hexdigit);
            indented && address.is_some_and(is_hex)
        };
        let mut lines = begin.split(|byte| *byte == b'\n');
        if lines.any(is_frame) { Self::PerfScript } else { Self::Folded }
    }
}

/// Reads it, whatever it is.
///
/// # Errors
///
/// Where it is not what it looks like.
pub fn read(bytes: &[u8]) -> Result<Profile, Error> {
    match Format::of(bytes) {
        Format::Pprof => pprof::read(bytes),
        Format::Folded => folded::read(bytes, ValueType::new("samples", "count")),
        Format::PerfScript => {
            let stacks = perf_script::folded(bytes).map_err(Error::PerfScript)?;
            // Where it says how many lie between two samples.
            folded::read(&stacks, ValueType::new("events", "count"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_shows_in_its_first_bytes() {
        for (bytes, expected) in [
            (&b"\x1f\x8b\x08\0"[..], Format::Pprof),
            (b"\x0a\x04\x08\x01\x10\x02", Format::Pprof),
            (b"main;work 12\nmain 3\n", Format::Folded),
            (b"# made by hand\nmain;work 12\n", Format::Folded),
            (b"", Format::Folded),
            (
                b"postgres 4242 100.123: 10101010 cpu-clock:\n\t    55d0c0ffee00 work+0x10 (/bin/x)\n\n",
                Format::PerfScript,
            ),
        ] {
            assert_eq!(Format::of(bytes), expected, "{bytes:?}");
        }
    }
}
