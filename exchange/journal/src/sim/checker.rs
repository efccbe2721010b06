//! Holds what a journal gave back against what it had promised.

use crate::reader::Record;
use std::collections::{BTreeMap, BTreeSet};

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A record that was acknowledged, or read before, is not there.
    #[error("record {seq} was promised and is lost")]
    Lost {
        /// The record.
        seq: u64,
    },
    /// A record is there with another payload than was appended under its number.
    #[error("record {seq} was altered")]
    Altered {
        /// The record.
        seq: u64,
    },
    /// A record is there that nobody appended.
    #[error("record {seq} was never appended")]
    Invented {
        /// The record.
        seq: u64,
    },
    /// The numbers do not count up by one from 1.
    #[error("record {found_seq} stands where {expected_seq} belongs")]
    OutOfOrder {
        /// The number that belongs there.
        expected_seq: u64,
        /// The number that stands there.
        found_seq: u64,
    },
}

/// Notes what was appended and acknowledged, and judges what is there after a crash.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    /// Appended, by number; some may be lost without harm.
    offered: BTreeMap<u64, Vec<u8>>,
    /// The numbers that must be there.
    promised: BTreeSet<u64>,
}

impl Checker {
    /// For a journal that begins empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A record was appended and got this number.
    pub fn offered(&mut self, seq: u64, payload: &[u8]) {
        self.offered.insert(seq, payload.to_vec());
    }

    /// The record of this number was acknowledged. This may come before [`Checker::offered`].
    pub fn acknowledged(&mut self, seq: u64) {
        self.promised.insert(seq);
    }

    /// How many records must be there.
    #[must_use]
    pub fn promised(&self) -> usize {
        self.promised.len()
    }

    /// Judges all records that are there after a crash. If they pass, they are promised from now on, since
    /// whoever read them may have acted on them; what is not there is forgotten, and its numbers are free.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn recovered(&mut self, records: &[Record]) -> Result<(), Violation> {
        for (expected_seq, record) in (1..).zip(records) {
            let found_seq = record.seq;
            if found_seq != expected_seq {
                return Err(Violation::OutOfOrder { expected_seq, found_seq });
            }
            match self.offered.get(&found_seq) {
                None => return Err(Violation::Invented { seq: found_seq }),
                Some(payload) if *payload != record.payload => {
                    return Err(Violation::Altered { seq: found_seq });
                }
                Some(_) => {}
            }
        }
        let last_seq = records.len() as u64;
        if let Some(&seq) = self.promised.range(last_seq + 1..).next() {
            return Err(Violation::Lost { seq });
        }
        self.offered.retain(|seq, _| *seq <= last_seq);
        self.promised = (1..=last_seq).collect();
        Ok(())
    }
}
