//! Dose and effect: what was asked of each fault, and what somebody else counted of it.

use temblor_judge::{FaultResult, RunResult};

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number;

pub(super) fn section(result: &RunResult) -> Section {
    let mut blocks: Vec<Block> = result.faults.iter().flat_map(fault).collect();
    if blocks.is_empty() {
        blocks.push(Block::Text("No fault was injected.".to_owned()));
    } else {
        blocks.push(Block::Note(
            "The effect is counted by the source named with it, not claimed by the fault. \
             Times are seconds from the first injection."
                .to_owned(),
        ));
    }
    Section { id: "faults", title: "The fault: dose and effect", blocks }
}

fn fault(fault: &FaultResult) -> Vec<Block> {
    let mut facts = Table::new("facts", vec![Column::words("Fault"), Column::words(&fault.name)]);
    let mut fact = |name: &str, cell: Cell| facts.push(vec![Cell::text(name), cell]);
    for (name, value) in &fault.dose {
        fact(&format!("dose: {name}"), Cell::text(value));
    }
    let count = fault.effect.count;
    let effect = format!("{} {}", number::count(count), fault.effect.measure);
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
