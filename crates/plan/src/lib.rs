//! The experiment file: parsed, validated, written out resolved.
//!
//! [`Experiment::parse`] takes text and gives either an experiment in which every name resolves
//! and every value is in range, or a list of problems, each with its line, what is wrong and
//! what would be right. Nothing is read from the machine here: whether a target exists is the
//! runner's question.

mod experiment;
pub mod fault;
mod observe;
mod problem;
mod profile;
mod raw;
mod schema;
mod units;
mod validate;
mod write;

pub use experiment::{
    Abort, AbortWhen, Ask, Check, Counter, Experiment, Find, Gauge, HttpQuestion, JsonField,
    Ledger, Load, Metric, Phase, Pick, Safety, Script, Side, TargetSelector,
};
pub use fault::Fault;
pub use problem::{PlanError, Problem};
pub use profile::{ProfileKind, Profiled};
pub use schema::schema;
pub use units::{parse_bytes, parse_duration, parse_rate, parse_share};

/// The only version of the file format so far.
pub const API_VERSION: &str = "temblor.dev/v1";

/// The load profiles that an experiment may name.
pub const LOAD_PROFILES: &[&str] = &["orders"];

/// The probes that an experiment may name.
pub const PROBES: &[&str] = &["tcp", "sched", "process", "block", "edges", "memory", "syscall"];

/// Those of them that make what nobody watches dearer, too: only for whoever asks for them.
pub const PROBES_ON_REQUEST: &[&str] = &["syscall"];

/// The labs that an experiment may name.
pub const LABS: &[&str] = &["exchange"];

/// The words by which an experiment allows what is refused otherwise, each with what it allows.
pub const ALLOWED: &[(&str, &str)] = &[
    ("pid1", "acting on the first process, and on kernel threads"),
    ("session", "acting on the session that started the run"),
    ("sshd", "acting on the SSH server"),
    ("temblor", "acting on the instrument itself"),
    ("engine", "acting on the container engine"),
    ("share", "acting on more than the stated share of a target's instances"),
];
