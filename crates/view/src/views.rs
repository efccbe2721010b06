//! Profiles, and what the page asks of them.

use std::sync::{Mutex, PoisonError};

use hyper::body::Bytes;
use serde::Serialize;
use temblor_profile::{CallTree, Comparison, ValueType};

use crate::ask::Ask;
use crate::encode;
use crate::recent::Recent;

/// What a browser draws without delay; lighter calls of a larger profile weigh for their callers.
const CALLS_MAX: usize = 3_000_000;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no such profile or type, or the profiles count different things.
    Asked(String),
    /// It could not be written.
    Ours(String),
}

/// Profiles that are shown together.
#[derive(Debug)]
pub struct Views {
    profiles: Vec<Loaded>,
    /// Held while an answer is made: one at a time, and each of them once.
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Loaded {
    name: String,
    /// The type that is shown first.
    kind: usize,
    tree: CallTree,
}

#[derive(Debug, Default)]
struct Work {
    recent: Recent,
    /// The last two that were compared: their types are looked at one after the other.
    comparison: Option<((usize, usize), Comparison)>,
}

#[derive(Serialize)]
struct Told<'of> {
    name: &'of str,
    samples: usize,
    duration_ns: i64,
    is_timed: bool,
    default_type: usize,
    types: Vec<Counted<'of>>,
}

#[derive(Serialize)]
struct Counted<'of> {
    kind: &'of str,
    unit: &'of str,
}

#[derive(Serialize)]
struct Cells<'of> {
    cell_ns: i64,
    rows: u32,
    columns: u32,
    untimed: usize,
    cells: &'of [u64],
}

impl Views {
    /// Of none yet.
    #[must_use]
    pub fn new() -> Self {
        Self { profiles: Vec::new(), work: Mutex::default() }
    }

    /// Adds a profile, of which this type is shown first.
    pub fn add(&mut self, name: String, tree: CallTree, kind: usize) {
        self.profiles.push(Loaded { name, kind, tree });
    }

    /// The answer, which is made once.
    pub(crate) fn answer(&self, ask: Ask) -> Result<Bytes, Refused> {
        // Nothing is left half done where an answer could not be made.
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = work.recent.get(&ask) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(self.made(ask, &mut work)?);
        work.recent.keep(ask, bytes.clone());
        Ok(bytes)
    }

    fn made(&self, ask: Ask, work: &mut Work) -> Result<Vec<u8>, Refused> {
        let asked = |error: temblor_profile::Error| Refused::Asked(error.to_string());
        let ours = |error: serde_json::Error| Refused::Ours(error.to_string());
        match ask {
            Ask::Profiles => {
                let told: Vec<Told<'_>> = self.profiles.iter().map(Loaded::told).collect();
                serde_json::to_vec(&told).map_err(ours)
            }
            Ask::Tree { profile, kind, window } => {
                let columns = self.tree(profile)?.columns(kind, window, CALLS_MAX);
                encode::columns(&columns.map_err(asked)?).map_err(ours)
            }
            Ask::Chart { profile, kind, window } => {
                let columns = self.tree(profile)?.chart(kind, window, CALLS_MAX);
                encode::columns(&columns.map_err(asked)?).map_err(ours)
            }
            Ask::Heat { profile, kind } => {
                let heat = self.tree(profile)?.heat(kind).map_err(asked)?;
                let cells = Cells {
                    cell_ns: heat.cell_ns,
                    rows: heat.rows,
                    columns: heat.columns,
                    untimed: heat.untimed,
                    cells: &heat.cells,
                };
                serde_json::to_vec(&cells).map_err(ours)
            }
            Ask::Comparison { base, profile, kind } => {
                let (base_tree, tree) = (self.tree(base)?, self.tree(profile)?);
                let pair = (base, profile);
                if work.comparison.as_ref().is_none_or(|(of, _)| *of != pair) {
                    // The last one goes before there is another: each may be large.
                    work.comparison = None;
                }
                let (_, comparison) =
                    work.comparison.get_or_insert_with(|| (pair, Comparison::of(base_tree, tree)));
                let columns = comparison.columns(base_tree, tree, kind, CALLS_MAX);
                encode::columns(&columns.map_err(asked)?).map_err(ours)
            }
        }
    }

    fn tree(&self, profile: usize) -> Result<&CallTree, Refused> {
        let loaded = self.profiles.get(profile).map(|loaded| &loaded.tree);
        loaded.ok_or_else(|| Refused::Asked("there is no such profile".to_owned()))
    }
}

impl Default for Views {
    fn default() -> Self {
        Self::new()
    }
}

impl<'of> Counted<'of> {
    fn of(of: &'of ValueType) -> Self {
        Self { kind: &of.kind, unit: &of.unit }
    }
}

impl Loaded {
    fn told(&self) -> Told<'_> {
        Told {
            name: &self.name,
            samples: self.tree.samples(),
            duration_ns: self.tree.duration_ns(),
            is_timed: self.tree.is_timed(),
            default_type: self.kind,
            types: self.tree.types().iter().map(Counted::of).collect(),
        }
    }
}
