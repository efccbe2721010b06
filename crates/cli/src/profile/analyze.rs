//! `temblor profile analyze`: what profiles mean.

use std::path::Path;

use temblor_analysis::{
    Against, AgainstOptions, ChangesOptions, Error, Held, Report, Rules, against, analyze as mean,
    changes, hold, json, text,
};

use super::analyze_args::Analyze;
use super::files::{of_input, read, shown, write};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Lines that are longer are hard to read, however wide a terminal is.
const WIDTH_MAX: usize = 100;
/// Of what is no terminal.
const WIDTH: usize = 80;

/// Says what the profile means, and ends as its budgets do.
pub(super) fn analyze(args: &Analyze) -> Result<Exit, Failure> {
    let path = &args.source.profile;
    let kind = args.source.kind.as_deref();
    let rules = Rules::built_in();
    let profile = read(path)?;
    let compared =
        ChangesOptions { kind: args.source.kind.clone(), basis: args.compare.map(Into::into) };
    let mut report = Report {
        analysis: Some(mean(&profile, kind, rules).map_err(|error| wrong(path, error))?),
        ..Report::default()
    };
    if let Some(base) = &args.base {
        let told = changes(&read(base)?, &profile, &compared, rules);
        report.changes = Some(told.map_err(|error| wrong_of_two(base, path, error))?);
    }
    if !args.budget.is_empty() {
        let held = hold(&profile, kind, &args.budget, rules);
        report.budgets = held.map_err(|error| wrong(path, error))?;
    }
    if let Some(base) = &args.budget_against {
        let options = AgainstOptions { compared, allowed: args.allow.0 };
        let told = against(&read(base)?, &profile, &options, rules);
        report.against = Some(told.map_err(|error| wrong_of_two(base, path, error))?);
    }
    let written = if args.json {
        let json = serde_json::to_string_pretty(&json(&report)).map_err(Failure::other)?;
        json + "\n"
    } else {
        text(&report, width())
    };
    write(None, written.as_bytes())?;
    Ok(ending(&report))
}

fn width() -> usize {
    if terminal::is_terminal() { terminal::width().min(WIDTH_MAX) } else { WIDTH }
}

/// The weightiest of what the budgets say: that nothing can be said counts for more than that one
/// was exceeded, as with runs.
fn ending(report: &Report) -> Exit {
    let says_nothing = |against: &Against| !against.says_something();
    let is_over = |against: &Against| !against.over.is_empty();
    let any = |held: Held| report.budgets.iter().any(|holding| holding.held == held);
    if any(Held::TooFew) || report.against.as_ref().is_some_and(says_nothing) {
        Exit::Invalid
    } else if any(Held::Over) || report.against.as_ref().is_some_and(is_over) {
        Exit::Fail
    } else {
        Exit::Pass
    }
}

/// What is wrong with the profile in a file, or with what was asked of it.
fn wrong(path: &Path, error: Error) -> Failure {
    match error {
        Error::Profile(error) => of_input(path, error),
        error @ (Error::Empty { .. } | Error::Difference) => {
            let is_empty = matches!(error, Error::Empty { .. });
            let failure = Failure::input(anyhow::Error::new(error).context(shown(path)));
            // As where nothing is collected: there was nothing to see.
            if is_empty { failure.with(Exit::Invalid) } else { failure }
        }
        error => Failure::input(error),
    }
}

/// The same of one of two.
fn wrong_of_two(base: &Path, new: &Path, error: Error) -> Failure {
    // The new one was read alone before, so that what is wrong with one of them is wrong with the
    // base.
    let path = if matches!(error, Error::Unlike { .. }) { new } else { base };
    wrong(path, error)
}
