//! Why a target was not found.

use std::io;

use crate::engine::EngineError;

/// How many of the names that there are an error gives.
const NAMES_SHOWN: usize = 5;

/// Why a target was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The pid is nobody's.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The pid.
        pid: u32,
    },
    /// The process is over, and only waits for its parent to hear of it.
    #[error("process {pid} ({name}) has ended")]
    Ended {
        /// The pid.
        pid: u32,
        /// Its command.
        name: String,
    },
    /// A thread was named where a process is wanted.
    #[error("{tid} is a thread of process {pid} ({name}): name the process")]
    Thread {
        /// The thread's id.
        tid: u32,
        /// The process's.
        pid: u32,
        /// The process's command.
        name: String,
    },
    /// Nothing answers to the name.
    #[error("there is no {kind} `{wanted}`{}", there_is(.kind, .nearest))]
    NotFound {
        /// `process named`, `cgroup`, `systemd unit`, `container`.
        kind: &'static str,
        /// What was looked for.
        wanted: String,
        /// What there is, the most alike first.
        nearest: Vec<String>,
    },
    /// The group is there, and nobody in it.
    #[error("the {kind} `{wanted}` has no process: is it running?")]
    Empty {
        /// `cgroup` or `systemd unit`.
        kind: &'static str,
        /// What was looked for.
        wanted: String,
    },
    /// The root of a hierarchy was named.
    #[error("`{wanted}` is the root cgroup, which holds every process: name one below it")]
    RootGroup {
        /// What was looked for.
        wanted: String,
    },
    /// What was asked for is not a name.
    #[error("`{wanted}` does not name a {kind}")]
    BadName {
        /// `process`, `cgroup`, `systemd unit`.
        kind: &'static str,
        /// What was looked for.
        wanted: String,
    },
    /// Several containers answer to what was asked.
    #[error(
        "`{wanted}` may be any of the containers {}: give more of the id, or the name",
        .names.join(", ")
    )]
    Several {
        /// What was looked for.
        wanted: String,
        /// Who answers to it.
        names: Vec<String>,
    },
    /// Several compose projects have a service of that name.
    #[error(
        "the compose service `{service}` is in the projects {}: name one of them",
        .projects.join(", ")
    )]
    SeveralProjects {
        /// What was looked for.
        service: String,
        /// The projects.
        projects: Vec<String>,
    },
    /// A container's main process is not one of this machine.
    #[error(
        "the container {name} has process {pid} for its main one, which is not among those seen \
         here: its engine runs in another machine or another pid namespace"
    )]
    Elsewhere {
        /// The container.
        name: String,
        /// The pid that the engine gave.
        pid: u32,
    },
    /// The container engine did not tell.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The machine could not be looked at.
    #[error("could not {doing}{}", hint(.source))]
    Looking {
        /// The step, as in "open the network namespace of redis (process 7)".
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl FindError {
    pub(super) fn looking(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Looking { doing: doing.into(), source }
    }

    pub(super) fn not_found(
        kind: &'static str,
        wanted: &str,
        known: impl IntoIterator<Item = String>,
    ) -> Self {
        Self::NotFound { kind, wanted: wanted.to_owned(), nearest: nearest(wanted, known) }
    }

    /// Whether a later look for the same may find it: it is not there yet, or not any more. Where
    /// not, what is sought is wrong in itself.
    #[must_use]
    pub fn may_come(&self) -> bool {
        match self {
            Self::NoProcess { .. }
            | Self::Ended { .. }
            | Self::NotFound { .. }
            | Self::Empty { .. }
            | Self::Engine(_)
            | Self::Looking { .. } => true,
            Self::Thread { .. }
            | Self::RootGroup { .. }
            | Self::BadName { .. }
            | Self::Several { .. }
            | Self::SeveralProjects { .. }
            | Self::Elsewhere { .. } => false,
        }
    }

    /// Whether what was being looked at went away meanwhile.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Looking { source, .. } => {
                source.kind() == io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
            }
            Self::Engine(EngineError::Said { status, .. }) => *status == 404,
            _ => false,
        }
    }
}

fn there_is(kind: &str, nearest: &[String]) -> String {
    match nearest {
        [] => format!("; there is no {kind} at all that could be seen"),
        _ => format!("; there is {}", nearest.join(", ")),
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (it is another user's: run as root)",
        _ => "",
    }
}

/// The names that are most like the one wanted, the most alike first.
pub(super) fn nearest(wanted: &str, known: impl IntoIterator<Item = String>) -> Vec<String> {
    let lower = wanted.to_lowercase();
    let mut known: Vec<String> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    let mut scored: Vec<(bool, f64, String)> = known
        .into_iter()
        .map(|name| {
            let other = name.to_lowercase();
            let holds = !lower.is_empty() && (other.contains(&lower) || lower.contains(&other));
            (holds, strsim::normalized_damerau_levenshtein(&lower, &other), name)
        })
        .collect();
    scored.sort_by(|(a_holds, a, _), (b_holds, b, _)| b_holds.cmp(a_holds).then(b.total_cmp(a)));
    scored.into_iter().take(NAMES_SHOWN).map(|(_, _, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_names_come_first() {
        let known = ["cron", "redis-server", "reddit", "bash", "postgres", "nginx", "bash"];
        let known = || known.map(str::to_owned);
        assert_eq!(nearest("redis", known())[0], "redis-server", "one that holds it");
        assert_eq!(nearest("ngnix", known())[0], "nginx", "one with two letters swapped");
        assert_eq!(nearest("x", known()).len(), NAMES_SHOWN);
        assert_eq!(nearest("x", []), [""; 0]);
    }

    #[test]
    fn an_error_says_what_was_looked_for_and_what_there_is() {
        let error = FindError::not_found("systemd unit", "redis.service", []);
        assert_eq!(
            error.to_string(),
            "there is no systemd unit `redis.service`; there is no systemd unit at all that \
             could be seen"
        );
        let error = FindError::not_found("process named", "rediss", ["redis".to_owned()]);
        assert_eq!(error.to_string(), "there is no process named `rediss`; there is redis");
    }
}
