//! Faults as an experiment file names them.
//!
//! What a fault is called, which values it takes and within which bounds stands once, in
//! [`table`]: the parser, the messages, the JSON Schema, the written-out experiment and the
//! reference in `docs/faults.md` all read it.

mod parse;
mod reference;
mod spec;
mod table;
mod value;

use std::collections::BTreeMap;
use std::time::Duration;

pub use reference::reference;
pub use spec::{Choice, FaultSpec, Kind, Param};
pub use table::{FAULTS, fault_spec};
pub use value::{Peers, Value};

pub(crate) use parse::parse;
pub(crate) use value::{Written, quote};

/// A fault with its dose, its time within the phase, and how its dose grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What it is.
    pub spec: &'static FaultSpec,
    /// Its values, those that have a default included; one that was left out and has none is
    /// absent.
    pub values: BTreeMap<&'static str, Value>,
    /// It begins this long after its phase.
    pub after: Duration,
    /// It ends this long after it began; none: with its phase.
    pub lasting: Option<Duration>,
    /// Its dose grows evenly from nothing over this time.
    pub ramp: Option<Duration>,
    /// The shares of its dose, one after the other, in equal parts of its time.
    pub steps: Vec<f64>,
}

impl Fault {
    /// The fault's name in an experiment file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The targets that the fault acts on, by the names they have in the experiment; those on its
    /// other side, which it only names, are not among them.
    pub fn acts_on(&self) -> impl Iterator<Item = &str> {
        self.spec.params.iter().filter(|param| matches!(param.kind, Kind::Target)).filter_map(
            |param| match self.values.get(param.name) {
                Some(Value::Target(alias)) => Some(alias.as_str()),
                _ => None,
            },
        )
    }
}
