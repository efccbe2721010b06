//! The client's own record of what was acknowledged, held against the database.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    attempted: BTreeSet<String>,
    acknowledged: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Acknowledged, and not there.
    pub(crate) lost: Vec<String>,
    /// There more than once, or under another order id than the one acknowledged.
    pub(crate) duplicated: Vec<String>,
    /// There, and never asked for.
    pub(crate) unexpected: Vec<String>,
}

impl Ledger {
    pub(crate) fn attempt(&mut self, key: &str) {
        self.attempted.insert(key.to_owned());
    }

    /// A second acknowledgement must name the same order.
    pub(crate) fn acknowledge(&mut self, key: &str, order_id: &str) {
        let before = self.acknowledged.insert(key.to_owned(), order_id.to_owned());
        assert!(
            before.as_deref().is_none_or(|before| before == order_id),
            "{key} was acknowledged as order {before:?} and as {order_id}"
        );
    }

    /// As `exchange-audit` has it.
    pub(crate) fn as_lines(&self) -> exchange_audit::ledger::Ledger {
        let mut ledger = exchange_audit::ledger::Ledger::default();
        self.attempted.iter().for_each(|key| ledger.attempt(key));
        for (key, order_id) in &self.acknowledged {
            ledger.acknowledge(key, order_id.parse().unwrap());
        }
        ledger
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn audit(&self, stored: &[(String, String)]) -> Audit {
        let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, order_id) in stored {
            rows.entry(key).or_default().push(order_id);
        }
        let mut audit = Audit::default();
        for (key, order_id) in &self.acknowledged {
            match rows.get(key.as_str()).map(Vec::as_slice) {
                None => audit.lost.push(key.clone()),
                Some([only]) if only == order_id => {}
                Some(_) => audit.duplicated.push(key.clone()),
            }
        }
        for (key, ids) in rows {
            if !self.attempted.contains(key) {
                audit.unexpected.push(key.to_owned());
            } else if ids.len() > 1 && !self.acknowledged.contains_key(key) {
                audit.duplicated.push(key.to_owned());
            }
        }
        audit
    }
}

#[test]
fn the_ledger_sees_what_it_is_for() {
    let mut ledger = Ledger::default();
    for key in ["a", "b", "c", "d", "e"] {
        ledger.attempt(key);
    }
    for (key, id) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        ledger.acknowledge(key, id);
    }
    let stored = [("a", "1"), ("b", "2"), ("b", "9"), ("d", "5"), ("e", "6"), ("x", "7")]
        .map(|(key, id)| (key.to_owned(), id.to_owned()));
    let audit = ledger.audit(&stored);
    assert_eq!(audit.lost, ["c"]);
    assert_eq!(audit.duplicated, ["b", "d"]);
    assert_eq!(audit.unexpected, ["x"]);
}
