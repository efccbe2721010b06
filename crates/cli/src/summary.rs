//! `temblor report --summary`: several runs at a glance, as a table for people or, into a pipe or
//! a file, as Markdown.

use std::path::{Path, PathBuf};

use temblor_judge::{FaultResult, RunResult, Verdict, human};

use crate::exit::{Exit, Failure};
use crate::terminal::{self, painted, plain, print};

const NOT_OBSERVED: &str = "not observed";
const HEADER: [&str; 7] =
    ["Experiment", "Verdict", "Effect", "Noticed", "Steady again", "Longest outage", "Lost"];
/// Effects of one run that are told; a cascade has a handful.
const EFFECTS_MAX: usize = 4;

/// What is said of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    verdict: Verdict,
    cells: [String; 7],
}

/// Reads and judges the runs, writes nothing, and ends as the weightiest of their verdicts does. A
/// directory that is no run is named, and the others are told nevertheless.
pub(crate) fn summary(dirs: &[PathBuf]) -> Exit {
    let mut exit = Exit::Pass;
    let mut rows = Vec::new();
    for dir in dirs {
        match read(dir) {
            Ok(result) => {
                exit = weightier(exit, result.verdict.into());
                rows.push(row(&result));
            }
            Err(failure) => exit = weightier(exit, failure.tell()),
        }
    }
    let lines =
        if terminal::is_terminal() { aligned(&rows, terminal::width()) } else { markdown(&rows) };
    for line in lines {
        print(&line);
    }
    exit
}

/// The exit codes are numbered by weight: a leak is 5, a failed expectation 1.
pub(crate) fn weightier(a: Exit, b: Exit) -> Exit {
    if (b as u8) > (a as u8) { b } else { a }
}

fn read(dir: &Path) -> Result<RunResult, Failure> {
    temblor_report::result(dir).map_err(|error| {
        if error.is_of_the_run() { Failure::input(error) } else { Failure::other(error) }
    })
}

fn row(result: &RunResult) -> Row {
    let seconds =
        |value: Option<f64>| value.map_or_else(|| NOT_OBSERVED.to_owned(), human::duration);
    let services = &result.services;
    let outage = if services.stories.is_empty() && services.watched {
        "none".to_owned()
    } else {
        seconds(services.outage_seconds)
    };
    let lost = result.ledger.as_ref().and_then(|ledger| ledger.lost);
    Row {
        verdict: result.verdict,
        cells: [
            plain(&result.experiment.name),
            word(result.verdict).0.to_lowercase(),
            plain(&effect(&result.faults)),
            seconds(result.detection_seconds),
            seconds(result.recovery_seconds.full),
            outage,
            lost.map_or_else(|| NOT_OBSERVED.to_owned(), human::count),
        ],
    }
}

/// `3,482 packets dropped`; of several faults each, those that count the same thing together.
fn effect(faults: &[FaultResult]) -> String {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for fault in faults {
        let measure = fault.effect.measure.as_str();
        match sums.iter_mut().find(|(known, _)| *known == measure) {
            Some((_, sum)) => *sum = sum.saturating_add(fault.effect.count),
            None => sums.push((measure, fault.effect.count)),
        }
    }
    let mut words: Vec<String> = sums
        .iter()
        .take(EFFECTS_MAX)
        .map(|(measure, n)| match *measure {
            "" => NOT_OBSERVED.to_owned(),
            measure => human::counted(*n, measure),
        })
        .collect();
    if sums.len() > EFFECTS_MAX {
        words.push(format!("{} more", sums.len() - EFFECTS_MAX));
    }
    if words.is_empty() { "no fault".to_owned() } else { words.join("; ") }
}

/// The verdict's word and its colour on a terminal.
pub(crate) fn word(verdict: Verdict) -> (&'static str, u8) {
    match verdict {
        Verdict::Pass => ("PASS", 32),
        Verdict::Fail => ("FAIL", 31),
        Verdict::Invalid => ("INVALID", 33),
        Verdict::Aborted => ("ABORTED", 33),
        Verdict::Leak => ("LEAK", 31),
    }
}

