//! A tree of calls as columns of figures, as little as it takes to send it to whoever draws it.

use crate::calls::Calls;
use crate::tree::NodeId;

/// What samples that end in each call weigh.
#[derive(Debug)]
pub(crate) struct Weights {
    own: Vec<u64>,
    /// What is negative has no width.
    negative: u64,
}

impl Weights {
    pub(crate) fn of_nothing(calls: usize) -> Self {
        Self { own: vec![0; calls], negative: 0 }
    }

    pub(crate) fn add(&mut self, at: NodeId, value: i64) {
        match u64::try_from(value) {
            Ok(value) => {
                let own = &mut self.own[at as usize];
                *own = own.saturating_add(value);
            }
            Err(_) => self.negative = self.negative.saturating_add(value.unsigned_abs()),
        }
    }
}

/// Calls that weigh something, each followed by all that it called, with how deep it is: that makes
/// them a tree. The first is what all stacks have in common: nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns<'of> {
    /// The functions' names; the first one is that of the first call, and empty.
    pub names: &'of [String],
    /// For each call the place of its function's name.
    pub name: Vec<u32>,
    /// For each call how many callers it has.
    pub depth: Vec<u16>,
    /// For each call what it weighs by itself.
    pub own: Vec<u64>,
    /// The same in what it is compared with, where it is a comparison.
    pub base: Option<Vec<u64>>,
    /// When each call was, where they stand in the order of time.
    pub times: Option<Times>,
    /// How much was left out because it was negative.
    pub negative: u64,
    /// Calls that weigh less than this, with all that they called, weigh for their callers.
    pub joined_below: u64,
}

/// When calls were.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Nanoseconds from the beginning of the profile to that of the call.
    pub begins_ns: Vec<u64>,
    /// From its beginning to its end.
    pub lasts_ns: Vec<u64>,
}

impl<'of> Columns<'of> {
    pub(crate) fn of(
        calls: &'of Calls,
        new: Weights,
        base: Option<Weights>,
        calls_max: usize,
    ) -> Self {
        let negative = new.negative.saturating_add(base.as_ref().map_or(0, |base| base.negative));
        let (mut own, mut base) = (new.own, base.map(|base| base.own));
        let mut heaviest = with_called(calls, &own);
        if let Some(base) = &base {
            for (heaviest, base) in heaviest.iter_mut().zip(with_called(calls, base)) {
                *heaviest = base.max(*heaviest);
            }
        }
        let joined_below = threshold(&heaviest, calls_max);
        let is_kept = |at: usize| at == 0 || heaviest[at] >= joined_below;
        // Those that were called come first, so that what is joined is joined all the way up.
        for at in (1..own.len()).rev().filter(|at| !is_kept(*at)) {
            let parent = calls.nodes[at].parent as usize;
            own[parent] = own[parent].saturating_add(own[at]);
            if let Some(base) = &mut base {
                base[parent] = base[parent].saturating_add(base[at]);
            }
        }
        let kept: Vec<usize> = (0..own.len()).filter(|at| is_kept(*at)).collect();
        let picked = |of: &[u64]| kept.iter().map(|at| of[*at]).collect();
        Self {
            names: &calls.names,
            name: kept.iter().map(|at| calls.nodes[*at].name).collect(),
            depth: kept.iter().map(|at| calls.nodes[*at].depth).collect(),
            own: picked(&own),
            base: base.as_deref().map(picked),
            times: None,
            negative,
            joined_below,
        }
    }
}

/// What each call weighs with all that it called.
fn with_called(calls: &Calls, own: &[u64]) -> Vec<u64> {
    let mut sums = own.to_vec();
    for at in (1..sums.len()).rev() {
        let parent = calls.nodes[at].parent as usize;
        sums[parent] = sums[parent].saturating_add(sums[at]);
    }
    // A bound above all of them must be left, or calls that weigh this much could not be joined.
    sums.into_iter().map(|sum| sum.min(u64::MAX - 1)).collect()
}

/// The least weight of which there are at most so many; at least 1, for what weighs nothing is no
/// call.
fn threshold(weights: &[u64], calls_max: usize) -> u64 {
    let mut least = 1_u64;
    while least < u64::MAX
        && weights.iter().skip(1).filter(|weight| **weight >= least).count() > calls_max
    {
        least = least.saturating_mul(2);
    }
    least
}
