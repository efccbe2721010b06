//! What was expected, with the figure that decides it.

use temblor_event::{Condition, Op};
use temblor_judge::{ExpectationResult, RunResult, human};

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::NOT_OBSERVED;

pub(super) fn section(result: &RunResult) -> Section {
    let mut blocks = Vec::new();
    if result.expectations.is_empty() {
        blocks.push(Block::Text("The experiment states no expectation.".to_owned()));
    } else {
        blocks.push(Block::Table(table("Expectation", "the whole run", &result.expectations)));
    }
    if !result.steady_state.is_empty() {
        blocks.push(Block::Text("Steady before the fault, that is, over the baseline:".to_owned()));
        blocks.push(Block::Table(table("Steady state", "the baseline", &result.steady_state)));
    }
    blocks.push(Block::Note(
        "load.* figures: the load generator's record, latency from the planned send time. \
         ledger.* figures: the client's record held against the database. detection and \
         recovery.*: the timeline. A figure that was not observed does not hold."
            .to_owned(),
    ));
    Section { id: "expectations", title: "Expected and observed", blocks }
}

/// `over`: what is meant where no phase is named.
fn table(what: &str, over: &str, results: &[ExpectationResult]) -> Table {
    let mut table = Table::new(
        "expectations",
        vec![
            Column::words(what),
            Column::words("Figure"),
            Column::words("Over"),
            Column::figures("Observed", "The figure, computed from the run's events."),
            Column::figures("Bound", "As the experiment asks."),
            Column::words("Held"),
        ],
    );
    for expected in results {
        let tone = if expected.observed.is_none() { Tone::Absent } else { Tone::Plain };
        table.push(vec![
            Cell::text(&expected.name),
            Cell::code(expected.condition.figure.name()),
            Cell::text(expected.during.as_deref().unwrap_or(over)),
            Cell::toned(observed(expected), tone).from(source_of(&expected.condition)),
            Cell::text(bound(&expected.condition))
                .from(format!("The experiment's own words: {}", expected.condition.text)),
            Cell::good(expected.held, "held", "did not hold"),
        ]);
    }
    table
}

/// The figure as it was observed, with as many digits as tell it from its bound.
pub(crate) fn observed(expected: &ExpectationResult) -> String {
    let condition = &expected.condition;
    expected.observed.map_or_else(
        || NOT_OBSERVED.to_owned(),
        |v| human::beside(v, condition.bound, condition.figure.unit()),
    )
}

/// The comparison and the bound.
pub(crate) fn bound(condition: &Condition) -> String {
    let op = match condition.op {
        Op::Ge => "≥",
        Op::Gt => ">",
        Op::Le => "≤",
        Op::Lt => "<",
        Op::Eq => "=",
    };
    format!("{op} {}", human::figure(condition.bound, condition.figure.unit()))
}

fn source_of(condition: &Condition) -> &'static str {
    match condition.figure.name().split('.').next() {
        Some("load") => "The load generator's record; latency from the planned send time.",
        Some("ledger") => "The client's record held against the database after the run.",
        _ => "The timeline: see its sources.",
    }
}
