//! Which function calls which, and what each of them weighs: what `top` and the like are made from.
//!
//! It counts as pprof does. A function that is in a stack several times weighs once what the stack
//! weighs; the leaf has the weight for itself. Where functions are left out, what they had for
//! themselves belongs to nobody.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::profile::{Profile, Sample};

/// The place of a function in [`Graph::nodes`].
pub(crate) type NodeId = u32;

/// A function and what it weighs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// By itself.
    pub(crate) flat: i64,
    /// With all that it called.
    pub(crate) cum: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) weight: i64,
    /// In every place where the one calls the other it was inlined.
    is_inline: bool,
}

#[derive(Debug)]
pub(crate) struct Graph {
    /// By name; of those that weigh nothing there are none in `shown`.
    pub(crate) nodes: Vec<Node>,
    /// From the caller to the called.
    pub(crate) edges: FxHashMap<(NodeId, NodeId), Edge>,
}

/// Whether a function was inlined where it was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inlined {
    Never,
    Sometimes,
    Always,
}

/// For each location its functions, innermost first, by their number.
pub(crate) struct Names {
    names: Vec<String>,
    of_location: Vec<Vec<NodeId>>,
}

impl Names {
    pub(crate) fn of(profile: &Profile) -> Self {
        let mut numbers: FxHashMap<String, NodeId> = FxHashMap::default();
        let mut names = Vec::new();
        let mut number = |name: String| {
            *numbers.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() as NodeId - 1
            })
        };
        let of_location = profile
            .locations
            .iter()
            .map(|location| {
                if location.lines.is_empty() {
                    return vec![number(profile.name_of(location, None))];
                }
                let name = |line| profile.name_of(location, Some(line));
                location.lines.iter().map(|line| number(name(line))).collect()
            })
            .collect();
        Self { names, of_location }
    }

    /// From the thread's root to the leaf, each with whether it was inlined into the one before.
    pub(crate) fn walk(&self, sample: &Sample) -> impl Iterator<Item = (NodeId, bool)> {
        sample.stack.iter().rev().flat_map(|location| {
            let functions = &self.of_location[location.0 as usize];
            let outermost = functions.len() - 1;
            functions.iter().enumerate().rev().map(move |(at, node)| (*node, at != outermost))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, node: NodeId) -> &str {
        &self.names[node as usize]
    }
}

impl Graph {
    /// Of one of a profile's types. Without what is not `kept`, where that is said.
    pub(crate) fn of(
        profile: &Profile,
        names: &Names,
        index: usize,
        kept: Option<&[bool]>,
    ) -> Self {
        let node = |name: &String| Node { name: name.clone(), ..Node::default() };
        let mut graph =
            Self { nodes: names.names.iter().map(node).collect(), edges: FxHashMap::default() };
        let mut seen = FxHashSet::default();
        let mut seen_edges = FxHashSet::default();
        for sample in &profile.samples {
            let weight = sample.values[index];
            if weight == 0 {
                continue;
            }
            seen.clear();
            seen_edges.clear();
            let mut parent: Option<NodeId> = None;
            let mut leaf_is_kept = false;
            for (node, is_inline) in names.walk(sample) {
                leaf_is_kept = kept.is_none_or(|kept| kept[node as usize]);
                if !leaf_is_kept {
                    continue;
                }
                if seen.insert(node) {
                    graph.nodes[node as usize].add_cum(weight);
                }
                if let Some(parent) = parent.filter(|parent| *parent != node)
                    && seen_edges.insert((parent, node))
                {
                    graph.add_edge(parent, node, weight, is_inline);
                }
                parent = Some(node);
            }
            if let Some(leaf) = parent.filter(|_| leaf_is_kept) {
                let flat = &mut graph.nodes[leaf as usize].flat;
                *flat = flat.saturating_add(weight);
            }
        }
        graph
    }

    fn add_edge(&mut self, from: NodeId, to: NodeId, weight: i64, is_inline: bool) {
        let edge = self.edges.entry((from, to)).or_insert(Edge { weight: 0, is_inline });
        edge.weight = edge.weight.saturating_add(weight);
        edge.is_inline &= is_inline;
    }

    /// Those that weigh something, the heaviest by themselves first.
    pub(crate) fn by_flat(&self) -> Vec<NodeId> {
        let mut shown: Vec<NodeId> = self.weighing().collect();
        shown.sort_unstable_by(|left, right| {
            let (left, right) = (&self.nodes[*left as usize], &self.nodes[*right as usize]);
            let by_flat = right.flat.unsigned_abs().cmp(&left.flat.unsigned_abs());
            by_flat.then_with(|| left.name.cmp(&right.name))
        });
        shown
    }

    /// Those that weigh something with all that they called, the heaviest first.
    pub(crate) fn by_cum(&self) -> Vec<NodeId> {
        let mut shown: Vec<NodeId> = self.weighing().collect();
        shown.sort_unstable_by(|left, right| {
            let (left, right) = (&self.nodes[*left as usize], &self.nodes[*right as usize]);
            let by_cum = right.cum.unsigned_abs().cmp(&left.cum.unsigned_abs());
            by_cum.then_with(|| left.name.cmp(&right.name))
        });
        shown
    }

    fn weighing(&self) -> impl Iterator<Item = NodeId> {
        let weighs = |node: &Node| node.flat != 0 || node.cum != 0;
        (0..).zip(&self.nodes).filter(move |(_, node)| weighs(node)).map(|(id, _)| id)
    }

    /// All that was counted.
    pub(crate) fn flat_sum(&self) -> i64 {
        self.nodes.iter().fold(0, |sum: i64, node| sum.saturating_add(node.flat))
    }

    /// Which functions were inlined where they were called, as far as the calls weigh this much.
    pub(crate) fn inlined(&self, weight_min: u64) -> Vec<Inlined> {
        let mut inlined = vec![None; self.nodes.len()];
        for ((_, to), edge) in &self.edges {
            if edge.weight.unsigned_abs() < weight_min {
                continue;
            }
            let told = &mut inlined[*to as usize];
            let here = if edge.is_inline { Inlined::Always } else { Inlined::Never };
            *told = match *told {
                None => Some(here),
                Some(before) if before == here => Some(here),
                Some(_) => Some(Inlined::Sometimes),
            };
        }
        inlined.into_iter().map(|told| told.unwrap_or(Inlined::Never)).collect()
    }
}

impl Node {
    fn add_cum(&mut self, weight: i64) {
        self.cum = self.cum.saturating_add(weight);
    }
}
