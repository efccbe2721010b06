//! A restart is what the kernel knows nothing of: a program of a target that has ended, and the same
//! program run again in its place.
//!
//! Not every program that is run twice was restarted: a script runs `sleep` again and again. So an
//! end asks for a restart if somebody who is not of the target had started the program (a container
//! runtime, systemd, the lab: what they start is the service itself), or if it had not ended with
//! code 0. Who takes its place is of the same target and program, started by somebody of the same
//! side; an end has one restart at most. A worker that was forked and runs no program of its own is
//! no program that is restarted.

use std::collections::{HashMap, HashSet, VecDeque};

use temblor_event::{Event, ExitCause, ProcessExec, ProcessExit, ProcessRestart};
use temblor_host::processes::Processes;
use temblor_host::target::Target;

use super::decode::Told;
use super::late::killed_by_the_kernel;

/// Ends that nobody has taken the place of. The oldest is forgotten beyond that.
const ENDED_MAX: usize = 1024;
/// As many bytes of a program's name does the kernel keep.
const NAME_BYTES: usize = 15;

/// The programs that run in the targets and those that have ended.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    running: HashMap<u32, Program>,
    ended: VecDeque<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    service: String,
    name: String,
    /// Nobody of the target had started it.
    is_first: bool,
}

#[derive(Debug)]
struct Ended {
    program: Program,
    pid: u32,
    t_ns: u64,
    cause: ExitCause,
}

impl Restarts {
    /// With the programs that the targets run already.
    pub(super) fn of(targets: &[Target]) -> Self {
        let mut restarts = Self::default();
        // Without them only what is run from now on is known.
        let Ok(all) = Processes::read() else { return restarts };
        for target in targets {
            let of_target: HashSet<u32> = target
                .processes_now()
                .into_iter()
                .flat_map(|pid| all.descendants(pid).into_iter().chain([pid]))
                .collect();
            for pid in &of_target {
                let Some(row) = all.get(*pid) else { continue };
                let is_first = !of_target.contains(&row.parent);
                if is_first || runs_another_file(*pid, row.parent) {
                    let (service, name) = (target.service.clone(), row.name.clone());
                    restarts.running.insert(*pid, Program { service, name, is_first });
                }
            }
        }
        restarts
    }

    /// What a record says about restarts.
    pub(super) fn take(&mut self, told: &Told) -> Option<Event> {
        match told {
            Told::Exec(t_ns, exec, is_first) => {
                let restart = self.began(*t_ns, exec, *is_first)?;
                return Some(Event::at(*t_ns, restart));
            }
            Told::Exit(t_ns, exit) => self.ended(*t_ns, exit),
            Told::Victim { pid } => self.was_victim(*pid),
            Told::Signal(..) => {}
        }
        None
    }

    /// A program is run; whether by somebody who is not of its target.
    fn began(&mut self, t_ns: u64, exec: &ProcessExec, is_first: bool) -> Option<ProcessRestart> {
        let program = Program { service: exec.service.clone(), name: name(&exec.file), is_first };
        let at = self.ended.iter().position(|ended| ended.program == program);
        let before = at.and_then(|at| self.ended.remove(at));
        let name = program.name.clone();
        // A process that has no number here cannot be told from another.
        if exec.pid != 0 {
            self.running.insert(exec.pid, program);
        }
        before.map(|before| ProcessRestart {
            service: exec.service.clone(),
            pid: exec.pid,
            name,
            before: before.pid,
            between_ns: t_ns.saturating_sub(before.t_ns),
            cause: before.cause,
        })
    }

    fn ended(&mut self, t_ns: u64, exit: &ProcessExit) {
        let Some(program) = self.running.remove(&exit.pid) else { return };
        if !program.is_first && exit.cause == (ExitCause::Code { code: 0 }) {
            return;
        }
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { program, pid: exit.pid, t_ns, cause: exit.cause.clone() });
    }

    /// Its cause is known only now.
    fn was_victim(&mut self, pid: u32) {
        let last = self.ended.iter_mut().rev().find(|ended| ended.pid == pid);
        if let Some(ended) = last.filter(|ended| killed_by_the_kernel(&ended.cause)) {
            ended.cause = ExitCause::OutOfMemory { cgroup_limit: None };
        }
    }
}

/// What the kernel calls a process that runs this file.
fn name(file: &str) -> String {
    let last = file.rsplit('/').next().unwrap_or(file);
    let kept = last.as_bytes().get(..NAME_BYTES).unwrap_or(last.as_bytes());
    String::from_utf8_lossy(kept).into_owned()
}

/// A child that its parent has forked runs its parent's file.
fn runs_another_file(pid: u32, parent: u32) -> bool {
    let file = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    file(pid) != file(parent)
}

#[cfg(test)]
mod tests {
    use temblor_event::SignalSender;

    use super::*;

