//! `temblor report`, and the last words of `temblor run`.

use std::path::Path;

use temblor_judge::RunResult;

use crate::args::Report;
use crate::exit::{Exit, Failure};
use crate::summary;
use crate::terminal::{painted, plain, print};

/// Renders runs' reports again and says their verdicts; ends as the weightiest of them does.
pub(crate) fn report(args: &Report) -> Result<Exit, Failure> {
    if args.summary {
        return Ok(summary::summary(&args.runs));
    }
    let mut exit = Exit::Pass;
    for run in &args.runs {
        let result = render(run)?;
        tell(&result, run);
        exit = summary::weightier(exit, result.verdict.into());
    }
    Ok(exit)
}

/// Judges the run in `dir` and writes its reports.
pub(crate) fn render(dir: &Path) -> Result<RunResult, Failure> {
    temblor_report::write(dir).map_err(|error| {
        if error.is_of_the_run() { Failure::input(error) } else { Failure::other(error) }
    })
}

/// The verdict, why, and where to read on.
pub(crate) fn tell(result: &RunResult, dir: &Path) {
    let (word, colour) = summary::word(result.verdict);
    print(&format!("{}  {}", painted(word, colour), plain(&result.experiment.title)));
    for reason in &result.reasons {
        print(&format!("  - {}", plain(reason)));
    }
    print(&format!("report: {}", dir.join("report.html").display()));
}
