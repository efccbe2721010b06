//! `temblor trace`: what the kernel sees of processes, live.

mod account;
mod histogram;
mod measures;
mod words;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_event::{Body, Event, clock};
use temblor_plan::{Find, PROBES, parse_duration, parse_share};
use temblor_runner::{Budget, Sought, Stop, TraceSettings};

use self::account::Account;
use self::words::words;
use crate::args::Trace;
use crate::exit::{Exit, Failure};
use crate::run::{lab_that_is_up, need_root};
use crate::terminal::{self, print, say, wrapped};

/// As long as a fault may be held.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a terminated trace may take to write down what it has, before it ends regardless: who
/// reads it may have stopped reading.
const TERMINATED_WAITS_NS: u64 = 3_000_000_000;
/// Columns of what is no terminal's.
const WIDTH: usize = 80;

/// Watches until the time is over, or somebody ends it, and sums up.
pub(crate) fn trace(args: &Trace) -> Result<Exit, Failure> {
    let probes = probes(&args.probes)?;
    let budget = args.budget.as_deref().map(budget).transpose()?.unwrap_or_default();
    let length = args.lasting.as_deref().map(length).transpose()?;
    need_root()?;
    let options = temblor_lab::Options::from_env().map_err(Failure::from);
    let lab = options.and_then(|options| lab_that_is_up(&options));
    // Who asks for none of its services need not have a lab that is well.
    let lab = if args.service.is_empty() { lab.unwrap_or(None) } else { lab? };
    let stop = Stop::default();
    let quiet = Arc::new(AtomicBool::new(false));
    end_on_signals(&stop, &quiet)?;
    end_when_nobody_reads(&stop, &quiet)?;
    let settings = TraceSettings { probes, targets: sought(args), lab, budget, length, stop };
    let mut shown = Shown { json: args.json, ..Shown::default() };
    let traced = temblor_runner::trace(&settings, &mut |event| shown.show(&event));
    if !args.json && traced.is_ok() && !quiet.load(Ordering::Acquire) {
        print("");
        shown.account.told(columns()).iter().for_each(|line| print(line));
    }
    Ok(traced.map(|()| Exit::Pass)?)
}

fn probes(asked: &[String]) -> Result<Vec<String>, Failure> {
    let mut probes: Vec<String> = Vec::new();
    for probe in asked {
        if !PROBES.contains(&probe.as_str()) {
            let known = PROBES.join(", ");
            return Err(input(format!("unknown probe \"{probe}\": there are {known}")));
        }
        if !probes.contains(probe) {
            probes.push(probe.clone());
        }
    }
    Ok(probes)
}

fn budget(text: &str) -> Result<Budget, Failure> {
    let share = parse_share(text).map_err(|why| input(format!("--budget {text}: {why}")))?;
    if share <= 0.0 {
        return Err(input(format!("--budget {text}: give more than 0%")));
    }
    Ok(Budget::share(share))
}

fn length(text: &str) -> Result<Duration, Failure> {
    let length = parse_duration(text).map_err(|why| input(format!("--for {text}: {why}")))?;
    if length.is_zero() || length > LENGTH_MAX {
        return Err(input(format!("--for {text}: give more than 0 and at most 24h")));
    }
    Ok(length)
}

fn input(why: String) -> Failure {
    Failure::input(anyhow::anyhow!(why))
}

/// Whom the command line names.
fn sought(args: &Trace) -> Vec<Sought> {
    type Way = fn(String) -> Find;
    let ways: [(&str, &[String], Way); 7] = [
        ("service", &args.service, Find::Service),
        ("process", &args.process, Find::Process),
        ("cgroup", &args.cgroup, Find::Cgroup),
        ("unit", &args.unit, Find::Unit),
        ("container", &args.container, Find::Container),
        ("label", &args.label, Find::Label),
        ("compose", &args.compose, |service| Find::Compose { service, project: None }),
    ];
    let pids =
        args.pid.iter().map(|pid| Sought { written: format!("pid:{pid}"), find: Find::Pid(*pid) });
    let named = ways.iter().flat_map(|(way, names, find)| {
        names
            .iter()
            .map(move |name| Sought { written: format!("{way}:{name}"), find: find(name.clone()) })
    });
    pids.chain(named).collect()
}

/// Ctrl-C ends it with a summary; whoever terminates it wants none. A second signal ends it at
/// once: the kernel takes the probes off with the process.
fn end_on_signals(stop: &Stop, quiet: &Arc<AtomicBool>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::other)?;
    let (stop, quiet) = (stop.clone(), Arc::clone(quiet));
    let wait = move || {
        for signal in signals.forever() {
            let again = stop.requested().is_some();
            if signal != SIGINT {
                quiet.store(true, Ordering::Release);
            }
            stop.request("a signal");
            if again {
                die_of(signal);
            } else if signal != SIGINT {
                thread::spawn(move || {
                    let end_ns = clock::now_ns() + TERMINATED_WAITS_NS;
                    while clock::now_ns() < end_ns {
                        thread::park_timeout(Duration::from_millis(100));
                    }
                    die_of(signal);
                });
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(Failure::other)?;
    Ok(())
}

/// As if nobody had listened for it.
fn die_of(signal: i32) {
    if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
        say(&format!("temblor: could not end on signal {signal}: {error}"));
    }
}

/// A pipe whose reader is gone ends it, also while there is nothing to write.
fn end_when_nobody_reads(stop: &Stop, quiet: &Arc<AtomicBool>) -> Result<(), Failure> {
    let (stop, quiet) = (stop.clone(), Arc::clone(quiet));
    let wait = move || {
        let stdout = io::stdout();
        // Nothing is asked for: only an end that cannot be written to any more is told.
        let mut end = [PollFd::new(&stdout, PollFlags::empty())];
        let ended = loop {
            match poll(&mut end, None) {
                Err(rustix::io::Errno::INTR) => {}
                ended => break ended,
            }
        };
        if ended.is_ok() {
            quiet.store(true, Ordering::Release);
            stop.request("nobody reads");
        }
    };
    thread::Builder::new().name("reader".into()).spawn(wait).map_err(Failure::other)?;
    Ok(())
}

fn columns() -> usize {
    if terminal::is_terminal() { terminal::width() } else { WIDTH }
}

/// Shows events as they come, and adds them up.
#[derive(Default)]
struct Shown {
    json: bool,
    began_ns: Option<u64>,
    account: Account,
}

impl Shown {
    fn show(&mut self, event: &Event) {
        if self.json {
            match serde_json::to_string(event) {
                Ok(line) => print(&line),
                Err(error) => say(&format!("temblor: an event could not be written: {error}")),
            }
            return;
        }
        let began_ns = *self.began_ns.get_or_insert_with(clock::now_ns);
        self.account.add(&event.body);
        if let Body::ProbeStatus(status) = &event.body {
            say(&format!("the {} probe is attached", status.probe));
            for unseen in &status.unseen {
                say(&format!("  not seen: {unseen}"));
            }
        }
        let Some((of, what)) = words(&event.body) else { return };
        let at = Duration::from_nanos(event.t_ns.saturating_sub(began_ns));
        let line = format!("{:>8.3} s  {of}  {what}", at.as_secs_f64());
        if terminal::is_terminal() {
            wrapped(&line, columns(), 20).iter().for_each(|line| print(line));
        } else {
            print(&terminal::plain(&line));
        }
    }
}
