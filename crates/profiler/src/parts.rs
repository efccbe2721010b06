//! One stream of samples, cut into several profiles by their times.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use temblor_probes::stacks::End;
use temblor_profile::Profile;

use crate::stacks::{Seen, Stacks, Weight};

/// How long it is waited before it is asked to which part a sample belongs: who cuts may know only a
/// moment later that there was a cut.
pub(crate) const KNOWN_AFTER_NS: u64 = 1_000_000_000;

/// How what is collected is cut into several profiles.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// How many there are.
    pub count: usize,
    /// What a moment belongs to, on CLOCK_MONOTONIC. Asked a second after the moment, or at the end.
    pub of: &'a dyn Fn(u64) -> Stretch,
}

/// A time that belongs to one part, or to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// None: what was seen then is left out.
    pub part: Option<usize>,
    /// The first moment that it does not have.
    pub until_ns: u64,
}

/// The profile of a part.
#[derive(Debug)]
pub struct Part {
    /// For how long it was collected is known to who made the parts.
    pub profile: Profile,
    /// Stacks that were taken.
    pub samples: u64,
    /// How often the programs' stacks ended for which reason.
    pub ends: BTreeMap<End, u64>,
}

/// What was seen in a part.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) stacks: Stacks,
    pub(crate) ends: BTreeMap<End, u64>,
    pub(crate) samples: u64,
}

/// Stacks on their way to the parts that they belong to.
#[derive(Debug)]
pub(crate) struct Cutting {
    /// What came in the last second or so, in the order in which it did.
    waiting: VecDeque<(Range<u64>, Seen, Weight)>,
    counted: Vec<Counted>,
    /// What is of no part.
    outside: Weight,
}

impl Cutting {
    pub(crate) fn new(parts: usize) -> Self {
        let counted = (0..parts).map(|_| Counted::default()).collect();
        Self { waiting: VecDeque::new(), counted, outside: Weight::default() }
    }

    /// What was seen at a moment, or lasted from one to another.
    pub(crate) fn push(&mut self, when: Range<u64>, seen: Seen, weight: Weight) {
        self.waiting.push_back((when, seen, weight));
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.counted.len());
    }

    /// Counts what was over before a moment to the parts that it belongs to. Records come almost in
    /// order of time: one that stands behind a later one waits with it.
    pub(crate) fn count(&mut self, parts: &Parts<'_>, before_ns: u64) {
        while self.waiting.front().is_some_and(|(when, ..)| when.end < before_ns) {
            let Some((when, seen, weight)) = self.waiting.pop_front() else { return };
            let mut from_ns = when.start;
            loop {
                let Stretch { part, until_ns } = (parts.of)(from_ns);
                let to_ns = until_ns.min(when.end);
                let is_last = until_ns >= when.end || until_ns <= from_ns;
                if is_last && from_ns == when.start {
                    self.keep(part, seen, weight);
                    break;
                }
                let shared = share(weight, to_ns.saturating_sub(from_ns), when.end - when.start);
                self.keep(part, seen.clone(), shared);
                if is_last {
                    break;
                }
                from_ns = until_ns;
            }
        }
    }

    fn keep(&mut self, part: Option<usize>, seen: Seen, weight: Weight) {
        let Some(part) = part.and_then(|at| self.counted.get_mut(at)) else {
            self.outside = self.outside.and(weight);
            return;
        };
        let end = seen.frames.end;
        // What is still in use in the end was counted when it was allocated.
        let is_sample = weight.count > 0.0;
        if part.stacks.add(seen, weight) && is_sample {
            part.samples += 1;
            *part.ends.entry(end).or_default() += 1;
        }
    }

    /// Has all amounts together be what was counted of all parts, and outside of them.
    pub(crate) fn fit(&mut self, counted: u64) {
        let sums = self.counted.iter().map(|part| part.stacks.sum());
        let all = sums.fold(self.outside, Weight::and);
        for part in &mut self.counted {
            part.stacks.fit(counted, all);
        }
    }

    /// The parts, in their order.
    pub(crate) fn finish(self) -> Vec<Counted> {
        self.counted
    }
}

