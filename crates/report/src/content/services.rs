//! What became of the services: who went away, who came back, in which order.

use temblor_judge::{RunResult, ServiceStepKind, ServicesResult};

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::{self, NOT_OBSERVED};

pub(super) fn section(result: &RunResult) -> Section {
    let services = &result.services;
    let mut blocks = Vec::new();
    if services.stories.is_empty() {
        blocks.push(Block::Text(if services.watched {
            "No service exited, was started again or was not well.".to_owned()
        } else {
            format!("{NOT_OBSERVED}: nobody watched the services' processes.")
        }));
    } else {
        blocks.push(Block::Table(outages(services)));
    }
    if !services.order.is_empty() {
        blocks.push(Block::Table(order(services)));
    }
    blocks.push(Block::Table(figures(result)));
    let watched = if services.watched { "watched" } else { "not watched" };
    blocks.push(Block::Note(format!(
        "Processes were {watched}. A service is away from its exit, or from being unwell, until it \
         is well and stays so for as long as steadiness must last; where nobody asks it how it \
         is, until it was started again. Exits and starts are looked for 40 times a second. Times \
         are seconds from the first injection."
    )));
    Section { id: "services", title: "Services: exits, restarts, outages", blocks }
}

fn outages(services: &ServicesResult) -> Table {
    let mut table = Table::new(
        "services",
        vec![
            Column::words("Service"),
            Column::words("Faults about it"),
            Column::figures("Away from", "seconds from the first injection"),
            Column::words("What began it"),
            Column::figures("Started again", "seconds from the first injection"),
            Column::figures("Over", "seconds from the first injection"),
            Column::words("What ended it"),
            Column::figures("Away for", ""),
            Column::figures("Exits", "its main process ended"),
            Column::figures("Restarts", "new processes, or the keeper's own count"),
            Column::words("Source"),
        ],
    );
    for story in &services.stories {
        let faults =
            if story.faults.is_empty() { "none".to_owned() } else { story.faults.join(", ") };
        for (i, away) in story.outages.iter().enumerate() {
            let first = |cell: Cell| if i == 0 { cell } else { Cell::text("") };
            let ended = if away.to_seconds.is_some() { Tone::Plain } else { Tone::Bad };
            table.push(vec![
                first(Cell::text(&story.service)),
                first(Cell::text(&faults)),
                Cell::text(number::moment(away.from_seconds)),
                Cell::text(&away.began),
                Cell::maybe(away.started_seconds, number::moment),
                Cell::maybe(away.to_seconds, number::moment),
                Cell::toned(&away.ended, ended),
                Cell::maybe(away.length_seconds, number::seconds),
                first(Cell::count(story.exits)),
                first(Cell::count(story.restarts)),
                Cell::text(&away.source),
            ]);
        }
    }
    table
}

fn order(services: &ServicesResult) -> Table {
    let mut table = Table::new(
        "order",
        vec![
            Column::figures("Time", "Seconds from the injection of the first fault."),
            Column::words("Service"),
            Column::words("For the first time"),
            Column::words("Source"),
        ],
    );
    for step in &services.order {
        let (class, what) = match step.step {
            ServiceStepKind::Exited => ("kind-application", "exited"),
            ServiceStepKind::Started => ("kind-run", "started again"),
            ServiceStepKind::Well => ("kind-recovery", "well again"),
        };
        table.push_as(
            class,
            vec![
                Cell::text(number::moment(step.t_seconds)),
                Cell::text(&step.service),
                Cell::text(what),
                Cell::text(&step.source),
            ],
        );
    }
    table
}

fn figures(result: &RunResult) -> Table {
    let services = &result.services;
    let mut table = Table::new(
        "facts",
        vec![Column::words("All services together"), Column::figures("Figure", "")],
    );
    let mut row = |name: &str, cell: Cell| table.push(vec![Cell::text(name), cell]);
    row("restarts", Cell::maybe(services.restarts, number::count));
    row("longest outage", Cell::maybe(services.outage_seconds, number::seconds));
    row(
        "all well, from the first injection",
        Cell::maybe(services.well_after_injection_seconds, number::seconds),
    );
    row("all well, from healing", Cell::maybe(result.recovery_seconds.services, number::seconds));
    row(
        "steady again, from the first injection",
        Cell::maybe(services.steady_after_injection_seconds, number::seconds),
    );
    row("steady again, from healing", Cell::maybe(result.recovery_seconds.full, number::seconds));
    table
}
