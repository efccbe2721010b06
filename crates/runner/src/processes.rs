//! Whether the targets' processes are still those that the run began with.

use temblor_event::{Event, ProcessEnded};
use temblor_host::process::Process;
use temblor_host::target::Target;

use crate::recorder::Recorder;

/// Handles on the main process of each target.
pub(crate) struct Processes(Vec<(String, u32, Process)>);

impl Processes {
    /// Takes hold of them. One that is gone already, or for which the kernel has no handle, is not
    /// watched.
    pub(crate) fn watch(targets: &[Target]) -> Self {
        let hold = |target: &Target| {
            let pid = *target.pids.first()?;
            let process = Process::open(pid).ok()??;
            Some((target.service.clone(), pid, process))
        };
        Self(targets.iter().filter_map(hold).collect())
    }

    /// Records those that have ended since the last look.
    pub(crate) fn look(&mut self, to: &Recorder) {
        self.0.retain(|(service, pid, process)| {
            let ended = process.wait_ended(0).unwrap_or(false);
            if ended {
                to.record(Event::now(ProcessEnded {
                    service: service.clone(),
                    pid: *pid,
                    how: None,
                }));
            }
            !ended
        });
    }
}
