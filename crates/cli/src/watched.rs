//! Whom to watch, with what, and what it may cost, from the command line.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_lab::State as LabState;
use temblor_plan::{Find, PROBES, parse_share};
use temblor_runner::{Budget, Sought, Stop};

use crate::args::Targets;
use crate::exit::Failure;
use crate::run::lab_that_is_up;
use crate::terminal::say;
use crate::trace::leave_full_screen;

/// Those that are asked for, each once.
pub(crate) fn probes(asked: &[String]) -> Result<Vec<String>, Failure> {
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

/// What each probe may cost.
pub(crate) fn budget(text: Option<&str>) -> Result<Budget, Failure> {
    let Some(text) = text else { return Ok(Budget::default()) };
    let share = parse_share(text).map_err(|why| input(format!("--budget {text}: {why}")))?;
    if share <= 0.0 {
        return Err(input(format!("--budget {text}: give more than 0%")));
    }
    Ok(Budget::share(share))
}

pub(crate) fn input(why: String) -> Failure {
    Failure::input(anyhow::anyhow!(why))
}

/// Whom the command line names.
pub(crate) fn sought(args: &Targets) -> Vec<Sought> {
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

/// The lab, where one is up. Who asks for none of its services need not have a lab that is well.
pub(crate) fn lab_of(args: &Targets) -> Result<Option<LabState>, Failure> {
    let options = temblor_lab::Options::from_env().map_err(Failure::from);
    let lab = options.and_then(|options| lab_that_is_up(&options));
    if args.service.is_empty() { Ok(lab.unwrap_or(None)) } else { lab }
}

/// The first signal asks for the end; a second one ends it at once: the kernel takes our programs off
/// with the process.
pub(crate) fn end_on_signals(stop: &Stop) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::other)?;
    let stop = stop.clone();
    let wait = move || {
        for signal in signals.forever() {
            if stop.requested().is_some() {
                die_of(signal);
            }
            stop.request("a signal");
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(Failure::other)?;
    Ok(())
}

/// As if nobody had listened for it.
pub(crate) fn die_of(signal: i32) {
    leave_full_screen();
    if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
        say(&format!("temblor: could not end on signal {signal}: {error}"));
    }
}