/// So much of what lasted so long. It was there in each part: only the amounts are divided.
fn share(weight: Weight, of_ns: u64, all_ns: u64) -> Weight {
    let share = |amount: u64| {
        let share = u128::from(amount) * u128::from(of_ns) / u128::from(all_ns.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    Weight { amount: share(weight.amount), estimated: share(weight.estimated), ..weight }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::stacks::{Circumstances, Frames};

    fn seen(end: End) -> Seen {
        let frames = Frames { process: 1, kernel: [7].into(), user: [].into(), end };
        let circumstances = Circumstances::default();
        Seen { target: None, pid: 1, thread: "work".into(), frames, circumstances }
    }

    /// Two parts with a time between them that is nobody's.
    fn two(t_ns: u64) -> Stretch {
        let stretch = |part, until_ns| Stretch { part, until_ns };
        match t_ns {
            0..100 => stretch(None, 100),
            100..200 => stretch(Some(0), 200),
            200..250 => stretch(None, 250),
            250..300 => stretch(Some(1), 300),
            _ => stretch(None, u64::MAX),
        }
    }

    /// A sample at the boundary itself is the later part's, what comes between parts is nobody's, and
    /// a cut that is told late is still where it was.
    #[test]
    fn samples_are_counted_where_their_times_put_them() {
        let is_told = RefCell::new(false);
        let of = |t_ns: u64| match *is_told.borrow() {
            true => two(t_ns),
            false if t_ns < 100 => two(t_ns),
            false => Stretch { part: Some(0), until_ns: u64::MAX },
        };
        let parts = Parts { count: 2, of: &of };
        let mut cutting = Cutting::new(2);
        for (t_ns, end) in [
            (99, End::Root),
            (100, End::Root),
            (199, End::NoRule),
            (200, End::Root),
            (249, End::Root),
            (250, End::Root),
            (251, End::TooDeep),
        ] {
            cutting.push(t_ns..t_ns, seen(end), Weight::seen(1.0, 10));
        }
        cutting.count(&parts, 150);
        *is_told.borrow_mut() = true;
        cutting.count(&parts, u64::MAX);
        let counted = cutting.finish();
        let figures = |part: &Counted| (part.samples, part.ends.clone().into_iter().collect());
        assert_eq!(figures(&counted[0]), (2, vec![(End::Root, 1), (End::NoRule, 1)]));
        assert_eq!(figures(&counted[1]), (2, vec![(End::Root, 1), (End::TooDeep, 1)]));
        assert_eq!(counted[0].stacks.sum(), Weight::seen(2.0, 20));
    }

    /// What lasts over a boundary is of each part for as long as it lasted there, and what was only
    /// estimated is made to fit all parts together.
    #[test]
    fn what_lasts_is_divided_among_the_parts() {
        let parts = Parts { count: 2, of: &two };
        let mut cutting = Cutting::new(2);
        cutting.push(150..280, seen(End::Root), Weight::seen(1.0, 130));
        let short = Weight { count: 4.0, estimated: 40, ..Weight::default() };
        cutting.push(180..220, seen(End::NoRule), short);
        cutting.push(400..450, seen(End::Root), Weight::seen(1.0, 50));
        cutting.count(&parts, u64::MAX);
        // Of the 20 that were counted of short ones half was in the first part.
        cutting.fit(20);
        let counted = cutting.finish();
        assert_eq!(counted[0].stacks.weights[&seen(End::Root)], Weight::seen(1.0, 50));
        assert_eq!(counted[0].stacks.weights[&seen(End::NoRule)], Weight::seen(4.0, 10));
        assert_eq!(counted[1].stacks.sum(), Weight::seen(1.0, 30));
    }
}
