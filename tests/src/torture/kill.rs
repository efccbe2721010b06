//! One round: a fault is put in place, somebody is killed, and what is left is compared.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::Signal;
use temblor_event::clock::now_ns;
use temblor_host::process::Process;

use super::faults::Tortured;
use super::state::{State, difference};
use super::world::World;

/// Longer than anything that works takes, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(30);

/// When somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// While the fault is put in place.
    Apply,
    /// While it is in place.
    Hold,
    /// While it is undone.
    Revert,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process that injects.
    Runner,
    /// The one that waits for its end.
    Guardian,
    /// Both; then `temblor heal` is called.
    Both,
}

/// How long a fault takes here.
#[derive(Debug, Clone, Copy)]
pub struct Calibrated {
    /// From the program's start until its journal is there.
    starts_us: u64,
    /// From there until the fault is in place.
    applies_us: u64,
    /// From the signal until the program has ended.
    reverts_us: u64,
    /// Whether the world's state is another one while the fault is in place.
    pub visible: bool,
}

/// What was done in a round, and what came of it.
#[derive(Debug)]
pub struct Round {
    /// Who was killed: the guardian may not have been there yet.
    pub killed: Vec<&'static str>,
    /// How long it took until everything was as before.
    pub healed_ms: u64,
    /// What is not as before.
    pub left: String,
}

/// A program that injects.
struct Injector {
    child: Child,
    lines: Receiver<String>,
    started_ns: u64,
}

