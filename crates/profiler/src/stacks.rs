//! The stacks that were seen, each once, with what they weigh.

use std::collections::HashMap;
use std::sync::Arc;

use temblor_probes::stacks::{End, Stack};
use temblor_symbols::{Place, Space};

/// Different stacks. A program that has more has hardly two alike.
const DIFFERENT_MAX: usize = 1 << 18;
/// Their frames together: 96 MiB.
const FRAMES_MAX: usize = 1 << 22;

/// A frame of a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserFrame {
    /// As the process had it. Of what is in a file it is left out: it is another one in each process.
    pub(crate) address: u64,
    /// None: where the process' code lies was not known.
    pub(crate) place: Option<Place>,
}

/// Where a thread was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Frames {
    /// The process in the first pid namespace.
    pub(crate) process: u32,
    /// Innermost first.
    pub(crate) kernel: Box<[u64]>,
    /// Innermost first.
    pub(crate) user: Box<[UserFrame]>,
    pub(crate) end: End,
}

impl Frames {
    fn count(&self) -> usize {
        self.kernel.len() + self.user.len()
    }
}

/// Who ended a wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Waker {
    /// As we know its process.
    pub(crate) pid: u32,
    pub(crate) thread: Arc<str>,
    /// Where it was, if that was looked at.
    pub(crate) frames: Option<Arc<Frames>>,
}

/// What else tells one stack from another; of most kinds of profile nothing does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Circumstances {
    /// The address of the lock that was waited for.
    pub(crate) lock: Option<u64>,
    pub(crate) waker: Option<Waker>,
    /// What the thread was at.
    pub(crate) state: Option<&'static str>,
    /// When, since the beginning.
    pub(crate) time_ns: Option<u64>,
    /// Between which powers of two a block's size is, by the number of its bits: blocks of like sizes were
    /// sampled with like chances, which is what tells how many they were.
    pub(crate) size_bits: Option<u32>,
    /// For how long memory has been in use.
    pub(crate) age: Option<&'static str>,
}

/// What tells one stack from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) target: Option<usize>,
    /// As we know the process.
    pub(crate) pid: u32,
    /// The thread's name.
    pub(crate) thread: Arc<str>,
    pub(crate) frames: Frames,
    pub(crate) circumstances: Circumstances,
}

/// How often a stack was seen, and what it amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Weight {
    /// A block of memory stands for others of which there need not be a whole number.
    pub(crate) count: f64,
    /// In the profile's own unit.
    pub(crate) amount: u64,
    /// The same of what was seen for others that were not.
    pub(crate) estimated: u64,
    /// Of memory what is still in use.
    pub(crate) live_count: f64,
    pub(crate) live_amount: u64,
}

impl Weight {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            amount: self.amount.saturating_add(other.amount),
            estimated: self.estimated.saturating_add(other.estimated),
            live_count: self.live_count + other.live_count,
            live_amount: self.live_amount.saturating_add(other.live_amount),
        }
    }

    /// Of what was seen itself.
    pub(crate) fn seen(count: f64, amount: u64) -> Self {
        Self { count, amount, ..Self::default() }
    }
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    pub(crate) weights: HashMap<Seen, Weight>,
    /// Samples that were not kept, as there were too many different stacks.
    pub(crate) not_kept: u64,
    /// Of all different stacks.
    frames: usize,
}

/// The threads' names. Few have names of their own.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, Arc<str>>);

impl Names {
    /// A thread's name, once for all threads that have it.
    pub(crate) fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        if self.0.len() < DIFFERENT_MAX {
            self.0.insert(name.to_owned(), Arc::clone(&shared));
        }
        shared
    }

    /// The stack of a process whose code lies there.
    pub(crate) fn seen(&mut self, stack: Stack, space: Option<&Space>) -> Seen {
        let frame = |address: u64| match space.map(|space| space.locate(address)) {
            place @ Some(Place::File { .. }) => UserFrame { address: 0, place },
            place => UserFrame { address, place },
        };
        Seen {
            target: stack.target,
            pid: stack.pid,
            thread: self.name(&stack.name),
            frames: Frames {
                process: stack.process,
                kernel: stack.kernel.into(),
                user: stack.user.into_iter().map(frame).collect(),
                end: stack.end,
            },
            circumstances: Circumstances::default(),
        }
    }
}

impl Stacks {
    /// Adds what a stack weighs, unless there are too many. Whether it did.
    pub(crate) fn add(&mut self, seen: Seen, weight: Weight) -> bool {
        if let Some(sum) = self.weights.get_mut(&seen) {
            *sum = sum.and(weight);
            return true;
        }
        let waker = seen.circumstances.waker.as_ref().and_then(|waker| waker.frames.as_deref());
        let frames = self.frames + seen.frames.count() + waker.map_or(0, Frames::count);
        if self.weights.len() >= DIFFERENT_MAX || frames > FRAMES_MAX {
            self.not_kept += 1;
            return false;
        }
        self.frames = frames;
        self.weights.insert(seen, weight);
        true
    }

    /// What all stacks weigh together.
    pub(crate) fn sum(&self) -> Weight {
        self.weights.values().fold(Weight::default(), |sum, weight| sum.and(*weight))
    }

    /// Has what is estimated be together what was counted of it, which leaves the shares of the stacks
    /// among each other as they are. `all` is what these stacks weigh, and whatever else was counted with
    /// them.
    pub(crate) fn fit(&mut self, counted: u64, all: Weight) {
        let estimated = all.estimated;
        for weight in self.weights.values_mut() {
            let share =
                u128::from(weight.estimated) * u128::from(counted) / u128::from(estimated.max(1));
            weight.amount = weight.amount.saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
            weight.estimated = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(thread: &str) -> Seen {
        let frames = Frames { process: 1, kernel: [].into(), user: [].into(), end: End::Root };
        let circumstances = Circumstances::default();
        Seen { target: None, pid: 1, thread: thread.into(), frames, circumstances }
    }

    fn estimated(count: f64, estimated: u64) -> Weight {
        Weight { count, estimated, ..Weight::default() }
    }

    #[test]
    fn what_is_estimated_is_made_to_fit_and_what_was_seen_stays() {
        let mut stacks = Stacks::default();
        stacks.add(seen("long"), Weight::seen(1.0, 600));
        stacks.add(seen("often"), estimated(30.0, 300));
        stacks.add(seen("seldom"), estimated(10.0, 100));
        stacks.fit(400, stacks.sum());
        assert_eq!(stacks.weights[&seen("long")].amount, 600);
        assert_eq!(stacks.weights[&seen("often")].amount, 300);
        stacks.fit(400, stacks.sum());
        assert_eq!(stacks.weights[&seen("seldom")].amount, 100);
        stacks.add(seen("often"), estimated(1.0, 7));
        stacks.fit(200, stacks.sum());
        assert_eq!(stacks.weights[&seen("often")].amount, 500);
    }

    #[test]
    fn where_nothing_short_was_counted_only_long_waits_weigh() {
        let mut stacks = Stacks::default();
        stacks.add(seen("long"), Weight::seen(1.0, 600));
        stacks.add(seen("often"), estimated(30.0, 300));
        stacks.fit(0, stacks.sum());
        assert_eq!(stacks.weights[&seen("long")].amount, 600);
        assert_eq!(stacks.weights[&seen("often")].amount, 0);
    }
}
