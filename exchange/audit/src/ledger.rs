//! What the clients sent, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use serde::Deserialize;

/// The clients' own record of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The keys (client order ids) of all orders that were sent, answered or not.
    pub attempted: BTreeSet<String>,
    /// The orders that were acknowledged, by their keys, and the ids that the answers had. More than one
    /// where two answers differed.
    pub acknowledged: BTreeMap<String, BTreeSet<i64>>,
}

/// A line of a ledger.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    /// None: it was sent, and that is all that is known.
    #[serde(default)]
    order_id: Option<String>,
}

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read.
    #[error("could not read it")]
    Read(#[from] io::Error),
    /// A line that is no order.
    #[error(
        "line {line} is not understood; lines are {{\"key\":\"KEY\"}} for an order that was sent and \
         {{\"key\":\"KEY\",\"order_id\":\"ID\"}} for one that was acknowledged"
    )]
    Line {
        /// Which line.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An id that no order has.
    #[error("line {line}: order_id {order_id:?} is no id of an order")]
    OrderId {
        /// Which line.
        line: usize,
        /// What stands there.
        order_id: String,
    },
}

impl Ledger {
    /// An order was sent.
    pub fn attempt(&mut self, key: &str) {
        self.attempted.insert(key.to_owned());
    }

    /// An order was acknowledged.
    pub fn acknowledge(&mut self, key: &str, order_id: i64) {
        self.attempt(key);
        self.acknowledged.entry(key.to_owned()).or_default().insert(order_id);
    }

    /// Reads lines of JSON, one for each order that was sent and one for each answer.
    ///
    /// # Errors
    /// At the first line that is not understood.
    pub fn read(from: impl BufRead) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        for (line, text) in (1..).zip(from.lines()) {
            let text = text?;
            if text.trim().is_empty() {
                continue;
            }
            let Line { key, order_id } =
                serde_json::from_str(&text).map_err(|source| LedgerError::Line { line, source })?;
            match order_id {
                None => ledger.attempt(&key),
                Some(order_id) => match order_id.parse() {
                    Ok(id) if id > 0 => ledger.acknowledge(&key, id),
                    _ => return Err(LedgerError::OrderId { line, order_id }),
                },
            }
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_and_what_was_answered_are_read() {
        let text = "{\"key\":\"a\"}\n{\"key\":\"a\",\"order_id\":\"7\"}\n\n{\"key\":\"b\"}\n";
        let mut expected = Ledger::default();
        expected.acknowledge("a", 7);
        expected.attempt("b");
        assert_eq!(Ledger::read(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_ledger_is_refused_with_its_line() {
        for (text, why) in [
            ("{\"key\":\"a\"}\nnonsense\n", "line 2 is not understood"),
            ("{\"key\":\"a\",\"order\":\"7\"}\n", "line 1 is not understood"),
            ("{\"key\":\"a\",\"order_id\":\"x\"}\n", "line 1: order_id \"x\" is no id"),
            ("{\"key\":\"a\",\"order_id\":\"0\"}\n", "line 1: order_id \"0\" is no id"),
        ] {
            let told = Ledger::read(text.as_bytes()).unwrap_err().to_string();
            assert!(told.starts_with(why), "{told}");
        }
    }
}
