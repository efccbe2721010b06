//! `temblor report`, and the last words of `temblor run`.

use std::path::Path;

use temblor_judge::{RunResult, Verdict};

use crate::args::Report;
use crate::exit::{Exit, Failure};
use crate::terminal::{painted, plain, print};

/// Renders a run's report again and says the verdict.
pub(crate) fn report(args: &Report) -> Result<Exit, Failure> {
    let result = render(&args.run)?;
    tell(&result, &args.run);
    Ok(result.verdict.into())
}

/// Judges the run in `dir` and writes its reports.
pub(crate) fn render(dir: &Path) -> Result<RunResult, Failure> {
    temblor_report::write(dir).map_err(|error| {
        if error.is_of_the_run() { Failure::input(error) } else { Failure::other(error) }
    })
}

/// The verdict, why, and where to read on.
pub(crate) fn tell(result: &RunResult, dir: &Path) {
    let (word, colour) = match result.verdict {
        Verdict::Pass => ("PASS", 32),
        Verdict::Fail => ("FAIL", 31),
        Verdict::Invalid => ("INVALID", 33),
        Verdict::Aborted => ("ABORTED", 33),
        Verdict::Leak => ("LEAK", 31),
    };
    print(&format!("{}  {}", painted(word, colour), plain(&result.experiment.title)));
    for reason in &result.reasons {
        print(&format!("  - {}", plain(reason)));
    }
    print(&format!("report: {}", dir.join("report.html").display()));
}