impl Injector {
    fn start(world: &World, fault: &Tortured) -> Self {
        let mut args: Vec<String> = vec!["inject".into(), fault.name.into()];
        args.extend(world.values(fault.values));
        args.extend(["--for", "60s", "--seed", "1"].map(str::to_owned));
        let started_ns = now_ns();
        let mut child =
            world.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, started_ns }
    }

    /// Waits until the journal is there; says whether it is, or the program has ended first.
    fn journal(&mut self, world: &World) -> bool {
        let bound_ns = now_ns() + ns(BOUND);
        loop {
            let there = fs::read_dir(world.undo_dir()).is_ok_and(|mut dir| {
                dir.any(|e| e.is_ok_and(|e| e.path().extension().is_some_and(|e| e == "journal")))
            });
            if there {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(now_ns() < bound_ns, "no journal within {BOUND:?}");
            std::thread::park_timeout(Duration::from_micros(50));
        }
    }

    /// Waits until the fault is in place, and gives the line that says so; none when the program
    /// has ended first.
    fn in_place(&self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(BOUND) {
                Ok(line) if line.starts_with("in place") => return Some(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("not in place within {BOUND:?}"),
            }
        }
    }

    fn guardian(&self) -> Option<Process> {
        let runner = self.child.id();
        let tasks = fs::read_dir(format!("/proc/{runner}/task")).ok()?;
        let children = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .collect::<Vec<_>>()
            .join(" ");
        children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok())
            .find(|pid| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                command.split(|b| *b == 0).nth(1) == Some(b"guardian")
            })
            .and_then(|pid| Process::open(pid).ok()?)
    }

    fn signal(&self, signal: Signal) {
        if let Ok(Some(process)) = Process::open(self.child.id()) {
            let _ = process.signal(signal);
        }
    }

    /// Waits for its end, and says what it said.
    fn ended(mut self) -> Output {
        let bound_ns = now_ns() + ns(BOUND);
        while self.child.try_wait().unwrap().is_none() {
            assert!(now_ns() < bound_ns, "it did not end within {BOUND:?}");
            std::thread::park_timeout(Duration::from_micros(200));
        }
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        let stdout = self.lines.iter().collect::<Vec<_>>().join("\n").into_bytes();
        Output { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

/// Puts a fault in place once and undoes it, killing nobody, to see how long it takes; with what
/// the program said.
///
/// # Errors
/// It is not possible on this machine; how the program ended.
pub fn calibrate(
    world: &World,
    fault: &Tortured,
    before: &State,
) -> Result<(Calibrated, Output), Output> {
    let mut injector = Injector::start(world, fault);
    if !injector.journal(world) {
        return Err(injector.ended());
    }
    let journal_ns = now_ns();
    let Some(in_place) = injector.in_place() else { return Err(injector.ended()) };
    let placed_ns = now_ns();
    let (began_ns, started_ns) = (injector.started_ns, placed_ns);
    let during = world.state();
    // The instrument's own processes and its journal are there in any case.
    let visible = difference(before, &during)
        .lines()
        .filter(|line| !line.contains("temblor inject") && !line.contains("temblor guardian"))
        .any(|line| !line.contains("/undo/"));
    let asked_ns = now_ns();
    injector.signal(Signal::TERM);
    let mut out = injector.ended();
    let ended_ns = now_ns();
    out.stdout.splice(..0, format!("{in_place}\n").into_bytes());
    let left = compare(world, before, BOUND).1;
    assert!(
        left.is_empty(),
        "{}, undone in order, left:\n{left}\n{}",
        fault.name,
        crate::said(&out)
    );
    let takes = Calibrated {
        starts_us: (journal_ns - began_ns) / 1_000,
        applies_us: (started_ns - journal_ns) / 1_000,
        reverts_us: (ended_ns - asked_ns) / 1_000,
        visible,
    };
    Ok((takes, out))
}

/// Kills somebody at a random moment, and compares. `bound`: how long it may take until
/// everything is as before.
pub fn round(
    world: &World,
    fault: &Tortured,
    takes: Calibrated,
    (moment, victim): (Moment, Victim),
    before: &State,
    bound: Duration,
    random: &mut StdRng,
) -> Round {
    let mut injector = Injector::start(world, fault);
    match moment {
        // Now and then also before there is a journal.
        Moment::Apply if random.random_bool(0.2) => {
            pause_us(random.random_range(0..=takes.starts_us + takes.applies_us));
        }
        Moment::Apply => {
            injector.journal(world);
            pause_us(random.random_range(0..=takes.applies_us * 6 / 5));
        }
        Moment::Hold => {
            injector.in_place();
            pause_us(random.random_range(0..=20_000));
        }
        Moment::Revert => {
            injector.in_place();
            injector.signal(Signal::TERM);
            pause_us(random.random_range(0..=takes.reverts_us * 6 / 5));
        }
    }
    let guardian = if victim == Victim::Runner { None } else { injector.guardian() };
    let mut killed = Vec::new();
    let runner_first = random.random_bool(0.5);
    let gap_us = if random.random_bool(0.5) { 0 } else { random.random_range(0..=500) };
    for turn in 0..2 {
        let runner = (turn == 0) == runner_first;
        if runner && victim != Victim::Guardian {
            injector.signal(Signal::KILL);
            killed.push("runner");
        } else if !runner
            && let Some(guardian) = &guardian
            && guardian.signal(Signal::KILL).unwrap_or(false)
        {
            killed.push("guardian");
        }
        pause_us(gap_us);
    }
    if victim == Victim::Guardian {
        // The runner goes on, finds another guardian or gives up, and ends in order.
        if moment == Moment::Apply {
            injector.in_place();
        }
        injector.signal(Signal::TERM);
    }
    injector.ended();
    let ended_ns = now_ns();
    if victim == Victim::Both {
        let out = world.command(&["heal".to_owned()]).output().unwrap();
        if !out.status.success() {
            return Round { killed, healed_ms: 0, left: format!("heal: {}", crate::said(&out)) };
        }
    }
    let (same_ns, left) = compare(world, before, bound);
    Round { killed, healed_ms: same_ns.saturating_sub(ended_ns) / 1_000_000, left }
}

/// Puts a fault in place, kills both, and does not call `temblor heal`: what is different then.
/// Then it does, and gives what is different still.
pub fn abandon(world: &World, fault: &Tortured, before: &State) -> (String, String) {
    let mut injector = Injector::start(world, fault);
    assert!(
        injector.journal(world) && injector.in_place().is_some(),
        "{} is not in place",
        fault.name
    );
    let guardian = injector.guardian().unwrap();
    assert!(guardian.signal(Signal::KILL).unwrap());
    injector.signal(Signal::KILL);
    injector.ended();
    let (_, abandoned) = compare(world, before, Duration::from_secs(1));
    let out = world.command(&["heal".to_owned()]).output().unwrap();
    assert!(out.status.success(), "{}", crate::said(&out));
    (abandoned, compare(world, before, BOUND).1)
}

/// Looks until everything is as before, at most this long; when that was, and what is not.
fn compare(world: &World, before: &State, bound: Duration) -> (u64, String) {
    let bound_ns = now_ns() + ns(bound);
    loop {
        // What is read from now on is at least as old as this.
        let looked_ns = now_ns();
        let now = world.state();
        if now == *before {
            return (looked_ns, String::new());
        }
        if looked_ns > bound_ns {
            return (looked_ns, difference(before, &now));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn pause_us(us: u64) {
    let until_ns = now_ns() + us * 1_000;
    while now_ns() < until_ns {
        let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
        std::thread::park_timeout(left);
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}
