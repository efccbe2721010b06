//! The list of causes against the real kernel: each is planted a known number of times, and what is
//! told of whom it befell is held against that. At least 95 % must be right, of each cause and of
//! all; the table is printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

#[path = "../process/child.rs"]
mod child;
#[path = "../common/mod.rs"]
mod common;
mod connections;
#[path = "../common/link.rs"]
mod link;
mod processes;
mod processors;
#[path = "../tcp/world.rs"]
#[expect(dead_code, reason = "the probe's own tests use more of it")]
mod world;

use std::collections::BTreeMap;

use temblor_event::{Cause, Event, caused};

/// What was planted, and what was told of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) what: &'static str,
    /// What was planted, how often.
    pub(crate) planted: Vec<(Cause, u64)>,
    /// What was told of whom it befell, besides what comes with every case of the kind.
    pub(crate) told: BTreeMap<Cause, u64>,
}

impl Case {
    pub(crate) fn new(
        what: &'static str,
        planted: Vec<(Cause, u64)>,
        service: &str,
        events: &[Event],
        beside: &[Cause],
    ) -> Self {
        let mut told = BTreeMap::new();
        for one in events.iter().filter_map(|event| caused(&event.body)) {
            if one.service == service && !beside.contains(&one.cause) {
                *told.entry(one.cause).or_default() += one.times;
            }
        }
        Self { what, planted, told }
    }

    /// Of all that was planted or told, how much was both.
    fn right(&self) -> (u64, u64) {
        let planted: BTreeMap<&Cause, u64> = self.planted.iter().map(|(c, n)| (c, *n)).collect();
        let mut all = 0;
        let mut right = 0;
        for (cause, planted) in &planted {
            let told = self.told.get(*cause).copied().unwrap_or(0);
            right += told.min(*planted);
            all += told.max(*planted);
        }
        let others = self.told.iter().filter(|(cause, _)| !planted.contains_key(cause));
        (right, all + others.map(|(_, times)| times).sum::<u64>())
    }
}

#[test]
fn at_least_95_of_100_planted_causes_are_named_right() {
    if !common::possible() {
        return;
    }
    let mut cases = connections::cases();
    cases.extend(processes::cases());
    cases.extend(processors::cases());
    let (mut right_of_all, mut of_all) = (0, 0);
    for case in &cases {
        let (right, all) = case.right();
        eprintln!("{:<28} {right:>4} of {all:>4} right", case.what);
        (right_of_all, of_all) = (right_of_all + right, of_all + all);
    }
    eprintln!("{:<28} {right_of_all:>4} of {of_all:>4} right", "all");
    for case in &cases {
        let (right, all) = case.right();
        assert!(all > 0 && right * 100 >= all * 95, "{case:#?}");
    }
    assert!(right_of_all * 100 >= of_all * 95);
}
