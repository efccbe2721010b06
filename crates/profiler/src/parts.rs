//! One stream of samples, cut into several profiles by their times.

use std::collections::{BTreeMap, VecDeque};

use temblor_probes::cpu::End;
use temblor_profile::Profile;

use crate::stacks::{Seen, Stacks};

/// How long it is waited before it is asked to which part a sample belongs: who cuts may know only a
/// moment later that there was a cut.
pub(crate) const KNOWN_AFTER_NS: u64 = 1_000_000_000;

/// How what is collected is cut into several profiles.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// How many there are.
    pub count: usize,
    /// To which of them a moment belongs, on CLOCK_MONOTONIC; none: to nobody's, and what was seen
    /// then is left out. Asked a second after the moment, or at the end.
    pub of: &'a dyn Fn(u64) -> Option<usize>,
}

/// The profile of a part.
#[derive(Debug)]
pub struct Part {
    /// Samples, and processor time. For how long it was collected is known to who made the parts.
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
    /// Of the last second or so, in the order in which they came.
    waiting: VecDeque<(u64, Seen)>,
    counted: Vec<Counted>,
}

impl Cutting {
    pub(crate) fn new(parts: usize) -> Self {
        let counted = (0..parts).map(|_| Counted::default()).collect();
        Self { waiting: VecDeque::new(), counted }
    }

    pub(crate) fn push(&mut self, t_ns: u64, seen: Seen) {
        self.waiting.push_back((t_ns, seen));
    }

    /// Counts what was seen before a moment to the part that it belongs to. Samples come almost in
    /// order of time: one that stands behind a later one waits with it.
    pub(crate) fn count(&mut self, parts: &Parts<'_>, before_ns: u64) {
        while self.waiting.front().is_some_and(|(t_ns, _)| *t_ns < before_ns) {
            let Some((t_ns, seen)) = self.waiting.pop_front() else { return };
            let Some(part) = (parts.of)(t_ns).and_then(|at| self.counted.get_mut(at)) else {
                continue;
            };
            let end = seen.end;
            if part.stacks.count(seen) {
                part.samples += 1;
                *part.ends.entry(end).or_default() += 1;
            }
        }
    }

    /// The parts, in their order.
    pub(crate) fn finish(self) -> Vec<Counted> {
        self.counted
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn seen(end: End) -> Seen {
        Seen {
            target: None,
            process: 1,
            pid: 1,
            thread: "work".into(),
            kernel: Box::new([7]),
            user: Box::new([]),
            end,
        }
    }

    /// A sample at the boundary itself is the later part's, what comes between parts is nobody's, and
    /// a cut that is told late is still where it was.
    #[test]
    fn samples_are_counted_where_their_times_put_them() {
        let told: RefCell<Vec<(u64, u64)>> = RefCell::new(vec![(100, u64::MAX)]);
        let of = |t_ns| told.borrow().iter().position(|(from, to)| (*from..*to).contains(&t_ns));
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
            cutting.push(t_ns, seen(end));
        }
        cutting.count(&parts, 150);
        *told.borrow_mut() = vec![(100, 200), (250, 300)];
        cutting.count(&parts, u64::MAX);
        let counted = cutting.finish();
        let figures = |part: &Counted| (part.samples, part.ends.clone().into_iter().collect());
        assert_eq!(figures(&counted[0]), (2, vec![(End::Root, 1), (End::NoRule, 1)]));
        assert_eq!(figures(&counted[1]), (2, vec![(End::Root, 1), (End::TooDeep, 1)]));
        assert_eq!(counted[0].stacks.times.values().sum::<u64>(), 2);
    }
}
