//! All stacks in one tree, from the thread's root to the leaves: what flamegraphs are drawn from.

use std::io::BufRead;

use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::folded;
use crate::graph::Names;
use crate::profile::Profile;

/// The place of a node in a [`Tree`]. The first one is what all stacks have in common: nothing.
pub(crate) type NodeId = u32;
pub(crate) type NameId = u32;

pub(crate) const ROOT: NodeId = 0;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) parent: NodeId,
    pub(crate) name: NameId,
    /// What ends here weighs this much.
    pub(crate) weight: u64,
}

/// Stacks that begin alike share what they begin with.
#[derive(Debug)]
pub struct Tree {
    /// Each one after its parent.
    pub(crate) nodes: Vec<Node>,
    children: FxHashMap<(NodeId, NameId), NodeId>,
    /// Where it is a difference, what each node weighed in what it is compared with.
    base: Option<Vec<u64>>,
    pub(crate) names: Vec<Box<[u8]>>,
    numbers: FxHashMap<Box<[u8]>, NameId>,
    /// What is negative has no width; it is left out, and this is how much it was.
    negative: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node { parent: ROOT, name: 0, weight: 0 }],
            children: FxHashMap::default(),
            base: None,
            names: vec![Box::default()],
            numbers: FxHashMap::default(),
            negative: 0,
        }
    }
}

/// A stack with what it weighs, and weighed in what it is compared with.
pub(crate) struct Stack<'of> {
    pub(crate) frames: Vec<&'of [u8]>,
    pub(crate) weight: u64,
    pub(crate) base: Option<u64>,
}

impl Tree {
    /// Of one of a profile's types.
    ///
    /// # Errors
    ///
    /// Where the profile has no such type.
    pub fn of(profile: &Profile, kind: Option<&str>) -> Result<Self, Error> {
        let mut tree = Self::default();
        tree.add(profile, kind, |node, weight| node.weight = node.weight.saturating_add(weight))?;
        Ok(tree)
    }

    /// Of two profiles: the second, and how much of each there was in the first.
    ///
    /// # Errors
    ///
    /// Where one of them has no such type.
    pub fn difference(base: &Profile, new: &Profile, kind: Option<&str>) -> Result<Self, Error> {
        let mut tree = Self::of(base, kind)?;
        let before = tree.nodes.iter_mut().map(|node| std::mem::take(&mut node.weight)).collect();
        tree.add(new, kind, |node, weight| node.weight = node.weight.saturating_add(weight))?;
        let mut before: Vec<u64> = before;
        before.resize(tree.nodes.len(), 0);
        tree.base = Some(before);
        Ok(tree)
    }

