//! Exit codes, as `docs/exit-codes.md` has them.

use std::process::ExitCode;

use temblor_judge::Verdict;
use temblor_runner::RunnerError;

use crate::terminal;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Pass = 0,
    /// The verdict is `fail`, or a budget was exceeded.
    Fail = 1,
    /// The input was wrong; nothing was started. Also what clap exits with.
    Input = 2,
    /// The verdict is `invalid`, or a profile has no samples, or too few.
    Invalid = 3,
    /// The run was cut short, or something that should have worked did not.
    Aborted = 4,
    /// Something of ours was left behind.
    Leak = 5,
    /// The machine lacks something.
    Missing = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Invalid => Self::Invalid,
            Verdict::Aborted => Self::Aborted,
            Verdict::Leak => Self::Leak,
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn input(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Input, error: error.into() }
    }

    pub(crate) fn other(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Aborted, error: error.into() }
    }

    /// The same, ending otherwise.
    pub(crate) fn with(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Says once what happened, with the whole chain of causes.
    pub(crate) fn tell(self) -> Exit {
        let mut text = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !text.ends_with(&cause) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&cause);
            }
        }
        terminal::say(&format!("temblor: {text}"));
        self.exit
    }
}

impl From<temblor_lab::Error> for Failure {
    fn from(error: temblor_lab::Error) -> Self {
        let exit = match error.kind() {
            temblor_lab::Kind::Input => Exit::Input,
            temblor_lab::Kind::Machine => Exit::Missing,
            temblor_lab::Kind::LeftBehind => Exit::Leak,
            temblor_lab::Kind::Other => Exit::Aborted,
        };
        Self { exit, error: error.into() }
    }
}

impl From<RunnerError> for Failure {
    fn from(error: RunnerError) -> Self {
        let exit = match &error {
            RunnerError::Input(_) | RunnerError::Busy(_) => Exit::Input,
            RunnerError::Missing { .. } => Exit::Missing,
            RunnerError::Nothing(_) => Exit::Invalid,
            RunnerError::Failed { .. } => Exit::Aborted,
        };
        Self { exit, error: error.into() }
    }
}