    const CLEAN: ExitCause = ExitCause::Code { code: 0 };
    const FAILED: ExitCause = ExitCause::Code { code: 1 };

    fn began(
        of: &mut Restarts,
        t_ns: u64,
        pid: u32,
        file: &str,
        first: bool,
    ) -> Option<(u32, u64)> {
        let exec = ProcessExec { service: "db".into(), pid, parent: None, file: file.into() };
        of.began(t_ns, &exec, first).map(|restart| {
            assert_eq!((restart.pid, &*restart.service), (pid, "db"));
            (restart.before, restart.between_ns)
        })
    }

    fn ended(of: &mut Restarts, t_ns: u64, pid: u32, cause: ExitCause) {
        let (service, name) = ("db".into(), "whatever".into());
        let exit = ProcessExit { service, pid, name, lived_ns: 1, cause, core_dumped: false };
        of.ended(t_ns, &exit);
    }

    #[test]
    fn the_service_itself_is_restarted_however_it_ended() {
        for cause in [CLEAN, FAILED] {
            let mut of = Restarts::default();
            assert_eq!(began(&mut of, 1, 7, "/bin/sh", true), None);
            // One process, one program after the other.
            assert_eq!(began(&mut of, 2, 7, "/usr/bin/postgres", true), None);
            ended(&mut of, 10, 7, cause);
            assert_eq!(began(&mut of, 13, 8, "/bin/sh", true), None);
            assert_eq!(began(&mut of, 14, 8, "/usr/bin/postgres", true), Some((7, 4)));
            // And once.
            assert_eq!(began(&mut of, 15, 9, "/usr/bin/postgres", true), None);
        }
    }

    #[test]
    fn a_script_that_runs_a_program_again_restarts_nothing() {
        let mut of = Restarts::default();
        assert_eq!(began(&mut of, 1, 7, "/bin/sleep", false), None);
        ended(&mut of, 2, 7, CLEAN);
        assert_eq!(began(&mut of, 3, 8, "/bin/sleep", false), None);
        // One that fails is another matter.
        ended(&mut of, 4, 8, FAILED);
        assert_eq!(began(&mut of, 6, 9, "/bin/sleep", false), Some((8, 2)));
    }

    #[test]
    fn instances_are_restarted_one_for_one_and_workers_not_at_all() {
        let mut of = Restarts::default();
        for pid in [1, 2] {
            assert_eq!(began(&mut of, 1, pid, "/srv/api-with-a-very-long-name", true), None);
        }
        // Forked, and gone without having run anything.
        ended(&mut of, 4, 30, FAILED);
        ended(&mut of, 5, 1, FAILED);
        ended(&mut of, 6, 2, FAILED);
        // The same program, started from within: not in the service's place.
        assert_eq!(began(&mut of, 7, 3, "/srv/api-with-a-very-long-name", false), None);
        assert_eq!(began(&mut of, 8, 4, "api-with-a-very-long-name", true), Some((1, 3)));
        assert_eq!(began(&mut of, 9, 5, "/srv/api-with-a-very-long-name", true), Some((2, 3)));
        assert_eq!(began(&mut of, 9, 6, "/srv/api-with-a-very-long-name", true), None);
    }

    #[test]
    fn a_victim_is_known_as_one_also_when_it_is_marked_late() {
        let mut of = Restarts::default();
        let told = |of: &mut Restarts, pid: u32| {
            let exec = ProcessExec { service: "db".into(), pid, parent: None, file: "/p".into() };
            of.began(9, &exec, true).map(|restart| restart.cause)
        };
        assert_eq!(told(&mut of, 1), None);
        let signal = |sender| ExitCause::Signal { signal: 9, sender };
        ended(&mut of, 2, 1, signal(Some(SignalSender::Kernel)));
        of.was_victim(1);
        assert_eq!(told(&mut of, 2), Some(ExitCause::OutOfMemory { cgroup_limit: None }));
        ended(&mut of, 3, 2, signal(None));
        of.was_victim(2);
        assert_eq!(told(&mut of, 3), Some(signal(None)));
    }

    #[test]
    fn ends_without_a_restart_are_forgotten_in_time() {
        let mut of = Restarts::default();
        for pid in 1..=u32::try_from(ENDED_MAX).unwrap() + 5 {
            assert_eq!(began(&mut of, 1, pid, &format!("/p{pid}"), true), None);
            ended(&mut of, 2, pid, FAILED);
        }
        assert_eq!((of.running.len(), of.ended.len()), (0, ENDED_MAX));
    }

    #[test]
    fn names_are_cut_where_the_kernel_cuts_them() {
        assert_eq!(name("/usr/lib/postgresql/15/bin/postgres"), "postgres");
        assert_eq!(name("trading-api-server"), "trading-api-ser");
        assert_eq!(name("/ääääääää"), "äääääää\u{fffd}");
        assert_eq!(name(""), "");
    }
}
