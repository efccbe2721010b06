//! The client's own record held against the database.

use temblor_judge::{LedgerResult, RunResult};

use crate::document::{Block, Cell, Column, Section, Table};

pub(super) fn section(result: &RunResult) -> Section {
    let blocks = match &result.ledger {
        None => vec![Block::Text(
            "No ledger was held against a database in this run: whether orders were lost or \
             duplicated is not observed."
                .to_owned(),
        )],
        Some(ledger) => blocks(ledger),
    };
    Section { id: "ledger", title: "The ledger: what was promised, what is there", blocks }
}

fn blocks(ledger: &LedgerResult) -> Vec<Block> {
    const CLIENT: &str = "the client's record";
    const BOTH: &str = "client and database";
    let mut table = Table::new(
        "ledger",
        vec![
            Column::words("Term"),
            Column::figures("Orders", ledger.source.as_str()),
            Column::words("Meaning"),
            Column::words("Source"),
        ],
    );
    let mut row = |term: &str, cell: Cell, meaning: &str, source: &str| {
        table.push(vec![
            Cell::text(term),
            cell.from(source),
            Cell::text(meaning),
            Cell::text(source),
        ]);
    };
    let maybe = |value: Option<u64>| Cell::maybe(value, crate::number::count);
    row("attempted", Cell::count(ledger.attempted), "planned by the client", CLIENT);
    row(
        "acknowledged",
        Cell::count(ledger.acknowledged),
        "the client was told they are safe",
        CLIENT,
    );
    row(
        "stored",
        maybe(ledger.stored),
        "different orders of this run in the database",
        "the database",
    );
    row(
        "lost",
        Cell::unwanted(ledger.lost),
        "acknowledged before the read began, and absent",
        BOTH,
    );
    row("duplicated", Cell::unwanted(ledger.duplicated), "present more than once", "the database");
    row(
        "unexpected",
        Cell::unwanted(ledger.unexpected),
        "present although refused or never sent, or under a key that nobody planned",
        BOTH,
    );
    row("unsure", Cell::count(ledger.unsure), "sent, with no answer: may be there or not", CLIENT);
    row(
        "recovered",
        maybe(ledger.recovered),
        "of the unsure, those that are in the database",
        BOTH,
    );
    row("refused", Cell::count(ledger.refused), "refused for certain: must not be there", CLIENT);
    row("unsent", Cell::count(ledger.unsent), "never sent", CLIENT);

    let mut blocks = vec![Block::Table(table)];
    if let Some(error) = &ledger.error {
        blocks.push(Block::Text(format!(
            "The database could not be read to the end, so that the figures that need it are \
             unknown: {error}"
        )));
    }
    for (term, keys) in ledger.examples.iter().filter(|(_, keys)| !keys.is_empty()) {
        blocks.push(Block::Text(format!("Examples of {term}: {}", keys.join(", "))));
    }
    blocks.push(Block::Note(format!("The database was asked: {}", ledger.source)));
    blocks
}
