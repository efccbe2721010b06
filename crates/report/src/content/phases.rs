//! The same figures for each phase, side by side.

use std::collections::BTreeSet;

use temblor_event::PhaseRole;
use temblor_judge::{LoadFigures, PhaseResult, RunResult};

use crate::document::{Block, Cell, Column, Section, Table};
use crate::number;

const LOAD: &str = "load generator";

pub(super) fn section(result: &RunResult) -> Section {
    let phases = &result.phases;
    let blocks = if phases.is_empty() {
        vec![Block::Text("No phase was begun.".to_owned())]
    } else {
        vec![Block::Table(table(result, phases)), Block::Note(note(result))]
    };
    Section { id: "phases", title: "Phases side by side", blocks }
}

fn table(result: &RunResult, phases: &[PhaseResult]) -> Table {
    let mut columns = vec![Column::words("Figure")];
    columns.extend(phases.iter().map(|p| {
        let role = match p.role {
            PhaseRole::Baseline => "before the first fault",
            PhaseRole::Fault => "a fault is in place",
            PhaseRole::Recovery => "after the last fault",
        };
        Column::figures(&p.name, role)
    }));
    columns.push(Column::words("Source"));
    let mut table = Table::new("phases", columns);

    let mut row = |name: &str, source: &str, cell: &dyn Fn(&PhaseResult) -> Cell| {
        let mut cells = vec![Cell::text(name)];
        cells.extend(phases.iter().map(|p| cell(p).from(source)));
        cells.push(Cell::text(source));
        table.push(cells);
    };

    row("Began", "phase marks, UTC", &|p| Cell::text(p.start.clone()));
    row("Ended", "phase marks, UTC", &|p| Cell::text(p.end.clone()));
    row("From", "phase marks", &|p| Cell::text(number::moment(p.start_seconds)));
    row("To", "phase marks", &|p| Cell::text(number::moment(p.end_seconds)));
    if result.load.is_some() || phases.iter().any(|p| p.load.is_some()) {
        let mut load = |name: &str, figure: &dyn Fn(&LoadFigures) -> Cell| {
            row(name, LOAD, &|p| {
                p.load.as_ref().map_or_else(|| Cell::maybe(None, number::count), figure)
            });
        };
        load("Orders planned", &|l| Cell::count(l.planned));
        load("Acknowledged", &|l| Cell::count(l.ok));
        load("Failed", &|l| Cell::count(l.failed));
        load("Unsure", &|l| Cell::count(l.unsure));
        load("Unsent", &|l| Cell::count(l.unsent));
        load("Success", &|l| Cell::maybe(l.success, number::share));
        load("Errors", &|l| Cell::maybe(l.errors, number::share));
        load("Throughput", &|l| Cell::text(number::per_second(l.throughput_per_second)));
        load("Latency, median", &|l| Cell::maybe(l.p50_seconds, number::seconds));
        load("Latency, 90th percentile", &|l| Cell::maybe(l.p90_seconds, number::seconds));
        load("Latency, 99th percentile", &|l| Cell::maybe(l.p99_seconds, number::seconds));
        load("Latency, greatest", &|l| Cell::maybe(l.max_seconds, number::seconds));
    }
    row("Segments sent again", "tcp probe, all services", &|p| {
        Cell::maybe(p.retransmitted_segments, number::count)
    });
    let gauges: BTreeSet<&String> = phases.iter().flat_map(|p| p.gauges.keys()).collect();
    for name in gauges {
        let source = "read from the target";
        let mut gauge = |what: &str, figure: &dyn Fn(&temblor_judge::GaugeFigures) -> String| {
            row(&format!("{name}: {what}"), source, &|p| Cell::maybe(p.gauges.get(name), figure));
        };
        gauge("least", &|g| number::plain(g.min));
        gauge("greatest", &|g| number::plain(g.max));
        gauge("last", &|g| number::plain(g.last));
        gauge("readings", &|g| number::count(g.readings));
    }
    let checks: BTreeSet<&String> = phases.iter().flat_map(|p| p.checks.keys()).collect();
    for name in checks {
        row(&format!("{name}: yes of asked"), "check", &|p| {
            Cell::maybe(p.checks.get(name), |c| {
                format!("{} of {}", number::count(c.passed), number::count(c.asked))
            })
        });
    }
    table
}

fn note(result: &RunResult) -> String {
    let mut note = "Load figures count the orders planned within the phase, whenever they were \
                    answered; latency is that of acknowledged orders, from the planned send time."
        .to_owned();
    if let Some(account) = &result.load_account {
        note.push_str(&format!(
            " Over the whole run: {} planned = {} acknowledged + {} failed + {} unsure (of these {} \
             timed out) + {} unsent: the account {}.",
            number::count(account.planned),
            number::count(account.ok),
            number::count(account.failed),
            number::count(account.unsure),
            number::count(account.timed_out),
            number::count(account.unsent),
            if account.balanced { "balances" } else { "does not balance" },
        ));
    }
    note
}
