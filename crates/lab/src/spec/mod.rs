//! A lab as its file describes it.

mod check;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A lab: its services.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// Its services, in the order of their addresses.
    pub services: Vec<Service>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    /// Its name: unique in the lab.
    pub name: Spanned<String>,
    /// The program's file name.
    pub program: String,
    /// Where that is looked for.
    #[serde(default)]
    pub from: ProgramSource,
    /// Whom it runs as.
    pub user: String,
    /// The port it serves.
    pub port: Spanned<u16>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<Spanned<String>>,
    /// What is run once, while its data directory is empty.
    #[serde(default)]
    pub init: Vec<Init>,
    /// Files to write before it starts, after `init`: path and text.
    #[serde(default)]
    pub files: BTreeMap<String, Spanned<String>>,
    /// How to ask whether it is well.
    pub health: Spanned<Health>,
    /// How often, once it has been well.
    #[serde(default = "two_seconds")]
    pub health_every_ms: u64,
    /// Whether the lab may be started without it; then no other service may need it.
    #[serde(default)]
    pub optional: bool,
    /// The services that must be healthy before it starts.
    #[serde(default)]
    pub after: Vec<Spanned<String>>,
    /// The signal that ends it in good order: TERM, INT or QUIT.
    #[serde(default)]
    pub stop: Stop,
    /// What happens when it dies.
    #[serde(default)]
    pub restart: Restart,
    /// What it may use.
    #[serde(default)]
    pub limits: ServiceLimits,
}

/// Where a program is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramSource {
    /// In PATH and where system programs live.
    #[default]
    Path,
    /// Among the programs of the newest installed PostgreSQL.
    Postgresql,
    /// Beside this program.
    Exchange,
}

/// A command that is run once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Init {
    /// Program and arguments.
    pub run: Vec<Spanned<String>>,
    /// Its standard input.
    #[serde(default)]
    pub input: String,
}

/// How to ask a service whether it is well.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Its port accepts a connection.
    Tcp,
    /// This path answers 200.
    Http(String),
    /// This command succeeds.
    Command(Vec<String>),
}

/// The signal that ends a service in good order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stop {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

/// What happens when a service dies: it is started again, each time after a longer wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Restart {
    /// The first wait.
    pub backoff_initial_ms: u64,
    /// The longest wait.
    pub backoff_max_ms: u64,
    /// How long it must have been healthy for the waits to begin anew.
    pub reset_after_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { backoff_initial_ms: 200, backoff_max_ms: 5_000, reset_after_ms: 10_000 }
    }
}

/// What a service may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceLimits {
    /// Memory, MiB.
    pub memory_mib: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

fn two_seconds() -> u64 {
    2_000
}

/// What is wrong with a lab's file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SpecError {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when it is the file as a whole.
    pub line: u64,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Lab {
    /// The lab that is built in.
    ///
    /// # Errors
    /// Never in a released program: a test reads the file.
    pub fn exchange() -> Result<Self, SpecError> {
        Self::parse("exchange.yaml (built in)", include_str!("../../labs/exchange.yaml"))
    }

    /// Reads a lab and checks it.
    ///
    /// # Errors
    /// What is wrong, in which line, and what would be right.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let lab: Self = serde_saphyr::from_str(text).map_err(|error| {
            let message = error.without_snippet().to_string();
            // The line stands before the message already.
            let short = message.rsplit_once(" at line ").map_or(&*message, |(text, _)| text);
            SpecError {
                file: file.to_owned(),
                line: error.location().map_or(0, |location| location.line()),
                message: short.to_owned(),
            }
        })?;
        check::check(&lab).map_err(|(line, message)| SpecError {
            file: file.to_owned(),
            line,
            message,
        })?;
        Ok(lab)
    }

    /// The lab without some of its optional services.
    ///
    /// # Errors
    /// One of the names is no optional service of this lab.
    pub(crate) fn without(mut self, names: &[String]) -> Result<Self, String> {
        let optional = |service: &&Service| service.optional;
        let known: Vec<_> =
            self.services.iter().filter(optional).map(|s| s.name.value.as_str()).collect();
        if let Some(wrong) = names.iter().find(|name| !known.contains(&name.as_str())) {
            let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "{wrong:?} is no service that the lab can go without; there is {there}"
            ));
        }
        self.services.retain(|service| !names.contains(&service.name.value));
        Ok(self)
    }
}

/// The names that arguments and files of a service may use.
pub(crate) fn variable(lab: &Lab, name: &str) -> bool {
    match name.split_once('.') {
        None => ["data", "run", "addr", "port", "network", "host"].contains(&name),
        Some(("addr" | "port", service)) => lab.services.iter().any(|s| s.name.value == service),
        Some(_) => false,
    }
}
