//! The container engine of this machine: Docker, or Podman by the same API.
//!
//! Asked and waited for, from plain threads. It serves to find containers, and for what only the
//! engine can do to them without its books going wrong: start, restart, and a kill that its
//! restart policy does not answer. Limits and networks are changed by way of the kernel, as for
//! any target.

mod answer;
mod error;
mod http;
mod socket;

pub use answer::{Container, Inspected};
pub use error::EngineError;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::target::Origin;
use http::{Question, ask, broke_off};

/// What a busy engine gets to answer, beyond what it was told to wait itself.
const ANSWER: Duration = Duration::from_secs(30);

/// The engine behind one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The engine of this machine: the one that `DOCKER_HOST` names, else Docker's, Podman's, and
    /// the user's own, whichever socket is there first.
    ///
    /// # Errors
    /// There is no socket, or `DOCKER_HOST` names another machine.
    pub fn from_environment() -> Result<Self, EngineError> {
        Ok(Self::at(socket::find()?))
    }

    /// The engine behind a socket.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The containers that have all these labels (`key=value`, or `key` for any value), those that
    /// do not run included, in the order of their names.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn list(&self, labels: &[&str]) -> Result<Vec<Container>, EngineError> {
        let filters = serde_json::json!({ "label": labels }).to_string();
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        let path = format!("/containers/json?all=1&filters={filters}");
        let listed: Vec<answer::Listed> = self.read(path, "list its containers")?;
        let mut containers: Vec<Container> = listed.into_iter().map(Into::into).collect();
        containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(containers)
    }

    /// One container as it is.
    ///
    /// # Errors
    /// There is none of that id or name, or the engine does not answer.
    pub fn inspect(&self, id: &str) -> Result<Inspected, EngineError> {
        let path = format!("{}/json", container(id));
        let read: answer::Read = self.read(path, &format!("inspect the container {id}"))?;
        Ok(read.into())
    }

    /// Starts a container that does not run.
    ///
    /// # Errors
    /// There is none, it cannot be started, or the engine does not answer.
    pub fn start(&self, id: &str) -> Result<(), EngineError> {
        let path = format!("{}/start", container(id));
        self.order(path, &format!("start the container {id}"), ANSWER)
    }

    /// Sends a signal (`SIGTERM`, or its number) to a container's main process. The engine takes a
    /// container that it killed itself for one that was meant to end, and does not start it again
    /// whatever its restart policy; to see the policy at work, signal the process instead.
    ///
    /// # Errors
    /// There is none, it does not run, or the engine does not answer.
    pub fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let signal = utf8_percent_encode(signal, NON_ALPHANUMERIC);
        let path = format!("{}/kill?signal={signal}", container(id));
        self.order(path, &format!("kill the container {id}"), ANSWER)
    }

    /// Stops a container and starts it again. It gets `grace` (whole seconds, rounded up) to stop
    /// by itself, and is killed then.
    ///
    /// # Errors
    /// There is none, it cannot be started again, or the engine does not answer.
    pub fn restart(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let path = format!("{}/restart?t={seconds}", container(id));
        let doing = format!("restart the container {id}");
        self.order(path, &doing, Duration::from_secs(seconds) + ANSWER)
    }

    fn order(&self, path: String, doing: &str, bound: Duration) -> Result<(), EngineError> {
        self.ask(&Question { method: Method::POST, path, doing, bound }).map(drop)
    }

    fn read<T: DeserializeOwned>(&self, path: String, doing: &str) -> Result<T, EngineError> {
        let question = Question { method: Method::GET, path, doing, bound: ANSWER };
        let answer = self.ask(&question)?;
        serde_json::from_slice(&answer).map_err(|source| broke_off(&self.socket, &question, source))
    }

    fn ask(&self, question: &Question<'_>) -> Result<Bytes, EngineError> {
        let (status, body) = ask(&self.socket, question)?;
        // 304: it was so already.
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        Err(EngineError::Said {
            doing: question.doing.to_owned(),
            status: status.as_u16(),
            said: answer::said(&body),
        })
    }
}

/// Has its engine stop a container and start it again; gives the new main process. It gets `grace`
/// to stop by itself, and is killed then.
///
/// # Errors
/// The target is no container, it did not come up again, or the engine does not answer.
pub fn restart(origin: &Origin, grace: Duration) -> Result<u32, EngineError> {
    let Origin::Container { socket, id } = origin else { return Err(EngineError::NotAContainer) };
    let engine = Engine::at(socket);
    engine.restart(id, grace)?;
    let now = engine.inspect(id)?;
    now.pid.ok_or(EngineError::NotRunning { name: now.name, state: now.state })
}

/// The path of one container. No version stands before it: what is asked here has been the same
/// since before Docker 20.10, and no one version is spoken by both that and the latest.
fn container(id: &str) -> String {
    format!("/containers/{}", utf8_percent_encode(id, NON_ALPHANUMERIC))
}

#[cfg(test)]
mod tests;
