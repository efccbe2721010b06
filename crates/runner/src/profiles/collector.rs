//! What collects a kind of profile: one arm a kind.

use temblor_event::Hook;
use temblor_host::target::Target;
use temblor_plan::ProfileKind;
use temblor_profiler::{Error, Parted, Parts, Settings, Wanted, collect_parts};

/// What `temblor profile allocs` samples unless somebody says otherwise.
const EVERY_BYTES: u64 = 128 << 10;
const WAITS: (&str, &str) = ("waits and where they begin", "tp_btf/sched_switch");

/// How a kind is collected.
#[derive(Clone, Copy)]
pub(super) struct Collector {
    /// What it sees, and the hook at which.
    seen_at: &'static [(&'static str, &'static str)],
    /// Why there may be no samples of targets that are there.
    pub(super) nothing: &'static str,
    /// Which of its types is meant, where it is not the last one.
    pub(super) meant: Option<&'static str>,
    /// By how often a second it looks, if it does.
    wanted: fn(u32) -> Wanted,
}

impl Collector {
    pub(super) fn of(kind: ProfileKind) -> Self {
        match kind {
            ProfileKind::Cpu => Self {
                seen_at: &[("stacks of what is on a processor", "perf_event/cpu-clock")],
                nothing: "nothing of the targets was on a processor",
                meant: None,
                wanted: |rate_hz| Wanted::Cpu { rate_hz },
            },
            ProfileKind::OffCpu => Self {
                seen_at: &[WAITS],
                nothing: "none of the targets' threads waited",
                meant: None,
                wanted: |_| Wanted::OffCpu,
            },
            ProfileKind::Lock => Self {
                seen_at: &[WAITS],
                nothing: "none of the targets' threads waited for a lock",
                meant: None,
                wanted: |_| Wanted::Lock,
            },
            ProfileKind::Allocs => Self {
                seen_at: &[("memory that is allocated", "uprobes at malloc, free and their kin")],
                nothing: "the targets allocated nothing, or too little to be sampled",
                meant: Some("alloc_space"),
                wanted: |_| Wanted::Heap { every_bytes: EVERY_BYTES },
            },
        }
    }

    /// Collects from the targets, so often a second, until it is enough.
    pub(super) fn collect(
        &self,
        targets: &[Target],
        rate_hz: u32,
        parts: Parts<'_>,
        enough: impl FnMut() -> bool,
    ) -> Result<Parted, Error> {
        collect_parts(targets, &Settings::of((self.wanted)(rate_hz)), parts, enough)
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let hook = |(sees, hook): &(&str, &str)| Hook {
            sees: (*sees).to_owned(),
            hook: (*hook).to_owned(),
        };
        self.seen_at.iter().map(hook).collect()
    }
}
