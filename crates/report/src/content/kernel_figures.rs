//! What the kernel aggregated of each target, phase by phase.

use std::collections::BTreeSet;

use temblor_judge::human::times;
use temblor_judge::{FigureUnit, KernelFigure, RunResult};

use crate::document::{Block, Cell, Column, Section, Table};
use crate::number;

/// So many changes are told in words.
const SENTENCES_MAX: usize = 5;
/// So many figures of a probe have a row.
const ROWS_MAX: usize = 100;
/// A longer table is folded away.
const OPEN_MAX: usize = 60;

/// None: no probe aggregated anything.
pub(super) fn section(result: &RunResult) -> Option<Section> {
    let figures = &result.evidence.figures;
    if figures.is_empty() {
        return None;
    }
    let observed: BTreeSet<&str> =
        figures.iter().flat_map(|figure| figure.phases.keys().map(String::as_str)).collect();
    let mut phases: Vec<&str> =
        result.phases.iter().map(|p| p.name.as_str()).filter(|p| observed.contains(p)).collect();
    let others: Vec<&str> = observed.iter().filter(|p| !phases.contains(p)).copied().collect();
    phases.extend(others);
    let changed: Vec<&KernelFigure> = figures.iter().filter(|figure| figure.changed).collect();
    let mut blocks = Vec::new();
    if changed.is_empty() {
        blocks.push(Block::Text(
            "Nothing at least doubled, or was halved, while a fault was in place.".to_owned(),
        ));
    } else {
        let told = changed.iter().take(SENTENCES_MAX);
        blocks.push(Block::List {
            head: "What changed most".to_owned(),
            items: told.map(|figure| sentence(figure, &phases)).collect(),
        });
    }
    let probes: BTreeSet<&str> = figures.iter().map(|figure| figure.probe.as_str()).collect();
    for probe in probes {
        let of_probe: Vec<_> = figures.iter().filter(|figure| figure.probe == probe).collect();
        let mut of_this = vec![Block::Table(table(&of_probe, &phases))];
        let more = of_probe.len().saturating_sub(ROWS_MAX);
        if more > 0 {
            of_this.push(Block::Note(format!(
                "{} of this probe's that changed less are in result.json.",
                number::counted(more as u64, "figures")
            )));
        }
        blocks.push(Block::Fold {
            summary: format!("All that the {probe} probe counted"),
            open: of_probe.len() <= OPEN_MAX,
            blocks: of_this,
        });
    }
    blocks.push(Block::Note(
        "Aggregated in the kernel for each target, all its threads together, and read once a \
         second; a percentile is one of all samples of the phase, in buckets at most 6.25% wide. \
         What changed most while a fault was in place comes first. A run-queue wait is the time \
         from when a thread could run to when it did: waiting for the next period of its own \
         quota is in it. Of what did not happen while it was watched there is a 0; what nobody \
         watched stays empty."
            .to_owned(),
    ));
    Some(Section { id: "kernel-figures", title: "What the kernel counted", blocks })
}

/// `run-queue wait, 99th percentile, of trading-api: 0.2 ms in baseline → 850 ms in fault`.
fn sentence(figure: &KernelFigure, phases: &[&str]) -> String {
    let values: Vec<String> = phases
        .iter()
        .filter_map(|phase| {
            let value = figure.phases.get(*phase)?;
            Some(format!("{} in {phase}", shown(*value, figure.unit)))
        })
        .collect();
    format!("{} of {}: {}", figure.figure, figure.service, values.join(" → "))
}

fn table(figures: &[&KernelFigure], phases: &[&str]) -> Table {
    let mut columns = vec![Column::words("Target"), Column::words("Figure")];
    columns.extend(phases.iter().map(|phase| Column::figures(*phase, "")));
    columns.push(Column::figures("Fault to baseline", "the phase with a fault that differs most"));
    columns.push(Column::words("Source"));
    let mut table = Table::new("kernel-figures", columns);
    for figure in figures.iter().take(ROWS_MAX) {
        let mut cells = vec![Cell::text(&figure.service), Cell::text(&figure.figure)];
        cells.extend(phases.iter().map(|phase| {
            let value = figure.phases.get(*phase).copied();
            Cell::maybe(value, |value| shown(value, figure.unit)).from(&figure.source)
        }));
        cells.push(Cell::text(figure.factor.map_or_else(String::new, times)));
        cells.push(Cell::code(&figure.source));
        table.push_as(if figure.changed { "changed" } else { "" }, cells);
    }
    table
}

fn shown(value: f64, unit: FigureUnit) -> String {
    match unit {
        FigureUnit::Seconds => number::seconds(value),
        FigureUnit::Processors => format!("{} processors", number::plain(value)),
        FigureUnit::PerSecond => number::per_second(value),
        FigureUnit::Share => number::share(value),
        FigureUnit::Bytes => number::whole_bytes(value),
        FigureUnit::BytesPerSecond => number::bytes_per_second(value),
        FigureUnit::Number => number::plain(value),
    }
}
