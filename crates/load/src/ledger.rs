//! The account: every planned request, second by second, and whether it adds up. No I/O.

use std::collections::VecDeque;

use temblor_event::Outcome;

use crate::latency::Latencies;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Requests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Planned.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Outcome unknown.
    pub unsure: u64,
    /// Of the unsure, those that ran into the time-out.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
}

/// An account that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "planned {} is not ok {} + failed {} + unsure {} + unsent {}, or one of them was counted \
     differently elsewhere ({detail})",
    tally.planned, tally.ok, tally.failed, tally.unsure, tally.unsent
)]
pub struct Imbalance {
    /// The figures.
    pub tally: Tally,
    /// Which comparison failed.
    pub detail: String,
}

impl Tally {
    fn count(&mut self, outcome: Outcome, timed_out: bool) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.failed += 1,
            Outcome::Unsure => self.unsure += 1,
            Outcome::Unsent => self.unsent += 1,
        }
        self.timed_out += u64::from(timed_out);
    }

    fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.ok += other.ok;
        self.failed += other.failed;
        self.unsure += other.unsure;
        self.timed_out += other.timed_out;
        self.unsent += other.unsent;
    }

    /// Holds the account against itself.
    ///
    /// # Errors
    /// It does not balance: a request was lost or counted twice.
    pub fn check(&self) -> Result<(), Imbalance> {
        let settled = self.ok + self.failed + self.unsure + self.unsent;
        if self.planned != settled {
            return Err(self.imbalance(format!("the outcomes sum to {settled}")));
        }
        if self.timed_out > self.unsure {
            return Err(self.imbalance(format!("{} timed out", self.timed_out)));
        }
        Ok(())
    }

    fn imbalance(self, detail: String) -> Imbalance {
        Imbalance { tally: self, detail }
    }
}

/// How one request ended, as far as the account is concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    pub(crate) timed_out: bool,
    /// From the planned send to the end.
    pub(crate) latency_ns: u64,
    /// From the planned send to when the generator took it up.
    pub(crate) lag_ns: u64,
}

/// One second of load.
#[derive(Debug, Default)]
pub(crate) struct Second {
    pub(crate) tally: Tally,
    /// Planned and not settled. Kept beside the tally, so that the tally's own balance is a
    /// question and not a definition.
    outstanding: u64,
    /// Made when it is first needed, for it is large.
    pub(crate) latencies: Option<Latencies>,
    pub(crate) lag_ns_max: u64,
}

impl Second {
    /// # Errors
    /// It does not balance, or not every acknowledged request has its latency.
    pub(crate) fn check(&self) -> Result<(), Imbalance> {
        self.tally.check()?;
        let latencies = self.latencies.as_ref().map_or(0, Latencies::len);
        if latencies != self.tally.ok {
            return Err(self.tally.imbalance(format!("{latencies} latencies")));
        }
        Ok(())
    }
}

/// The account of a load under way.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Seconds that have not been taken; the front one is second `first`. Bounded by the
    /// time-out: a second leaves when its last request has timed out.
    seconds: VecDeque<Second>,
    first: u64,
    /// Nothing more will be planned for seconds below this one.
    closed_before: u64,
    outstanding: u64,
    /// Counted on its own, and compared with the sum of the seconds at the end.
    totals: Tally,
    taken: Tally,
}

impl Ledger {
    /// A request is planned. Planned times are in order, so earlier seconds are closed by this.
    pub(crate) fn plan(&mut self, second: u64) {
        self.close_before(second);
        self.reach(second + 1);
        self.totals.planned += 1;
        self.outstanding += 1;
        if let Some(second) = self.second(second) {
            second.tally.planned += 1;
            second.outstanding += 1;
        }
    }

    /// A planned request has its outcome. True if that completes its second.
    pub(crate) fn settle(&mut self, second: u64, settled: Settled) -> bool {
        let closed = second < self.closed_before;
        self.totals.count(settled.outcome, settled.timed_out);
        self.outstanding = self.outstanding.saturating_sub(1);
        // A second that was already taken is missing here; the final comparison then fails.
        let Some(second) = self.second(second) else { return false };
        second.tally.count(settled.outcome, settled.timed_out);
        second.outstanding = second.outstanding.saturating_sub(1);
        second.lag_ns_max = second.lag_ns_max.max(settled.lag_ns);
        if settled.outcome == Outcome::Ok {
            second.latencies.get_or_insert_with(Latencies::new).record(settled.latency_ns);
        }
        closed && second.outstanding == 0
    }

    /// Nothing more will be planned for the seconds before `second`.
    pub(crate) fn close_before(&mut self, second: u64) {
        if second > self.closed_before {
            self.closed_before = second;
            self.reach(second);
        }
    }

    /// Nothing more will be planned at all: the load ended `end_ns` after its start.
    pub(crate) fn close(&mut self, end_ns: u64) {
        let planned = self.first + self.seconds.len() as u64;
        self.close_before(end_ns.div_ceil(SECOND_NS).max(planned));
    }

    /// The next second, if all of its requests have an outcome, with its number.
    pub(crate) fn take_complete(&mut self) -> Option<(u64, Second)> {
        if self.first >= self.closed_before || self.seconds.front()?.outstanding > 0 {
            return None;
        }
        let second = self.seconds.pop_front()?;
        self.taken.add(&second.tally);
        self.first += 1;
        Some((self.first - 1, second))
    }

