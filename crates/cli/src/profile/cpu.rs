//! `temblor profile cpu`: where processor time goes.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_runner::{Account, Collected, ProfileSettings, Stop, profile_cpu};

use super::args::Cpu;
use super::files::try_to_write;
use super::{asked_format, hand_over};
use crate::exit::{Exit, Failure};
use crate::run::{lab_that_is_up, need_root};
use crate::terminal::say;
use crate::trace::length;
use crate::watched::{die_of, sought};

/// With fewer samples shares say little: they may be off by a tenth of the whole.
const FEW: u64 = 100;

/// Collects, says how it went, and writes what was asked for.
pub(super) fn cpu(args: &Cpu) -> Result<Exit, Failure> {
    let output = args.output.output.as_deref();
    let format = asked_format(args.format, output)?;
    let length = length(&args.lasting)?;
    need_root()?;
    if let Some(path) = output {
        try_to_write(path)?;
    }
    let options = temblor_lab::Options::from_env().map_err(Failure::from);
    let lab = options.and_then(|options| lab_that_is_up(&options));
    // Who asks for none of its services need not have a lab that is well.
    let lab = if args.targets.service.is_empty() { lab.unwrap_or(None) } else { lab? };
    let stop = Stop::default();
    end_on_signals(&stop)?;
    let targets = sought(&args.targets);
    let names: Vec<String> = targets.iter().map(|target| target.written.clone()).collect();
    let name = if args.all { "processor time".to_owned() } else { names.join(", ") };
    let Collected { profile, account } = profile_cpu(&ProfileSettings {
        targets,
        lab,
        everybody: args.all,
        rate_hz: args.rate,
        length,
        stop,
    })?;
    tell(&account);
    hand_over(&profile, format, &name, output)
}

/// The first signal ends the collecting, and what was collected is written; a second one ends it at
/// once: the kernel takes the sampler off with the process.
fn end_on_signals(stop: &Stop) -> Result<(), Failure> {
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

/// What was collected and what it cost, and what is missing.
fn tell(account: &Account) {
    let Account { samples, lost, ends, took, cost, naming } = account;
    let kernel_share = cost.net_ns() as f64 / took.as_nanos() as f64;
    say(&format!(
        "{samples} samples in {:.1} s, {lost} lost; the kernel half took {:.3} % of one processor and \
         {:.1} MiB; named in {:.0} ms",
        took.as_secs_f64(),
        kernel_share * 100.0,
        cost.map_bytes as f64 / f64::from(1 << 20),
        naming.as_secs_f64() * 1e3,
    ));
    if *samples < FEW {
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
