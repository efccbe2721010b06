//! What the tests of several probes share: children of our own as targets, a cgroup of our own, and
//! a probe that watches.

use std::io::{self, BufRead as _, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use temblor_event::{Body, Event};
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::target::Target;
use temblor_probes::roster::Roster;
use temblor_probes::{Budget, Probe, Running};

/// Longer than any single thing that is waited for here; a test that gets there has failed.
const BOUND: Duration = Duration::from_secs(20);
const CHILD: &str = "TEMBLOR_TEST_CHILD";

/// Whether this can run at all; says why not.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (BPF programs)");
    }
    root
}

pub(crate) fn target(service: &str, pids: &[u32]) -> Target {
    let netns = Netns::of_this_thread().unwrap();
    Target { pids: pids.into(), ..Target::of_namespace(service, netns, Vec::new()) }
}

/// A cgroup that is gone when this is.
pub(crate) struct OwnGroup {
    pub(crate) group: Group,
}

impl OwnGroup {
    /// Says why where there can be none.
    pub(crate) fn create(name: &str) -> Option<Self> {
        let cgroups = Cgroups::detect().unwrap();
        let name = format!("temblor-test-{name}-{}", std::process::id());
        match Group::create(&cgroups, &name) {
            Ok(group) => Some(Self { group }),
            Err(error) => {
                eprintln!("skipped: no cgroup can be made here: {error}");
                None
            }
        }
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        let left = self.group.kill_all(5_000);
        if let Err(error) = self.group.remove_within(5_000) {
            eprintln!("a group is left behind: {error} (processes: {left:?})");
        }
    }
}

/// In the child: does what each line says, and says when it has. Elsewhere nothing.
pub(crate) fn obey(mut command: impl FnMut(&[&str])) {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for line in io::stdin().lines() {
        let line = line.unwrap();
        command(&line.split_whitespace().collect::<Vec<_>>());
        println!("\ndone");
    }
}

/// A program that does as it is told, one line at a time: this test program itself, in its test
/// `child::obeys`. Dropping it ends it.
pub(crate) struct Child {
    child: std::process::Child,
    stdin: ChildStdin,
    said: Box<dyn Iterator<Item = String>>,
}

impl Child {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::obeys", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let said = io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut child = Self { child, stdin, said: Box::new(said) };
        // It is there once it answers.
        child.ask("nothing");
        child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn begin(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    /// The lines that it has said until it was done.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.said.next().expect("it has ended").as_str() {
                "done" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    pub(crate) fn ask(&mut self, what: &str) -> Vec<String> {
        self.begin(what);
        self.end()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

/// A running probe and what it has said.
pub(crate) struct Watch {
    running: Running,
    seen: Arc<Seen>,
    /// Follows the processes for as long as the probe runs.
    _roster: Roster,
}

impl Watch {
    pub(crate) fn start<P: Probe + 'static>(
        targets: &[Target],
        attach: impl FnOnce(&Roster) -> Result<P, temblor_probes::Error>,
    ) -> Self {
        // What is to be compared must not be a sample, however busy the machine is.
        Self::start_within(Budget::share(1.0), targets, attach)
    }

    pub(crate) fn start_within<P: Probe + 'static>(
        budget: Budget,
        targets: &[Target],
        attach: impl FnOnce(&Roster) -> Result<P, temblor_probes::Error>,
    ) -> Self {
        let roster = Roster::of(targets).unwrap();
        let probe = attach(&roster).unwrap();
        let seen = Arc::<Seen>::default();
        let sink = Arc::clone(&seen);
        let running = Running::start(Box::new(probe), budget, move |event| {
            sink.events.lock().unwrap().push(event);
            sink.more.notify_all();
        })
        .unwrap();
        Self { running, seen, _roster: roster }
    }

    /// What was told so far, as soon as it is enough.
    pub(crate) fn until(&self, what: &str, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let guard = self.seen.events.lock().unwrap();
        let waited = self.seen.more.wait_timeout_while(guard, BOUND, |seen| !enough(seen));
        let (events, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "never saw {what}; saw {events:#?}");
        events.clone()
    }

    /// Everything that was told, and how many events were lost.
    pub(crate) fn stop(self) -> (Vec<Event>, u64) {
        let cost = self.running.stop().unwrap();
        assert!(cost.programs.iter().any(|program| program.runs > 0), "{cost:?}");
        let events = std::mem::take(&mut *self.seen.events.lock().unwrap());
        let lost = lost(&events);
        (events, lost)
    }
}

pub(crate) fn lost(events: &[Event]) -> u64 {
    let of = |event: &Event| match &event.body {
        Body::ProbeLost(lost) => lost.events,
        _ => 0,
    };
    events.iter().map(of).sum()
}
