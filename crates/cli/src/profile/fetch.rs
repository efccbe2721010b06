//! `temblor profile fetch`: profiles that a program collects of itself.

use std::time::Duration;

use temblor_runner::{FetchSettings, PprofKind, fetch_pprof};

use super::args::{Fetch, Kind};
use super::{asked_format, hand_over};
use crate::exit::{Exit, Failure};
use crate::terminal::say;
use crate::trace::length;

/// How long processor time is collected where nothing is said, as Go's own tool does.
const CPU_LENGTH: Duration = Duration::from_secs(30);

/// Fetches it, and writes what was asked for.
pub(super) fn fetch(args: &Fetch) -> Result<Exit, Failure> {
    let output = args.written.output.output.as_deref();
    let format = asked_format("--format", args.written.format, output)?;
    let kind = match args.kind {
        Kind::Cpu => PprofKind::Cpu,
        Kind::Heap => PprofKind::Heap,
        Kind::Allocs => PprofKind::Allocs,
        Kind::Block => PprofKind::Block,
        Kind::Mutex => PprofKind::Mutex,
        Kind::Goroutine => PprofKind::Goroutine,
    };
    let asked = args.lasting.as_deref().map(length).transpose()?;
    let length = asked.or((kind == PprofKind::Cpu).then_some(CPU_LENGTH));
    let url = args.url.clone();
    let profile = fetch_pprof(&FetchSettings { url, kind, length })?;
    say(&format!("{} stacks from {}", profile.samples.len(), args.url));
    hand_over(&profile, format, &args.url, output)
}
