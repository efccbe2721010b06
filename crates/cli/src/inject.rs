//! `temblor inject`: one fault, held for a while.

use std::fmt::Write as _;

use temblor_event::Effect;
use temblor_judge::human::counted;
use temblor_plan::Experiment;
use temblor_plan::fault::{FAULTS, Kind, fault_spec};
use temblor_runner::{Held, HoldSettings, Stop};

use crate::args::Inject;
use crate::exit::{Exit, Failure};
use crate::run::{LOCKS, drawn_seed, lab_that_is_up, need_root, stop_on_signals, undo_settings};
use crate::terminal;

/// How a target may be named on the command line: `service:trading-api`.
const WAYS: &[&str] =
    &["service", "pid", "process", "cgroup", "unit", "container", "label", "compose"];

/// Puts a fault in place, holds it, and undoes it.
pub(crate) fn inject(args: &Inject) -> Result<Exit, Failure> {
    let text = experiment(args)?;
    let experiment = Experiment::parse("the command line", &text).map_err(Failure::input)?;
    let lab = lab_that_is_up(&temblor_lab::Options::from_env()?)?;
    let seed = args.seed.unwrap_or_else(drawn_seed);
    if args.plan {
        for change in temblor_runner::planned_changes(&experiment, lab.as_ref(), seed)? {
            terminal::print(&format!("{}\n  undo: {}", change.what, change.undo));
        }
        return Ok(Exit::Pass);
    }
    need_root()?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let settings =
        HoldSettings { experiment, seed, lab, undo: undo_settings(), lock_dir: LOCKS.into(), stop };
    let mut exit = Exit::Pass;
    let held = temblor_runner::hold(&settings, &mut |held| match held {
        Held::InPlace(described) => {
            let words: Vec<String> =
                described.dose.iter().map(|(key, value)| format!("{key} {value}")).collect();
            let (name, words) = (&described.name, words.join(", "));
            terminal::print(&format!("in place: {name} ({words}); by {}", described.mechanism));
        }
        Held::Undone { described, effect, left } => {
            terminal::print(&format!("undone: {}: {}", described.name, told(effect)));
            if let Some(why) = left {
                terminal::say(&format!("temblor: {} was left behind: {why}", described.name));
                exit = Exit::Leak;
            } else if effect.count == 0 && exit == Exit::Pass {
                exit = Exit::Invalid;
            }
        }
    });
    match held {
        // What was left behind weighs more than why it ended.
        Err(error) if exit == Exit::Leak => {
            Failure::from(error).tell();
            return Ok(exit);
        }
        Err(error) => return Err(error.into()),
        Ok(()) => {}
    }
    if let Some(why) = settings.stop.requested()
        && exit != Exit::Leak
    {
        terminal::say(&format!("temblor: {why}"));
        return Ok(Exit::Aborted);
    }
    if exit == Exit::Invalid {
        terminal::say("temblor: the fault had no effect");
    }
    Ok(exit)
}

/// An effect on one line.
fn told(effect: &Effect) -> String {
    let mut text = counted(effect.count, &effect.measure);
    for dose in &effect.doses {
        let observed =
            dose.observed.map_or_else(|| "not observed".to_owned(), |seen| format!("{seen:.2}"));
        let _ = write!(text, "; {}: {observed} {} of {:.2}", dose.what, dose.unit, dose.asked);
    }
    text
}

