//! The client's own record held against the database: exact arithmetic on sets of keys.
//!
//! - lost: acknowledged before the read of the database began, and absent from it. An order
//!   acknowledged later is concurrent with the read: it may be absent and still be stored.
//! - duplicated: keys with more than one row.
//! - unexpected: keys with a row that were refused, never sent, or that nobody planned.
//! - recovered: orders without an answer that are there.
//!
//! The rows of a read are those since the read before it, and the last read counts. If it failed,
//! or if the log does not hold as many rows as the read says it found, the figures that need the
//! rows are unknown.

use std::collections::BTreeMap;

use temblor_event::{LedgerRead, Outcome};

use crate::human::count;
use crate::log::{At, Log};
use crate::result::LedgerResult;

const EXAMPLES_MAX: usize = 20;

/// None: no orders were recorded and no database was asked.
pub(crate) fn audit(log: &Log<'_>) -> Option<LedgerResult> {
    if log.orders.is_empty() && log.reads.is_empty() {
        return None;
    }
    let orders = orders(log);
    let number =
        |outcome: Outcome| orders.values().filter(|(known, _)| *known == outcome).count() as u64;
    let mut result = LedgerResult {
        attempted: orders.len() as u64,
        acknowledged: number(Outcome::Ok),
        stored: None,
        lost: None,
        duplicated: None,
        unexpected: None,
        unsure: number(Outcome::Unsure),
        recovered: None,
        refused: number(Outcome::Fail),
        unsent: number(Outcome::Unsent),
        source: log.reads.last().map(|read| read.source.clone()).unwrap_or_default(),
        error: None,
        examples: BTreeMap::new(),
    };
    match last_read(log) {
        Ok((read, rows)) => compare(&orders, &rows, read.began_ns, &mut result),
        Err(error) => result.error = Some(error),
    }
    Some(result)
}

/// By key: the outcome, and when it was known.
type Orders<'a> = BTreeMap<&'a str, (Outcome, u64)>;

/// A key is unique in a run. Should one come twice all the same, the outcome that promises most
/// stands, and the earlier of two promises.
fn orders<'a>(log: &Log<'a>) -> Orders<'a> {
    let mut orders: Orders<'a> = BTreeMap::new();
    for order in &log.orders {
        let (key, known) = (order.get().key.as_str(), (order.outcome, order.t_ns));
        orders
            .entry(key)
            .and_modify(|held| {
                let stands = (promise(held.0), held.1) <= (promise(known.0), known.1);
                *held = if stands { *held } else { known };
            })
            .or_insert(known);
    }
    orders
}

fn promise(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Unsure => 1,
        Outcome::Fail => 2,
        Outcome::Unsent => 3,
    }
}

/// The last read with the number of rows of each key.
fn last_read<'a>(log: &Log<'a>) -> Result<(At<'a, LedgerRead>, BTreeMap<&'a str, u64>), String> {
    let Some(read) = log.reads.last() else {
        return Err("the database was not read".to_owned());
    };
    if let Some(error) = &read.error {
        return Err(error.clone());
    }
    let previous_ns = log.reads.len().checked_sub(2).map(|i| log.reads[i].t_ns);
    let events = log.rows.iter().filter(|rows| {
        previous_ns.is_none_or(|previous_ns| previous_ns < rows.t_ns) && rows.t_ns <= read.t_ns
    });
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    for row in events.flat_map(|rows| &rows.get().rows) {
        *rows.entry(&row.key).or_default() += 1;
    }
    let found: u64 = rows.values().sum();
    if found == read.rows {
        Ok((*read, rows))
    } else {
        Err(format!(
            "the read found {} rows, and the log has {} of them",
            count(read.rows),
            count(found)
        ))
    }
}

fn compare(
    orders: &Orders<'_>,
    rows: &BTreeMap<&str, u64>,
    began_ns: u64,
    result: &mut LedgerResult,
) {
    let lost = orders
        .iter()
        .filter(|(key, (outcome, known_ns))| {
            *outcome == Outcome::Ok && *known_ns < began_ns && !rows.contains_key(**key)
        })
        .map(|(key, _)| *key)
        .collect();
    let duplicated = rows.iter().filter(|(_, n)| **n > 1).map(|(key, _)| *key).collect();
    let unexpected = rows
        .keys()
        .filter(|key| {
            let known = orders.get(**key).map(|(outcome, _)| *outcome);
            !matches!(known, Some(Outcome::Ok | Outcome::Unsure))
        })
        .copied()
        .collect();
    let recovered = orders
        .iter()
        .filter(|(key, (outcome, _))| *outcome == Outcome::Unsure && rows.contains_key(**key))
        .count();
    let mut told = |name: &str, keys: Vec<&str>| {
        if !keys.is_empty() {
            let examples = keys.iter().take(EXAMPLES_MAX).map(|key| (*key).to_owned()).collect();
            result.examples.insert(name.to_owned(), examples);
        }
        Some(keys.len() as u64)
    };
    let (lost, duplicated, unexpected) =
        (told("lost", lost), told("duplicated", duplicated), told("unexpected", unexpected));
    result.stored = Some(rows.len() as u64);
    result.lost = lost;
    result.duplicated = duplicated;
    result.unexpected = unexpected;
    result.recovered = Some(recovered as u64);
}
