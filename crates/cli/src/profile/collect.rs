//! `temblor profile cpu`, `off-cpu`, `lock`, `threads`, `heap`, `allocs`: profiles of running processes.

use std::time::Duration;

use temblor_plan::parse_bytes;
use temblor_runner::{Account, CollectSettings, Collected, ProfileSettings, Stop, Wanted, profile};

use super::args::Written;
use super::collect_args::{Cpu, Heap, Threads, Waits};
use super::files::try_to_write;
use super::{asked_format, hand_over};
use crate::args::Targets;
use crate::exit::{Exit, Failure};
use crate::run::need_root;
use crate::terminal::say;
use crate::trace::length;
use crate::watched::{end_on_signals, input, lab_of, sought};

/// With fewer samples shares say little: they may be off by a tenth of the whole.
const FEW: u64 = 100;

/// Where processor time goes.
pub(super) fn cpu(args: &Cpu) -> Result<Exit, Failure> {
    let of = CollectSettings::of(Wanted::Cpu { rate_hz: args.rate });
    let everybody = args.whom.all;
    let settings = CollectSettings { everybody, timeline: args.timeline, ..of };
    collect(&args.whom.targets, settings, length(&args.lasting.lasting)?, &args.written, None)
}

/// Where threads wait, for locks or for whatever it is.
pub(super) fn waits(args: &Waits, wanted: Wanted) -> Result<Exit, Failure> {
    let of = CollectSettings::of(wanted);
    let everybody = args.whom.all;
    let settings = CollectSettings { everybody, wakers: args.wakers, ..of };
    collect(&args.whom.targets, settings, length(&args.lasting.lasting)?, &args.written, None)
}

/// Every thread's state and stack.
pub(super) fn threads(args: &Threads) -> Result<Exit, Failure> {
    let of = CollectSettings::of(Wanted::Threads);
    let settings = CollectSettings { everybody: args.whom.all, ..of };
    collect(&args.whom.targets, settings, Duration::ZERO, &args.written, None)
}

/// What is allocated, of which this is what is meant.
pub(super) fn heap(args: &Heap, meant: &str) -> Result<Exit, Failure> {
    let every = &args.every;
    let every_bytes = parse_bytes(every).map_err(|why| input(format!("--every {every}: {why}")))?;
    if every_bytes == 0 {
        return Err(input(format!("--every {every}: give more than 0")));
    }
    let settings = CollectSettings::of(Wanted::Heap { every_bytes });
    let length = length(&args.lasting.lasting)?;
    collect(&args.targets, settings, length, &args.written, Some(meant))
}

/// Collects, says how it went, and writes what was asked for. Of several types in one profile one may
/// be meant.
fn collect(
    targets: &Targets,
    settings: CollectSettings,
    length: Duration,
    written: &Written,
    meant: Option<&str>,
) -> Result<Exit, Failure> {
    let output = written.output.output.as_deref();
    let format = asked_format("--format", written.format, output)?;
    need_root()?;
    if let Some(path) = output {
        try_to_write(path)?;
    }
    let lab = lab_of(targets)?;
    let stop = Stop::default();
    end_on_signals(&stop)?;
    let targets = sought(targets);
    let names: Vec<String> = targets.iter().map(|target| target.written.clone()).collect();
    let name = if settings.everybody { "all processes".to_owned() } else { names.join(", ") };
    let wanted = settings.wanted;
    let Collected { mut profile, account } =
        profile(&ProfileSettings { targets, lab, collect: settings, length, stop })?;
    if let Some(meant) = meant {
        meant.clone_into(&mut profile.default_type);
    }
    tell(wanted, &account);
    hand_over(&profile, format, &name, output)
}

/// What was collected and what it cost, and what is missing.
fn tell(wanted: Wanted, account: &Account) {
    let Account { samples, lost, ends, waits, took, cost, naming } = account;
    let what = match wanted {
        Wanted::Cpu { .. } => "samples",
        Wanted::OffCpu | Wanted::Lock => "stacks of waits",
        Wanted::Threads => "threads",
        Wanted::Heap { .. } => "sampled allocations",
    };
    let took_kernel = match wanted {
        Wanted::Threads => format!("{:.1} ms", cost.net_ns() as f64 / 1e6),
        Wanted::Cpu { .. } | Wanted::OffCpu | Wanted::Lock | Wanted::Heap { .. } => {
            let share = cost.net_ns() as f64 / took.as_nanos() as f64;
            format!("{:.3} % of one processor", share * 100.0)
        }
    };
    say(&format!(
        "{samples} {what} in {:.1} s, {lost} lost; the kernel half took {took_kernel} and {:.1} MiB; \
         named in {:.0} ms",
        took.as_secs_f64(),
        cost.map_bytes as f64 / f64::from(1 << 20),
        naming.as_secs_f64() * 1e3,
    ));
    if let Some(waits) = waits {
        let seconds = Duration::from_nanos(waits.sum_ns).as_secs_f64();
        say(&format!("counted apart from them: {} waits, {seconds:.3} s together", waits.count));
    }
    // Of waits and threads none is left to chance.
    if *samples < FEW && matches!(wanted, Wanted::Cpu { .. } | Wanted::Heap { .. }) {
        // Twice the standard error of a share of one half, where it is largest.
        let off = (1.0 / *samples as f64).sqrt() * 100.0;
        say(&format!("few samples: a share may be off by {off:.0} %; collect for longer"));
    }
    for (end, times) in ends {
        if let Some(why) = end.reason() {
            let share = *times as f64 / *samples as f64 * 100.0;
            say(&format!("{times} stacks ({share:.1} %) do not reach their thread's root: {why}"));
        }
    }
}
