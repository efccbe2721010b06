//! The kernel marks the process that it kills for want of memory after it has sent the signal.
//! Since Linux 6.16 a process may tell of its end in between. So an end by the kernel's SIGKILL is
//! kept until the next round of reading: if the mark comes, that was the cause.

use temblor_event::{ExitCause, ProcessExit, SignalSender};

use super::decode::Told;

const SIGKILL: u8 = 9;

/// Ends that wait for a mark; at most those of one round.
#[derive(Debug, Default)]
pub(super) struct Late {
    waiting: Vec<(u64, ProcessExit)>,
    /// Of the round before.
    due: Vec<(u64, ProcessExit)>,
}

impl Late {
    /// What can be told now.
    pub(super) fn take(&mut self, told: Told) -> Option<Told> {
        match told {
            Told::Exit(t_ns, exit) if killed_by_the_kernel(&exit.cause) => {
                self.waiting.push((t_ns, exit));
                None
            }
            Told::Victim { pid } => {
                let marked = |list: &mut Vec<(u64, ProcessExit)>| {
                    let at = list.iter().position(|(_, exit)| exit.pid == pid)?;
                    Some(list.swap_remove(at))
                };
                let (t_ns, exit) = marked(&mut self.due).or_else(|| marked(&mut self.waiting))?;
                let cause = ExitCause::OutOfMemory { cgroup_limit: None };
                Some(Told::Exit(t_ns, ProcessExit { cause, ..exit }))
            }
            other => Some(other),
        }
    }

    /// Ends a round: what has waited for a whole one is told as it is.
    pub(super) fn end_round(&mut self) -> impl Iterator<Item = Told> {
        let due = std::mem::replace(&mut self.due, std::mem::take(&mut self.waiting));
        due.into_iter().map(|(t_ns, exit)| Told::Exit(t_ns, exit))
    }
}

/// How want of memory looks before the mark.
pub(super) fn killed_by_the_kernel(cause: &ExitCause) -> bool {
    *cause == ExitCause::Signal { signal: SIGKILL, sender: Some(SignalSender::Kernel) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(pid: u32, cause: ExitCause) -> Told {
        let (service, name) = ("db".into(), "postgres".into());
        Told::Exit(5, ProcessExit { service, pid, name, lived_ns: 1, cause, core_dumped: false })
    }

    fn killed(pid: u32) -> Told {
        let sender = Some(SignalSender::Kernel);
        exit(pid, ExitCause::Signal { signal: SIGKILL, sender })
    }

    #[test]
    fn a_mark_within_a_round_names_the_cause() {
        let cause = ExitCause::OutOfMemory { cgroup_limit: None };
        let mut late = Late::default();
        assert_eq!(late.take(killed(7)), None);
        assert_eq!(late.take(killed(8)), None);
        assert_eq!(late.take(Told::Victim { pid: 7 }), Some(exit(7, cause.clone())));
        assert_eq!(late.end_round().count(), 0);
        assert_eq!(late.take(Told::Victim { pid: 8 }), Some(exit(8, cause)));
        assert_eq!(late.end_round().count(), 0);
    }

    #[test]
    fn without_a_mark_it_is_told_as_it_is() {
        let mut late = Late::default();
        assert_eq!(late.take(killed(7)), None);
        assert_eq!(late.take(Told::Victim { pid: 9 }), None);
        assert_eq!(late.end_round().count(), 0);
        assert_eq!(late.end_round().collect::<Vec<_>>(), [killed(7)]);
        assert_eq!(late.end_round().count(), 0);
        let code = exit(7, ExitCause::Code { code: 3 });
        assert_eq!(late.take(code.clone()), Some(code));
    }
}
