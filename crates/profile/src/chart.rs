//! Calls in the order of time: not all stacks together, but one after the other as they were seen.

use crate::calls::{CallTree, Window};
use crate::columns::{Columns, Times};
use crate::error::Error;
use crate::tree::{NodeId, ROOT};

/// A sample lasts until the next one, but no longer than so many times what usually lies between
/// two: after that nothing was seen.
const REACH: i64 = 2;

/// A sample as long as it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
    pub(crate) leaf: NodeId,
    pub(crate) weight: u64,
}

impl CallTree {
    /// The samples of a type in the order of time.
    pub(crate) fn seen(&self, index: usize, window: Option<Window>) -> Result<Vec<Seen>, Error> {
        self.known(index)?;
        if !self.is_timed() {
            return Err(Error::Untimed);
        }
        let is_inside = |time_ns| window.is_none_or(|window| window.has(Some(time_ns)));
        let seen = |(time_ns, leaf, weight)| {
            // What was taken before the beginning stands at the beginning.
            let from_ns = i64::max(time_ns, 0);
            Seen { from_ns, to_ns: from_ns, leaf, weight }
        };
        let timed =
            self.timed(index).filter(|(time_ns, _, weight)| is_inside(*time_ns) && *weight > 0);
        let mut all: Vec<Seen> = timed.map(seen).collect();
        all.sort_by_key(|seen| (seen.from_ns, seen.leaf));
        let mut gaps: Vec<i64> = all
            .windows(2)
            .map(|pair| pair[1].from_ns - pair[0].from_ns)
            .filter(|gap| *gap > 0)
            .collect();
        let middle = gaps.len().saturating_sub(1) / 2;
        let usual = if gaps.is_empty() { 1 } else { *gaps.select_nth_unstable(middle).1 };
        let reach = usual.saturating_mul(REACH);
        // Nothing was seen after the end, where that is known.
        let mut next = Some(self.duration_ns()).filter(|end_ns| *end_ns > 0);
        for seen in all.iter_mut().rev() {
            let furthest = seen.from_ns.saturating_add(reach);
            seen.to_ns = next.map_or(furthest, |next| furthest.min(next)).max(seen.from_ns);
            next = Some(seen.from_ns);
        }
        Ok(all)
    }

    /// The calls in the order of time, each with when it began and how long it lasted. A call ends
    /// where it was not in the next sample.
    ///
    /// # Errors
    ///
    /// Where there is no such type, no sample has a time, or there would be more calls than this.
    pub fn chart(
        &self,
        index: usize,
        window: Option<Window>,
        calls_max: usize,
    ) -> Result<Columns<'_>, Error> {
        let all = self.seen(index, window)?;
        let mut drawn = Drawn::default();
        let begin_ns = window.map_or(0, |window| window.from_ns.max(0));
        drawn.push(self, ROOT, begin_ns);
        let mut last_ns = begin_ns;
        let mut stack: Vec<NodeId> = Vec::new();
        for seen in all {
            if seen.from_ns > last_ns {
                drawn.open.truncate(1);
            }
            last_ns = seen.to_ns;
            stack.clear();
            let mut node = seen.leaf;
            while node != ROOT {
                stack.push(node);
                node = self.calls().nodes[node as usize].parent;
            }
            let same = drawn.open[1..].iter().zip(stack.iter().rev());
            let same = same.take_while(|(open, node)| open.0 == **node).count();
            drawn.open.truncate(same + 1);
            for node in stack.iter().rev().skip(same) {
                drawn.push(self, *node, seen.from_ns);
            }
            if drawn.columns.name.len() > calls_max {
                return Err(Error::TooLarge {
                    what: "calls in the order of time",
                    limit: calls_max,
                });
            }
            drawn.last(seen.to_ns, seen.weight);
        }
        let whole_ns = self.duration_ns().max(last_ns);
        let end_ns = window.map_or(whole_ns, |window| window.to_ns.min(whole_ns));
        if let Some(lasts_ns) = drawn.times.lasts_ns.first_mut() {
            *lasts_ns = (*lasts_ns).max(end_ns.saturating_sub(begin_ns).max(0).cast_unsigned());
        }
        let times = Some(drawn.times);
        Ok(Columns { names: &self.calls().names, times, joined_below: 1, ..drawn.columns })
    }
}

#[derive(Default)]
struct Drawn<'of> {
    columns: Columns<'of>,
    times: Times,
    /// The calls that go on, with their places in the columns.
    open: Vec<(NodeId, usize)>,
}

impl Drawn<'_> {
    fn push(&mut self, tree: &CallTree, node: NodeId, begin_ns: i64) {
        let call = tree.calls().nodes[node as usize];
        self.open.push((node, self.columns.name.len()));
        self.columns.name.push(call.name);
        self.columns.depth.push(call.depth);
        self.columns.own.push(0);
        self.times.begins_ns.push(begin_ns.max(0).cast_unsigned());
        self.times.lasts_ns.push(0);
    }

    /// What is open goes on until then.
    fn last(&mut self, to_ns: i64, weight: u64) {
        for (_, at) in &self.open {
            let begin_ns = self.times.begins_ns[*at];
            self.times.lasts_ns[*at] = to_ns.cast_unsigned().saturating_sub(begin_ns);
        }
        if let Some((_, at)) = self.open.last() {
            self.columns.own[*at] = self.columns.own[*at].saturating_add(weight);
        }
    }
}