fn markdown(rows: &[Row]) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let escaped =
        |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    let mut lines = vec![
        line(&HEADER.map(str::to_owned)),
        "| --- | --- | --- | ---: | ---: | ---: | ---: |".to_owned(),
    ];
    lines.extend(rows.iter().map(|row| line(&row.cells.each_ref().map(escaped))));
    lines
}

/// Columns where they fit into so many, otherwise a few lines for each run.
fn aligned(rows: &[Row], width: usize) -> Vec<String> {
    let cells: Vec<[String; 7]> = rows.iter().map(|row| row.cells.clone()).collect();
    let mut lines = terminal::table(&HEADER.map(str::to_owned), &cells);
    if lines.iter().all(|line| line.chars().count() <= width) {
        for (line, row) in lines.iter_mut().skip(1).zip(rows) {
            let (_, colour) = word(row.verdict);
            // The verdict's column begins where the header says; what is before it is the name.
            let name: String = row.cells[0].clone();
            let verdict = &row.cells[1];
            if let Some(at) = line.get(name.len()..).and_then(|rest| rest.find(verdict.as_str())) {
                let at = name.len() + at;
                line.replace_range(at..at + verdict.len(), &painted(verdict, colour));
            }
        }
        return lines;
    }
    rows.iter()
        .flat_map(|row| {
            let (word, colour) = word(row.verdict);
            let [name, _, effect, noticed, steady, outage, lost] = &row.cells;
            [
                format!(
                    "{}  {}",
                    painted(word, colour),
                    terminal::fit(name, width.saturating_sub(9))
                ),
                terminal::fit(&format!("  effect: {effect}"), width),
                terminal::fit(&format!("  noticed: {noticed}"), width),
                terminal::fit(&format!("  steady again: {steady}"), width),
                terminal::fit(&format!("  longest outage: {outage}"), width),
                terminal::fit(&format!("  lost: {lost}"), width),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |verdict, cells: [&str; 7]| Row { verdict, cells: cells.map(str::to_owned) };
        vec![
            row(
                Verdict::Pass,
                [
                    "network-partition",
                    "pass",
                    "3,482 packets dropped",
                    "1.2 s",
                    "4.5 s",
                    "none",
                    "0",
                ],
            ),
            row(
                Verdict::Fail,
                [
                    "pass-through|x",
                    "fail",
                    "3 processes killed",
                    "12 ms",
                    NOT_OBSERVED,
                    "6.2 s",
                    "4",
                ],
            ),
        ]
    }

    #[test]
    fn markdown_has_a_row_a_run() {
        assert_eq!(
            markdown(&rows()),
            [
                "| Experiment | Verdict | Effect | Noticed | Steady again | Longest outage | Lost |",
                "| --- | --- | --- | ---: | ---: | ---: | ---: |",
                "| network-partition | pass | 3,482 packets dropped | 1.2 s | 4.5 s | none | 0 |",
                "| pass-through\\|x | fail | 3 processes killed | 12 ms | not observed | 6.2 s | 4 |",
            ]
        );
    }

    #[test]
    fn a_table_fits_or_becomes_lines() {
        let wide = aligned(&rows(), 200);
        assert_eq!(wide.len(), 3);
        assert!(wide[1].starts_with("network-partition  pass     3,482"), "{wide:?}");
        for width in [20, 40, 60] {
            let narrow = aligned(&rows(), width);
            assert_eq!(narrow.len(), 12);
            assert!(narrow.iter().all(|line| line.chars().count() <= width), "{narrow:?}");
        }
        assert_eq!(aligned(&rows(), 40)[9], "  steady again: not observed");
    }

    #[test]
    fn the_weightiest_verdict_decides() {
        use Exit::{Aborted, Fail, Input, Invalid, Leak, Pass};
        for (exits, expected) in [
            (&[][..], Pass),
            (&[Pass, Fail, Pass], Fail),
            (&[Fail, Invalid], Invalid),
            (&[Aborted, Invalid, Fail], Aborted),
            (&[Leak, Aborted], Leak),
            (&[Fail, Input], Input),
        ] {
            assert_eq!(exits.iter().copied().fold(Pass, weightier), expected, "{exits:?}");
        }
    }
}