/// The experiment that the command line amounts to.
fn experiment(args: &Inject) -> Result<String, Failure> {
    let Some(spec) = fault_spec(&args.fault) else {
        let known: Vec<&str> = FAULTS.iter().map(|spec| spec.name).collect();
        let why = format!("unknown fault \"{}\": known are {}", args.fault, known.join(", "));
        return Err(Failure::input(anyhow::anyhow!(why)));
    };
    let mut targets = Vec::new();
    let mut values = Vec::new();
    for given in &args.values {
        let Some((key, value)) = given.split_once('=') else {
            let why = format!("\"{given}\" is no value: write KEY=VALUE, such as delay=100ms");
            return Err(Failure::input(anyhow::anyhow!(why)));
        };
        let kind = spec.params.iter().find(|param| param.name == key).map(|param| param.kind);
        let value = match kind {
            Some(Kind::Target | Kind::Other) => alias(&mut targets, value).ok_or_else(|| {
                let ways = WAYS.join(", ");
                Failure::input(anyhow::anyhow!(
                    "{key}=\"{value}\" is no target: write WAY:NAME, such as service:postgres or \
                     pid:42; the ways are {ways}"
                ))
            })?,
            Some(Kind::Peers) => {
                let sides = value
                    .split(',')
                    .map(|side| alias(&mut targets, side).unwrap_or_else(|| quoted(side)));
                format!("[{}]", sides.collect::<Vec<_>>().join(", "))
            }
            Some(Kind::Ports | Kind::Texts) => {
                format!("[{}]", value.split(',').map(quoted).collect::<Vec<_>>().join(", "))
            }
            _ => quoted(value),
        };
        values.push(format!("{}: {value}", quoted(key)));
    }
    let mut text = String::from(
        "apiVersion: temblor.dev/v1\nkind: Experiment\nmetadata: {name: inject}\ntargets:\n",
    );
    for given in &targets {
        if let Some((way, name)) = given.split_once(':') {
            let _ = writeln!(text, "  {}: {{{way}: {}}}", quoted(given), quoted(name));
        }
    }
    let (long, allow): (Vec<&String>, Vec<&String>) =
        args.allow.iter().partition(|word| *word == "duration");
    let allow = allow.into_iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    let bound = if long.is_empty() { "" } else { ", faultMax: 24h" };
    let _ = writeln!(text, "safety: {{allow: [{allow}]{bound}}}");
    let _ = writeln!(text, "phases:\n  - {{name: before, for: 1s}}");
    let mut item = format!("{{{}: {{{}}}", spec.name, values.join(", "));
    if let Some(ramp) = &args.ramp {
        let _ = write!(item, ", ramp: {}", quoted(ramp));
    }
    if !args.steps.is_empty() {
        let steps: Vec<String> = args.steps.iter().map(|step| quoted(step)).collect();
        let _ = write!(item, ", steps: [{}]", steps.join(", "));
    }
    let _ =
        writeln!(text, "  - {{name: fault, for: {}, inject: [{item}}}]}}", quoted(&args.lasting));
    // Without a target the list of targets is empty, and YAML wants to be told so.
    if targets.is_empty() {
        text = text.replace("targets:\n", "");
    }
    Ok(text)
}

/// The name by which a target goes in the experiment, which is what was given, as YAML; none where
/// the text names no target.
fn alias(targets: &mut Vec<String>, text: &str) -> Option<String> {
    text.split_once(':').filter(|(way, _)| WAYS.contains(way))?;
    if !targets.iter().any(|known| known == text) {
        targets.push(text.to_owned());
    }
    Some(quoted(text))
}

/// JSON's way of writing a text is YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(fault: &str, values: &[&str]) -> Inject {
        Inject {
            fault: fault.to_owned(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            lasting: "30s".to_owned(),
            ramp: None,
            steps: Vec::new(),
            allow: Vec::new(),
            seed: None,
            plan: false,
        }
    }

    #[test]
    fn every_fault_can_be_written_on_a_command_line() {
        for spec in FAULTS {
            let example = spec.example().replace(": api", "=pid:42").replace(": db", "=10.0.0.5");
            let values: Vec<String> = example.split(", ").map(|v| v.replace(": ", "=")).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let text = experiment(&args(spec.name, &values)).unwrap();
            if let Err(error) = Experiment::parse("the command line", &text) {
                panic!("{} {values:?}: {error}", spec.name);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (fault, values, wanted) in [
            ("network.lag", &[][..], "unknown fault"),
            ("process.kill", &["target"], "is no value"),
            ("process.kill", &["target=nginx"], "is no target"),
            ("network.latency", &["from=pid:42", "delay=5"], "no unit"),
        ] {
            let told = match experiment(&args(fault, values)) {
                Err(failure) => format!("{failure:?}"),
                Ok(text) => Experiment::parse("it", &text).unwrap_err().to_string(),
            };
            assert!(told.contains(wanted), "{told}");
        }
    }
}
