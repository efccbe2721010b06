//! A profile as a tree of calls that can be weighed again and again: by another type, in a window of
//! time, beside another profile. The stacks are walked once, when it is made.

use std::io::BufRead;

use crate::columns::{Columns, Weights};
use crate::error::Error;
use crate::graph::Names;
use crate::profile::{Profile, ValueType};
use crate::tree::{NameId, NodeId, ROOT, Tree};

/// What is deeper weighs for its caller at this depth: stacks come with the file, whoever made it.
pub(crate) const DEPTH_MAX: u16 = 4096;

/// A part of the time in which a profile was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Nanoseconds since the profile was begun.
    pub from_ns: i64,
    /// The first that is not in it any more.
    pub to_ns: i64,
}

impl Window {
    pub(crate) fn has(self, time_ns: Option<i64>) -> bool {
        time_ns.is_some_and(|time_ns| (self.from_ns..self.to_ns).contains(&time_ns))
    }
}

/// A call: a function in the place where its callers called it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) parent: NodeId,
    pub(crate) name: NameId,
    pub(crate) depth: u16,
}

/// The calls themselves, each followed by all that it called; what one function calls stands in the
/// order of names, so that it is in the same place in every window.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) names: Vec<String>,
    pub(crate) nodes: Vec<Call>,
}

/// A profile's calls and what its samples weigh.
#[derive(Debug)]
pub struct CallTree {
    calls: Calls,
    types: Vec<ValueType>,
    /// For each sample the call in which it was taken.
    leaves: Vec<NodeId>,
    /// For each type the samples' values.
    values: Vec<Vec<i64>>,
    /// For each sample, where at least one of them has a time.
    times_ns: Vec<Option<i64>>,
    duration_ns: i64,
}

impl CallTree {
    /// Of a profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        let mut tree = Tree::default();
        let names = Names::of(profile);
        let numbers = tree.numbers_of(&names);
        let leaves: Vec<NodeId> = profile
            .samples
            .iter()
            .map(|sample| {
                let walk = names.walk(sample).take(usize::from(DEPTH_MAX));
                walk.fold(ROOT, |node, (name, _)| tree.child(node, numbers[name as usize]))
            })
            .collect();
        let mut times_ns: Vec<_> = profile.samples.iter().map(crate::Sample::time_ns).collect();
        if times_ns.iter().all(Option::is_none) {
            times_ns = Vec::new();
        }
        let values_of = |index| profile.samples.iter().map(|sample| sample.values[index]).collect();
        let (calls, places) = Calls::of(&tree);
        Self {
            calls,
            types: profile.types.clone(),
            leaves: leaves.into_iter().map(|leaf| places[leaf as usize]).collect(),
            values: (0..profile.types.len()).map(values_of).collect(),
            times_ns,
            duration_ns: profile.duration_ns,
        }
    }

    /// Of folded stacks, of which never more than a line is held.
    ///
    /// # Errors
    ///
    /// Where a line is none, or cannot be read.
    pub fn read_folded(lines: impl BufRead) -> Result<Self, Error> {
        let tree = Tree::read_folded(lines)?;
        let (calls, places) = Calls::of(&tree);
        let weighing = || tree.nodes.iter().zip(&places).filter(|(node, _)| node.weight > 0);
        let value = |weight: u64| i64::try_from(weight).unwrap_or(i64::MAX);
        Ok(Self {
            calls,
            types: vec![ValueType::new("samples", "count")],
            leaves: weighing().map(|(_, place)| *place).collect(),
            values: vec![weighing().map(|(node, _)| value(node.weight)).collect()],
            times_ns: Vec::new(),
            duration_ns: 0,
        })
    }

    /// What each sample's values count.
    #[must_use]
    pub fn types(&self) -> &[ValueType] {
        &self.types
    }

    /// How many samples there are; those of the same stack may have been added up.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.leaves.len()
    }

    /// Whether it is known of samples when they were taken.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        !self.times_ns.is_empty()
    }

    /// How long was collected, as the profile says; 0 where it does not.
    #[must_use]
    pub fn duration_ns(&self) -> i64 {
        self.duration_ns
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The samples that have a time and are not negative: when, in which call, and how much.
    pub(crate) fn timed(&self, index: usize) -> impl Iterator<Item = (i64, NodeId, u64)> {
        let values = self.times_ns.iter().zip(&self.leaves).zip(&self.values[index]);
        values.filter_map(|((time, leaf), value)| {
            Some(((*time)?, *leaf, u64::try_from(*value).ok()?))
        })
    }

    /// Samples that have none.
    pub(crate) fn untimed(&self) -> usize {
        self.leaves.len() - self.times_ns.iter().flatten().count()
    }

    /// The calls with what they weigh, in a window where one is given, as at most so many of them:
    /// of more the lightest weigh for their callers.
    ///
    /// # Errors
    ///
    /// Where there is no such type.
    pub fn columns(
        &self,
        index: usize,
        window: Option<Window>,
        calls_max: usize,
    ) -> Result<Columns<'_>, Error> {
        self.known(index)?;
        let mut weights = Weights::of_nothing(self.calls.nodes.len());
        self.weigh(index, window, |leaf| leaf, &mut weights);
        Ok(Columns::of(&self.calls, weights, None, calls_max))
    }

    pub(crate) fn known(&self, index: usize) -> Result<&ValueType, Error> {
        self.types.get(index).ok_or_else(|| Error::UnknownType {
            named: index.to_string(),
            known: self.types.iter().map(|one| one.kind.clone()).collect(),
        })
    }

    fn weigh(
        &self,
        index: usize,
        window: Option<Window>,
        place: impl Fn(NodeId) -> NodeId,
        weights: &mut Weights,
    ) {
        let time = |at: usize| self.times_ns.get(at).copied().flatten();
        for (at, (leaf, value)) in self.leaves.iter().zip(&self.values[index]).enumerate() {
            if window.is_none_or(|window| window.has(time(at))) {
                weights.add(place(*leaf), *value);
            }
        }
    }
}

