//! Rows of many entries, put in order.

use std::collections::BTreeMap;

use crate::frames::Read;
use crate::{Cfa, Error, Frame, Missed, ROWS_MAX, Reason, Row, Rule, Saved, Table};

/// Puts the rows in the order of their addresses, and one without a rule behind each entry that no
/// other follows at once.
pub(crate) fn table(read: Read) -> Result<Table, Error> {
    let mut rows: Vec<Row> = Vec::with_capacity(read.rows.len());
    let mut push = |row: Row| {
        if rows.last().map(|last| last.rule) != Some(row.rule) {
            rows.push(row);
        }
    };
    let mut end = None;
    for span in &read.spans {
        if let Some(end) = end.filter(|end| *end < span.addresses.start) {
            push(Row { address: end, rule: None });
        }
        read.rows[span.rows.clone()].iter().copied().for_each(&mut push);
        end = Some(span.addresses.end);
    }
    if let Some(end) = end {
        push(Row { address: end, rule: None });
    }
    if rows.len() > ROWS_MAX {
        return Err(Error::TooManyRows);
    }
    let missed = count(&rows, &read.rules, read.missed);
    let functions = read.spans.iter().map(|span| span.addresses.clone()).collect();
    Ok(Table { rows, rules: read.rules, functions, missed })
}

/// Counts what the rows do not tell.
fn count(rows: &[Row], rules: &[Rule], mut missed: Missed) -> Missed {
    let mut unsupported: BTreeMap<Reason, u32> = BTreeMap::new();
    for row in rows {
        match row.rule.and_then(|rule| rules.get(usize::from(rule))) {
            Some(Rule::Unsupported(reason)) => *unsupported.entry(*reason).or_default() += 1,
            Some(Rule::Frame(Frame { cfa, frame_pointer, .. })) => {
                missed.rows_innermost_only += u32::from(matches!(cfa, Cfa::Register { .. }));
                missed.rows_without_frame_pointer +=
                    u32::from(*frame_pointer == Saved::Unsupported);
            }
            Some(Rule::Signal | Rule::Root) | None => {}
        }
    }
    missed.rows = unsupported;
    missed
}