    /// Of folded stacks, of which never more than a line is held.
    ///
    /// # Errors
    ///
    /// Where a line is none, or cannot be read.
    pub fn read_folded(mut lines: impl BufRead) -> Result<Self, Error> {
        let mut tree = Self::default();
        let (mut line, mut last) = (Vec::new(), Vec::new());
        // Where the last stack's frames end in its text, and which nodes they are.
        let mut path: Vec<(usize, NodeId)> = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(Error::Read)? == 0 {
                return Ok(tree);
            }
            number += 1;
            let text = line.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let (stack, weight) = folded::split(text).ok_or_else(|| folded::wrong(number, text))?;
            tree.walk(stack, &last, &mut path);
            let leaf = path.last().map_or(ROOT, |(_, node)| *node);
            match u64::try_from(weight) {
                Ok(weight) => tree.weigh(leaf, weight),
                Err(_) => tree.negative = tree.negative.saturating_add(weight.unsigned_abs()),
            }
            last.clear();
            last.extend_from_slice(stack);
        }
    }

    /// Goes down a stack's frames. Those that it has in common with the last one are known.
    fn walk(&mut self, stack: &[u8], last: &[u8], path: &mut Vec<(usize, NodeId)>) {
        let same = stack.iter().zip(last).take_while(|(left, right)| left == right).count();
        let ends = |at: usize| stack.get(at).is_none_or(|byte| *byte == b';');
        let known = path.iter().take_while(|(end, _)| *end <= same && ends(*end)).count();
        path.truncate(known);
        let (mut from, mut node) = path.last().map_or((0, ROOT), |(end, node)| (end + 1, *node));
        while from <= stack.len() {
            let rest = &stack[from..];
            let end = from + rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
            let name = self.number(&stack[from..end]);
            node = self.child(node, name);
            path.push((end, node));
            from = end + 1;
        }
    }

    fn add(
        &mut self,
        profile: &Profile,
        kind: Option<&str>,
        mut weigh: impl FnMut(&mut Node, u64),
    ) -> Result<(), Error> {
        let index = profile.type_index(kind)?;
        let names = Names::of(profile);
        let numbers = self.numbers_of(&names);
        for sample in &profile.samples {
            let Ok(weight) = u64::try_from(sample.values[index]) else {
                self.negative = self.negative.saturating_add(sample.values[index].unsigned_abs());
                continue;
            };
            if weight == 0 {
                continue;
            }
            let mut node = ROOT;
            for (name, _) in names.walk(sample) {
                node = self.child(node, numbers[name as usize]);
            }
            weigh(&mut self.nodes[node as usize], weight);
        }
        Ok(())
    }

    /// The number that each of a profile's names has here.
    pub(crate) fn numbers_of(&mut self, names: &Names) -> Vec<NameId> {
        (0..names.len())
            .map(|id| self.number(names.name(id as u32).replace(['\n', '\r'], " ").as_bytes()))
            .collect()
    }

    fn weigh(&mut self, node: NodeId, weight: u64) {
        let node = &mut self.nodes[node as usize];
        node.weight = node.weight.saturating_add(weight);
    }

    pub(crate) fn number(&mut self, name: &[u8]) -> NameId {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as NameId;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    pub(crate) fn child(&mut self, parent: NodeId, name: NameId) -> NodeId {
        *self.children.entry((parent, name)).or_insert_with(|| {
            self.nodes.push(Node { parent, name, weight: 0 });
            (self.nodes.len() - 1) as NodeId
        })
    }

    /// What all stacks weigh.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.nodes.iter().fold(0, |sum: u64, node| sum.saturating_add(node.weight))
    }

    /// How much was left out because it was negative.
    #[must_use]
    pub fn negative(&self) -> u64 {
        self.negative
    }

    /// The stacks, without frames that weigh less than this with all that they called: what those
    /// weigh is their callers'.
    pub(crate) fn stacks(&self, weight_min: u64) -> Vec<Stack<'_>> {
        let own =
            |of: &dyn Fn(usize) -> u64| -> Vec<u64> { (0..self.nodes.len()).map(of).collect() };
        let mut weights = own(&|at| self.nodes[at].weight);
        let mut bases = self.base.clone();
        let mut sums = weights.clone();
        let mut base_sums = bases.clone();
        // Children come after their parents, so that they are summed up before.
        for at in (1..self.nodes.len()).rev() {
            let parent = self.nodes[at].parent as usize;
            sums[parent] = sums[parent].saturating_add(sums[at]);
            if let Some(sums) = &mut base_sums {
                sums[parent] = sums[parent].saturating_add(sums[at]);
            }
            let heaviest = base_sums.as_ref().map_or(0, |sums| sums[at]).max(sums[at]);
            if heaviest < weight_min {
                // All beneath it has come up to it already.
                weights[parent] = weights[parent].saturating_add(std::mem::take(&mut weights[at]));
                if let Some(bases) = &mut bases {
                    let base = std::mem::take(&mut bases[at]);
                    bases[parent] = bases[parent].saturating_add(base);
                }
            }
        }
        (0..self.nodes.len())
            .filter(|at| weights[*at] > 0 || bases.as_ref().is_some_and(|bases| bases[*at] > 0))
            .map(|at| Stack {
                frames: self.frames(at as NodeId),
                weight: weights[at],
                base: bases.as_ref().map(|bases| bases[at]),
            })
            .collect()
    }

    /// From the thread's root on.
    fn frames(&self, mut node: NodeId) -> Vec<&[u8]> {
        let mut frames = Vec::new();
        while node != ROOT {
            let Node { parent, name, .. } = self.nodes[node as usize];
            frames.push(&*self.names[name as usize]);
            node = parent;
        }
        frames.reverse();
        frames
    }
}