/// Two profiles' calls in one tree.
#[derive(Debug)]
pub struct Comparison {
    calls: Calls,
    /// Where each of the one's calls stands here.
    base_places: Vec<NodeId>,
    new_places: Vec<NodeId>,
}

impl Comparison {
    /// Of what is compared with, and what is compared.
    #[must_use]
    pub fn of(base: &CallTree, new: &CallTree) -> Self {
        let mut tree = Tree::default();
        let base_nodes = base.calls.add_to(&mut tree);
        let new_nodes = new.calls.add_to(&mut tree);
        let (calls, places) = Calls::of(&tree);
        let placed =
            |nodes: Vec<NodeId>| nodes.into_iter().map(|node| places[node as usize]).collect();
        Self { calls, base_places: placed(base_nodes), new_places: placed(new_nodes) }
    }

    /// The calls of both with what they weigh in each. The profiles are those of which it was made;
    /// the type is the new one's. Of more calls than so many the lightest weigh for their callers.
    ///
    /// # Errors
    ///
    /// Where what is compared with does not count the same, or there is no such type.
    pub fn columns(
        &self,
        base: &CallTree,
        new: &CallTree,
        index: usize,
        calls_max: usize,
    ) -> Result<Columns<'_>, Error> {
        let of = new.known(index)?;
        let words = |types: &[ValueType]| {
            let one = |of: &ValueType| format!("{}/{}", of.kind, of.unit);
            types.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let base_index = base.types.iter().position(|one| one == of).ok_or_else(|| {
            Error::Unlike { left: words(&base.types), right: words(std::slice::from_ref(of)) }
        })?;
        let calls = self.calls.nodes.len();
        let (mut before, mut after) = (Weights::of_nothing(calls), Weights::of_nothing(calls));
        let place = |places: &[NodeId], leaf: NodeId| places[leaf as usize];
        base.weigh(base_index, None, |leaf| place(&self.base_places, leaf), &mut before);
        new.weigh(index, None, |leaf| place(&self.new_places, leaf), &mut after);
        Ok(Columns::of(&self.calls, after, Some(before), calls_max))
    }
}

impl Calls {
    /// In their order, and where each of the tree's nodes stands in it.
    fn of(tree: &Tree) -> (Self, Vec<NodeId>) {
        let names: Vec<String> =
            tree.names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let mut by_name: Vec<NameId> = (0..names.len() as NameId).collect();
        by_name.sort_unstable_by(|left, right| names[*left as usize].cmp(&names[*right as usize]));
        let mut ranks = vec![0; names.len()];
        for (rank, name) in (0_u32..).zip(by_name) {
            ranks[name as usize] = rank;
        }
        let by_rank = grouped(names.len(), 1..tree.nodes.len() as NodeId, |node| {
            ranks[tree.nodes[node as usize].name as usize]
        });
        // Within what one function calls the order of names stays.
        let parent = |node: NodeId| tree.nodes[node as usize].parent;
        let children = grouped(tree.nodes.len(), by_rank.all.iter().copied(), parent);

        let mut places = vec![ROOT; tree.nodes.len()];
        let mut nodes = vec![Call { parent: ROOT, name: 0, depth: 0 }];
        let mut open: Vec<(NodeId, u16)> =
            children.of(ROOT).iter().rev().map(|child| (*child, 1)).collect();
        while let Some((node, depth)) = open.pop() {
            let parent = places[parent(node) as usize];
            let place = if depth > DEPTH_MAX {
                parent
            } else {
                nodes.push(Call { parent, name: tree.nodes[node as usize].name, depth });
                (nodes.len() - 1) as NodeId
            };
            places[node as usize] = place;
            let below = depth.saturating_add(1).min(DEPTH_MAX + 1);
            open.extend(children.of(node).iter().rev().map(|child| (*child, below)));
        }
        (Self { names, nodes }, places)
    }

    /// Adds the calls, and tells which of the tree's nodes each of them is.
    fn add_to(&self, tree: &mut Tree) -> Vec<NodeId> {
        // The first name is that of nothing, there as well.
        let others = self.names.iter().skip(1).map(|name| tree.number(name.as_bytes()));
        let numbers: Vec<NameId> = std::iter::once(0).chain(others).collect();
        let mut places: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        places.push(ROOT);
        for call in &self.nodes[1..] {
            let parent = places[call.parent as usize];
            places.push(tree.child(parent, numbers[call.name as usize]));
        }
        places
    }
}

/// Things in groups, in the order in which they came.
struct Grouped {
    all: Vec<NodeId>,
    /// Where each group begins, and at the end where the last one ends.
    begins: Vec<u32>,
}

impl Grouped {
    fn of(&self, group: NodeId) -> &[NodeId] {
        let (from, to) = (self.begins[group as usize], self.begins[group as usize + 1]);
        &self.all[from as usize..to as usize]
    }
}

fn grouped(
    groups: usize,
    things: impl Iterator<Item = NodeId> + Clone,
    group: impl Fn(NodeId) -> u32,
) -> Grouped {
    let mut begins = vec![0_u32; groups + 1];
    let mut count = 0;
    for thing in things.clone() {
        begins[group(thing) as usize + 1] += 1;
        count += 1;
    }
    for at in 1..begins.len() {
        begins[at] += begins[at - 1];
    }
    let mut next = begins.clone();
    let mut all = vec![ROOT; count];
    for thing in things {
        let at = &mut next[group(thing) as usize];
        all[*at as usize] = thing;
        *at += 1;
    }
    Grouped { all, begins }
}
