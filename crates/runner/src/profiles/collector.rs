//! What collects a kind of profile: one arm a kind.

use temblor_event::Hook;
use temblor_host::target::Target;
use temblor_plan::ProfileKind;
use temblor_profiler::{CpuSettings, Error, Parted, Parts, collect_parts};

/// Collects from the targets, so often a second, until it is enough.
type Collect = fn(&[Target], u32, Parts<'_>, &mut dyn FnMut() -> bool) -> Result<Parted, Error>;

/// How a kind is collected.
#[derive(Clone, Copy)]
pub(super) struct Collector {
    /// What it sees, and the hook at which.
    seen_at: &'static [(&'static str, &'static str)],
    pub(super) collect: Collect,
}

impl Collector {
    pub(super) fn of(kind: ProfileKind) -> Self {
        match kind {
            ProfileKind::Cpu => Self {
                seen_at: &[("stacks of what is on a processor", "perf_event/cpu-clock")],
                collect: |targets, rate_hz, parts, enough| {
                    let settings = CpuSettings { rate_hz, everybody: false };
                    collect_parts(targets, &settings, parts, enough)
                },
            },
        }
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let hook = |(sees, hook): &(&str, &str)| Hook {
            sees: (*sees).to_owned(),
            hook: (*hook).to_owned(),
        };
        self.seen_at.iter().map(hook).collect()
    }
}