    pub(crate) fn totals(&self) -> Tally {
        self.totals
    }

    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// The closing account, when every second has been taken.
    ///
    /// # Errors
    /// It does not balance, or the seconds say something else.
    pub(crate) fn check(&self) -> Result<(), Imbalance> {
        self.totals.check()?;
        if self.taken != self.totals {
            return Err(self.totals.imbalance(format!("the seconds sum to {:?}", self.taken)));
        }
        Ok(())
    }

    fn reach(&mut self, seconds: u64) {
        while self.first + (self.seconds.len() as u64) < seconds {
            self.seconds.push_back(Second::default());
        }
    }

    fn second(&mut self, second: u64) -> Option<&mut Second> {
        let at = usize::try_from(second.checked_sub(self.first)?).ok()?;
        self.seconds.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUTCOMES: [Outcome; 4] = [Outcome::Ok, Outcome::Fail, Outcome::Unsure, Outcome::Unsent];

    fn settled(outcome: Outcome) -> Settled {
        Settled { outcome, timed_out: false, latency_ns: 1_000_000, lag_ns: 1 }
    }

    /// The planted bug: an account that forgets one kind of outcome.
    #[test]
    fn an_account_that_forgets_a_kind_does_not_balance() {
        let full = Tally { planned: 10, ok: 4, failed: 3, unsure: 2, timed_out: 1, unsent: 1 };
        assert_eq!(full.check(), Ok(()));
        let forgetful = [
            Tally { ok: 0, ..full },
            Tally { failed: 0, ..full },
            Tally { unsure: 0, timed_out: 0, ..full },
            Tally { unsent: 0, ..full },
            Tally { planned: 0, ..full },
            Tally { timed_out: 3, ..full },
        ];
        for tally in forgetful {
            assert!(tally.check().is_err(), "{tally:?}");
        }
    }

    #[test]
    fn a_second_whose_latencies_are_not_its_answers_does_not_balance() {
        let mut ledger = Ledger::default();
        ledger.plan(0);
        ledger.settle(0, settled(Outcome::Ok));
        ledger.close(1);
        let (_, mut second) = ledger.take_complete().unwrap();
        assert_eq!(second.check(), Ok(()));
        second.latencies = None;
        assert!(second.check().unwrap_err().to_string().contains("0 latencies"));
    }

    #[test]
    fn a_request_settled_twice_or_never_does_not_balance() {
        let mut twice = Ledger::default();
        twice.plan(0);
        twice.settle(0, settled(Outcome::Fail));
        twice.close(1);
        twice.take_complete().unwrap();
        twice.settle(0, settled(Outcome::Ok));
        assert!(twice.check().is_err());

        let mut never = Ledger::default();
        never.plan(0);
        never.close(1);
        assert!(never.take_complete().is_none());
        assert!(never.check().is_err());
    }

    #[test]
    fn a_load_that_planned_nothing_still_has_its_seconds() {
        let check = |end_ns, seconds| {
            let mut ledger = Ledger::default();
            ledger.close(end_ns);
            let found = std::iter::from_fn(|| ledger.take_complete()).count();
            assert_eq!(found, seconds, "{end_ns}");
            assert_eq!(ledger.check(), Ok(()));
        };
        check(0, 0);
        check(1, 1);
        check(SECOND_NS, 1);
        check(3 * SECOND_NS + 1, 4);
    }

    proptest! {
        /// Requests planned in order and settled in any order: seconds come out in order, each
        /// once, whole, with exactly what was settled for it.
        #[test]
        fn seconds_come_out_in_order_and_whole(
            gaps in prop::collection::vec(0_u64..3, 1..60),
            picks in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, any::<bool>()), 60),
        ) {
            let mut ledger = Ledger::default();
            let mut model: Vec<Tally> = Vec::new();
            let mut open: Vec<u64> = Vec::new();
            let mut out: Vec<(u64, Tally)> = Vec::new();
            let mut second = 0;
            let mut picks = picks.into_iter();
            let mut settle_one = |ledger: &mut Ledger, open: &mut Vec<u64>, model: &mut Vec<Tally>| {
                let Some((index, outcome, _)) = picks.next() else { return };
                if open.is_empty() {
                    return;
                }
                let of = open.swap_remove(index.index(open.len()));
                ledger.settle(of, settled(OUTCOMES[outcome]));
                model[of as usize].count(OUTCOMES[outcome], false);
            };
            for gap in &gaps {
                second += gap;
                ledger.plan(second);
                model.resize(second as usize + 1, Tally::default());
                model[second as usize].planned += 1;
                open.push(second);
                if gap % 2 == 0 {
                    settle_one(&mut ledger, &mut open, &mut model);
                }
                while let Some((number, complete)) = ledger.take_complete() {
                    prop_assert!(number < second, "second {} is still being planned", number);
                    prop_assert_eq!(complete.check(), Ok(()));
                    out.push((number, complete.tally));
                }
            }
            ledger.close(second * SECOND_NS + 1);
            prop_assert_eq!(ledger.outstanding(), open.len() as u64);
            for of in std::mem::take(&mut open) {
                ledger.settle(of, settled(Outcome::Unsent));
                model[of as usize].count(Outcome::Unsent, false);
            }
            while let Some((number, complete)) = ledger.take_complete() {
                out.push((number, complete.tally));
            }
            prop_assert_eq!(ledger.check(), Ok(()));
            let expected: Vec<_> = (0..).zip(model).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
