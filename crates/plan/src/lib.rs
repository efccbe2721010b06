//! The experiment file: parsed, validated, written out resolved.
//!
//! [`Experiment::parse`] takes text and gives either an experiment in which every name resolves
//! and every value is in range, or a list of problems, each with its line, what is wrong and
//! what would be right. Nothing is read from the machine here: whether a target exists is the
//! runner's question.

mod experiment;
mod problem;
mod raw;
mod units;
mod validate;
mod write;

pub use experiment::{
    Abort, Action, Check, Counter, Direction, Experiment, Fault, Gauge, HttpQuestion, JsonField,
    Ledger, Load, Metric, Partition, Phase, Side, TargetSelector,
};
pub use problem::{PlanError, Problem};
pub use units::{parse_duration, parse_rate};

/// The only version of the file format so far.
pub const API_VERSION: &str = "temblor.dev/v1";

/// The load profiles that an experiment may name.
pub const LOAD_PROFILES: &[&str] = &["orders"];

/// The probes that an experiment may name.
pub const PROBES: &[&str] = &["tcp"];

/// The labs that an experiment may name.
pub const LABS: &[&str] = &["exchange"];
