//! What a guest tells, one line of JSON at a time: a guest that dies has told everything before.

use serde::{Deserialize, Serialize};

use super::programs::Program;

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The kernel, first of all.
    Kernel {
        /// `uname -r`.
        release: String,
        /// `uname -v`: the package's version is in it.
        version: String,
        /// The layout of the cgroups.
        cgroups: String,
    },
    /// What `temblor doctor --json` says.
    Doctor(Vec<Offer>),
    /// It is about to do this: what is begun and never ended has ended the guest.
    Began(String),
    /// A test has ended.
    Test(Test),
    /// A fault was put in place and taken away, or refused.
    Fault(Fault),
    /// The guest has done everything.
    Done,
}

/// A line of what `temblor doctor` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What it is.
    pub name: String,
    /// Whom it serves.
    pub of: String,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: Offered,
}

/// Whether something is there, in the words of `temblor_host::State`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Offered {
    /// It is.
    Available {
        /// By what.
        via: String,
    },
    /// Something lesser takes its place.
    Fallback {
        /// What does.
        via: String,
        /// What is then missing.
        lacks: String,
    },
    /// It is not.
    Missing {
        /// What was looked for.
        why: String,
    },
}

/// One test of a test program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The crate, without its prefix.
    pub of: String,
    /// The test program.
    pub program: String,
    /// The test in it.
    pub name: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took.
    pub took_ms: u64,
}

impl Test {
    pub(super) fn of(program: &Program, name: String, outcome: Outcome) -> Self {
        Self { of: program.of.clone(), program: program.name.clone(), name, outcome, took_ms: 0 }
    }
}

/// One fault, by `temblor inject` on a target that was made for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What the program said when it was in place.
    pub said: String,
}

/// What came of a test or a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should, and everything was as before.
    Passed,
    /// It is not for this machine.
    Skipped {
        /// Why not, as it said itself.
        why: String,
    },
    /// It did not.
    Failed {
        /// What it said, or what it left behind.
        why: String,
    },
}

impl Outcome {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped { .. } => "skipped",
            Self::Failed { .. } => "FAILED",
        }
    }
}
