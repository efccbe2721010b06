//! What an engine says of its containers. Only what is used here is read, and what one of the
//! engines leaves out is no error.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A container as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `exited`, `created` and so on.
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The engine's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `paused`, `exited`, `created` and so on.
    pub state: String,
    /// Its main process, while it has one.
    pub pid: Option<u32>,
    /// When that was started, as the engine writes it.
    pub started_at: String,
    /// How often the engine has started it again by its restart policy.
    pub restarts: u32,
    /// `no`, `always`, `on-failure`, `unless-stopped`; empty where the engine has none.
    pub restart_policy: String,
}

/// An element of `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl From<Listed> for Container {
    fn from(listed: Listed) -> Self {
        // Links from other containers give names of two parts; its own has one.
        let names = listed.names.unwrap_or_default();
        let own = names.iter().map(|name| plain(name)).find(|name| !name.contains('/'));
        Self {
            name: own.unwrap_or_else(|| listed.id.chars().take(12).collect()),
            id: listed.id,
            state: listed.state,
            labels: listed.labels.unwrap_or_default(),
        }
    }
}

/// What `GET /containers/ID/json` gives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Read {
    id: String,
    name: String,
    state: State,
    #[serde(default)]
    restart_count: u32,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    started_at: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    restart_policy: RestartPolicy,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    name: String,
}

impl From<Read> for Inspected {
    fn from(read: Read) -> Self {
        Self {
            id: read.id,
            name: plain(&read.name),
            state: read.state.status,
            pid: Some(read.state.pid).filter(|pid| *pid != 0),
            started_at: read.state.started_at,
            restarts: read.restart_count,
            restart_policy: read.host_config.restart_policy.name,
        }
    }
}

/// The sentence in an answer that is a refusal.
pub(super) fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    serde_json::from_slice::<Refusal>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).trim().to_owned(), |said| said.message)
}

/// Docker writes names with a slash before them.
fn plain(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}
