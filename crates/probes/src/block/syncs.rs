//! Where file syncs are seen: fsync, fdatasync, msync, and writes to files opened with O_SYNC.

use temblor_event::Hook;
use temblor_host::{Capability, State};

use crate::kernel::KernelTypes;

/// By the kernel half's numbers: what is to be safe, named after the call that asks for it.
pub(super) const KINDS: [&str; 2] = ["fsync", "fdatasync"];
const SEES: &str = "file syncs";
const ENTER: &str = "ext4_sync_file_enter";
const EXIT: &str = "ext4_sync_file_exit";
const ELSEWHERE: &str = "file syncs on file systems other than ext4: they have no hook for the end";

pub(super) fn kind(number: u32) -> &'static str {
    usize::try_from(number).ok().and_then(|number| KINDS.get(number)).unwrap_or(&"other")
}

/// What this kernel has for it.
#[derive(Debug)]
pub(super) struct Syncs {
    has_ext4: bool,
}

impl Syncs {
    pub(super) fn look(types: &KernelTypes) -> Self {
        let has = |name| {
            types.tracepoint_arguments(name).is_some() || types.module_has_tracepoint("ext4", name)
        };
        Self { has_ext4: has(ENTER) && has(EXIT) }
    }

    /// Whether a program has what it needs. One that is not for syncs has.
    pub(super) fn wants(&self, program: &str) -> bool {
        self.has_ext4 || ![ENTER, EXIT].contains(&program)
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let hook = |sees: &str, name| Hook { sees: sees.into(), hook: format!("tp_btf/{name}") };
        if self.has_ext4 {
            vec![hook(SEES, EXIT), hook("beginnings of file syncs", ENTER)]
        } else {
            Vec::new()
        }
    }

    pub(super) fn unseen(&self) -> Vec<String> {
        if self.has_ext4 { vec![ELSEWHERE.into()] } else { vec![self.lacks()] }
    }

    fn lacks(&self) -> String {
        format!("{SEES}: this kernel, or its ext4, has no tracepoint {EXIT}")
    }

    pub(super) fn capability(&self, of: &'static str) -> Capability {
        let state = if self.has_ext4 {
            State::Available { via: format!("tp_btf/{EXIT}") }
        } else {
            State::Fallback { via: "the other hooks".into(), lacks: self.lacks() }
        };
        Capability { name: SEES, of, state }
    }
}
