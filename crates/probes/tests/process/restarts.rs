//! What is run again after its end.

use std::io::Write as _;
use std::process::{Child as Started, Command, Stdio};

use temblor_event::clock::now_ns;
use temblor_event::{Body, Event, ExitCause, ProcessRestart};
use temblor_host::target::Origin;

use crate::common::{Child, OwnGroup, possible, target};
use crate::told::{execs, exits, us, watch};

fn restarts(events: &[Event]) -> Vec<ProcessRestart> {
    let of = |event: &Event| match &event.body {
        Body::ProcessRestart(restart) => Some(restart.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn what_fails_and_is_run_again_was_restarted_and_a_script_was_not() {
    if !possible() {
        return;
    }
    let (mut failing, mut fine) = (Child::start(), Child::start());
    let watch = watch(&[target("failing", &[failing.pid()]), target("fine", &[fine.pid()])]);
    let began_ns = now_ns();
    failing.ask("supervise 6 30 fails");
    let took_ns = now_ns() - began_ns;
    fine.ask("supervise 6 1 well");
    let (events, lost) = watch.stop();
    assert_eq!((execs(&events).len(), exits(&events).len(), lost), (12, 12, 0));
    let mut pids: Vec<u32> = execs(&events)
        .iter()
        .filter(|exec| exec.service == "failing")
        .map(|exec| exec.pid)
        .collect();
    let told = restarts(&events);
    assert_eq!(told.len(), 5, "{told:#?}");
    let mut between_ns = 0;
    for restart in &told {
        assert_eq!((&*restart.service, &*restart.name), ("failing", "sh"));
        assert_eq!([restart.before, restart.pid], pids[..2], "{pids:?}");
        assert_eq!(restart.cause, ExitCause::Code { code: 3 });
        assert!(restart.between_ns >= 30_000_000, "{restart:?}");
        between_ns += restart.between_ns;
        pids.remove(0);
    }
    assert!(between_ns <= took_ns, "{between_ns} of {took_ns}");
}

/// A process that, once it is of the group, runs `cat` until it is killed.
struct Cat(Started);

impl Cat {
    fn new() -> Self {
        let mut sh = Command::new("/bin/sh");
        Self(sh.args(["-c", "read go; exec cat"]).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn start(&mut self, group: &OwnGroup) -> u32 {
        group.group.attach(self.0.id()).unwrap();
        self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        self.0.id()
    }

    /// When it was sure to be gone.
    fn kill(mut self) -> u64 {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        now_ns()
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_is_restarted_by_whoever_had_started_it() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::create("restarts") else { return };
    // Older than the probe, as what starts a service is; what a reader starts is never a target's.
    let mut cats = [(); 4].map(|()| Cat::new()).into_iter();
    let mut now = cats.next().unwrap();
    let name = format!("/proc/{}/comm", now.start(&group));
    while std::fs::read_to_string(&name).unwrap().trim() != "cat" {
        std::thread::yield_now();
    }
    let mut service = target("service", &[]);
    (service.group, service.origin) = (group.group.clone(), Origin::Cgroup);
    let watch = watch(&[service]);
    let mut truth = Vec::new();
    for next in cats {
        let (before, killed_ns) = (now.0.id(), now_ns());
        let gone_ns = now.kill();
        now = next;
        let pid = now.start(&group);
        watch.until("its restart", |told| restarts(told).iter().any(|one| one.pid == pid));
        truth.push((before, pid, gone_ns, now_ns() - killed_ns));
    }
    let (events, lost) = watch.stop();
    let told = restarts(&events);
    assert_eq!((told.len(), lost), (3, 0), "{told:#?}");
    for (restart, (before, pid, gone_ns, at_most_ns)) in told.iter().zip(truth) {
        assert_eq!((&*restart.service, &*restart.name), ("service", "cat"));
        assert_eq!((restart.before, restart.pid), (before, pid));
        assert_eq!(restart.cause, ExitCause::Signal { signal: 9, sender: Some(us()) });
        let t_ns = events.iter().find_map(|event| {
            (event.body == Body::ProcessRestart(restart.clone())).then_some(event.t_ns)
        });
        let at_least_ns = t_ns.unwrap() - gone_ns;
        assert!((at_least_ns..=at_most_ns).contains(&restart.between_ns), "{restart:?}");
    }
}
