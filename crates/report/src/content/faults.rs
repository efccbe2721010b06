//! Dose and effect: what was asked of each fault, and what somebody else counted of it.

use temblor_judge::{FaultResult, RunResult, dose_figure, verdict_words};

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::{self, NOT_OBSERVED};

pub(super) fn section(result: &RunResult) -> Section {
    let mut blocks = Vec::new();
    if result.faults.len() > 1 {
        blocks.push(Block::Table(overview(&result.faults)));
    }
    blocks.extend(result.faults.iter().flat_map(fault));
    if blocks.is_empty() {
        blocks.push(Block::Text("No fault was injected.".to_owned()));
    } else {
        blocks.push(Block::Note(
            "The effect is counted by the source named with it, not claimed by the fault. \
             A dose is held against what somebody else measured of it. Times are seconds from \
             the first injection."
                .to_owned(),
        ));
    }
    Section { id: "faults", title: "The fault: dose and effect", blocks }
}

/// Several faults at a glance, in order of their injection.
fn overview(faults: &[FaultResult]) -> Table {
    let mut table = Table::new(
        "faults",
        vec![
            Column::words("Fault"),
            Column::words("About"),
            Column::figures("In place", "seconds from the first injection"),
            Column::figures("Gone", "seconds from the first injection"),
            Column::words("Effect"),
            Column::words("Dose"),
        ],
    );
    for fault in faults {
        let count = fault.effect.count;
        let effect = number::counted(count, &fault.effect.measure);
        let off = fault.effect.doses.iter().any(|dose| dose.holds() == Some(false));
        let unseen = fault.effect.doses.iter().any(|dose| dose.holds().is_none());
        let dose = match (fault.effect.doses.is_empty(), off, unseen) {
            (true, ..) => Cell::text("nothing to measure"),
            (_, true, _) => Cell::toned("✗ off", Tone::Warn),
            (_, _, true) => Cell::toned(NOT_OBSERVED, Tone::Absent),
            _ => Cell::toned("✓ as asked", Tone::Good),
        };
        table.push(vec![
            Cell::text(format!("{} {}", fault.id, fault.name)),
            Cell::text(fault.services.join(", ")),
            Cell::text(number::moment(fault.injected_seconds)),
            Cell::maybe(fault.reverted_seconds, number::moment),
            Cell::toned(effect, if count == 0 { Tone::Bad } else { Tone::Good })
                .from(fault.effect.source.as_str()),
            dose,
        ]);
    }
    table
}

/// What was asked against what was measured.
fn doses(fault: &FaultResult) -> Table {
    let mut table = Table::new(
        "doses",
        vec![
            Column::words("Dose"),
            Column::figures("Asked", "as the experiment asks"),
            Column::figures("Observed", "measured by the source named at the end of the row"),
            Column::figures("Deviation", "observed less asked"),
            Column::figures("May differ by", "what the fault promises"),
            Column::figures("Samples", "observations"),
            Column::words("As asked"),
            Column::words("Measured by"),
        ],
    );
    for dose in &fault.effect.doses {
        let figure = |value: f64| dose_figure(value, &dose.unit);
        let words = verdict_words(dose);
        let verdict = match dose.holds() {
            Some(true) => Cell::toned(format!("✓ {words}"), Tone::Good),
            Some(false) => Cell::toned(format!("✗ {words}"), Tone::Warn),
            None => Cell::toned(words, Tone::Absent),
        };
        table.push(vec![
            Cell::text(&dose.what),
            Cell::text(figure(dose.asked)),
            Cell::maybe(dose.observed, figure).from(dose.source.as_str()),
            Cell::maybe(dose.observed, |observed| {
                let deviation = observed - dose.asked;
                let sign = match deviation {
                    d if d > 0.0 => "+",
                    d if d < 0.0 => "−",
                    _ => "",
                };
                format!("{sign}{}", figure(deviation.abs()))
            }),
            Cell::text(figure(dose.within)),
            Cell::count(dose.samples),
            verdict,
            Cell::text(&dose.source),
        ]);
    }
    table
}

/// The changes of a dose: a ramp or steps.
fn levels(fault: &FaultResult) -> Block {
    let mut table = Table::new(
        "levels",
        vec![
            Column::figures("From", "seconds from the first injection"),
            Column::figures("Share of the dose", "of the whole dose"),
        ],
    );
    for level in &fault.levels {
        table.push(vec![
            Cell::text(number::moment(level.t_seconds)),
            Cell::text(number::share(level.level)),
        ]);
    }
    Block::Fold {
        summary: format!("The dose was changed {} times while in place", fault.levels.len()),
        open: fault.levels.len() <= 8,
        blocks: vec![Block::Table(table)],
    }
}

fn fault(fault: &FaultResult) -> Vec<Block> {
    let head = vec![Column::words(format!("Fault {}", fault.id)), Column::words(&fault.name)];
    let mut facts = Table::new("facts", head);
    let mut fact = |name: &str, cell: Cell| facts.push(vec![Cell::text(name), cell]);
    if !fault.services.is_empty() {
        fact("about", Cell::text(fault.services.join(", ")));
    }
    for (name, value) in &fault.dose {
        fact(&format!("dose: {name}"), Cell::text(value));
    }
    let count = fault.effect.count;
    let effect = number::counted(count, &fault.effect.measure);
    fact(
        "effect",
        Cell::toned(effect, if count == 0 { Tone::Bad } else { Tone::Good })
            .from(fault.effect.source.as_str()),
    );
    fact("counted by", Cell::code(&fault.effect.source));
    fact("mechanism", Cell::text(&fault.mechanism));
    fact("undone by, should we die", Cell::text(&fault.undone_by));
    fact(
        "in place",
        Cell::text(format!(
            "{}, applied within {}",
            number::moment(fault.injected_seconds),
            number::seconds(fault.apply_seconds)
        )),
    );
    fact(
        "gone",
        Cell::maybe(fault.reverted_seconds, |at| {
            let within = fault.revert_seconds.map_or_else(String::new, |took| {
                format!(", undone within {}", number::seconds(took))
            });
            format!("{}{within}", number::moment(at))
        }),
    );
    fact(
        "verified gone",
        Cell::good(
            fault.verified_gone,
            "the kernel was asked afterwards: nothing of it was there",
            "not verified",
        ),
    );
    let mut blocks = vec![Block::Table(facts)];
    if !fault.effect.doses.is_empty() {
        blocks.push(Block::Table(doses(fault)));
    }
    if !fault.levels.is_empty() {
        blocks.push(levels(fault));
    }
    if !fault.effect.parts.is_empty() {
        let source = fault.effect.source.as_str();
        let mut parts = Table::new(
            "parts",
            vec![
                Column::words("Part of the effect"),
                Column::figures(&fault.effect.measure, source),
                Column::figures("Bytes", source),
            ],
        );
        for part in &fault.effect.parts {
            parts.push(vec![
                Cell::code(&part.name),
                Cell::count(part.count).from(source),
                Cell::count(part.bytes).from(source),
            ]);
        }
        blocks.push(Block::Table(parts));
    }
    blocks
}
