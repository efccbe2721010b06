//! `temblor trace`: what the kernel sees of processes, live.

mod account;
mod histogram;
mod measures;
mod top;
mod words;

pub(crate) use self::top::leave as leave_full_screen;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_event::{Body, Event, clock};
use temblor_exporter::{Figures, Limits};
use temblor_plan::parse_duration;
use temblor_runner::{Stop, TraceSettings};

use self::account::Account;
use self::top::{Screen, wants_terminal};
use self::words::words;
use crate::args::Trace;
use crate::exit::{Exit, Failure};
use crate::run::need_root;
use crate::terminal::{self, print, say, wrapped};
use crate::watched::{budget, die_of, input, lab_of, probes, sought};

/// As long as a fault may be held.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a terminated trace may take to write down what it has, before it ends regardless: who
/// reads it may have stopped reading.
const TERMINATED_WAITS_NS: u64 = 3_000_000_000;
/// Columns of what is no terminal's.
const WIDTH: usize = 80;

/// Watches until the time is over, or somebody ends it, and sums up.
pub(crate) fn trace(args: &Trace) -> Result<Exit, Failure> {
    if args.top {
        wants_terminal()?;
    }
    let probes = probes(&args.probes)?;
    let budget = budget(args.budget.as_deref())?;
    let length = args.lasting.as_deref().map(length).transpose()?;
    need_root()?;
    let lab = lab_of(&args.targets)?;
    let stop = Stop::default();
    let quiet = Arc::new(AtomicBool::new(false));
    end_on_signals(&stop, &quiet)?;
    end_when_nobody_reads(&stop, &quiet)?;
    let mut shown = Shown::new(args, &stop);
    let settings =
        TraceSettings { probes, targets: sought(&args.targets), lab, budget, length, stop };
    temblor_runner::trace(&settings, &mut |event| shown.show(&event))?;
    if !quiet.load(Ordering::Acquire) {
        shown.sum_up()?;
    }
    Ok(Exit::Pass)
}

/// How long it is to go on.
pub(crate) fn length(text: &str) -> Result<Duration, Failure> {
    let length = parse_duration(text).map_err(|why| input(format!("--for {text}: {why}")))?;
    if length.is_zero() || length > LENGTH_MAX {
        return Err(input(format!("--for {text}: give more than 0 and at most 24h")));
    }
    Ok(length)
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

/// What is made of the events.
enum Shown {
    /// Each is a line of JSON.
    Json,
    /// Nothing until the end.
    Figures(Box<Figures>),
    /// The last second's figures, and they are added up.
    Top { screen: Screen, account: Box<Account> },
    /// Each is a line in words, and they are added up.
    Words { began_ns: Option<u64>, account: Box<Account> },
}

impl Shown {
    fn new(args: &Trace, stop: &Stop) -> Self {
        if args.json {
            Self::Json
        } else if args.top {
            Self::Top { screen: Screen::new(stop), account: Box::default() }
        } else if args.prometheus {
            Self::Figures(Box::new(Figures::new(Limits::default())))
        } else {
            Self::Words { began_ns: None, account: Box::default() }
        }
    }

    fn show(&mut self, event: &Event) {
        match self {
            Self::Json => match serde_json::to_string(event) {
                Ok(line) => print(&line),
                Err(error) => say(&format!("temblor: an event could not be written: {error}")),
            },
            Self::Figures(figures) => {
                figures.add(event, clock::now_ns());
                say_of_probe(&event.body);
            }
            Self::Top { screen, account } => {
                account.add(&event.body);
                screen.add(&event.body);
            }
            Self::Words { began_ns, account } => {
                let began_ns = *began_ns.get_or_insert_with(clock::now_ns);
                account.add(&event.body);
                say_of_probe(&event.body);
                show_line(event, began_ns);
            }
        }
    }

    fn sum_up(self) -> Result<(), Failure> {
        match self {
            Self::Json => {}
            Self::Figures(mut figures) => {
                let page = figures.text(clock::now_ns()).map_err(Failure::other)?;
                print(page.trim_end());
            }
            Self::Top { mut screen, account } => {
                screen.close()?;
                account.told(columns()).iter().for_each(|line| print(line));
            }
            Self::Words { account, .. } => {
                print("");
                account.told(columns()).iter().for_each(|line| print(line));
            }
        }
        Ok(())
    }
}

fn say_of_probe(body: &Body) {
    if let Body::ProbeStatus(status) = body {
        say(&format!("the {} probe is attached", status.probe));
        for unseen in &status.unseen {
            say(&format!("  not seen: {unseen}"));
        }
    }
}

fn show_line(event: &Event, began_ns: u64) {
    let Some((of, what)) = words(&event.body) else { return };
    let at = Duration::from_nanos(event.t_ns.saturating_sub(began_ns));
    let line = format!("{:>8.3} s  {of}  {what}", at.as_secs_f64());
    if terminal::is_terminal() {
        wrapped(&line, columns(), 20).iter().for_each(|line| print(line));
    } else {
        print(&terminal::plain(&line));
    }
}
