//! What a supervisor writes down about its lab.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temblor_host::cgroup::Group;
use temblor_host::netns::Netns;
use temblor_host::process::Identity;
use temblor_host::target::{Origin, Target};

use crate::error::{Doing, Error, Result};
use crate::range::Range;

/// A lab as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The lab's name.
    pub lab: String,
    /// Where the lab stands as a whole.
    pub phase: Phase,
    /// Who keeps it.
    pub supervisor: Identity,
    /// When it was started, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Its network.
    pub network: NetworkState,
    /// The directory of its data.
    pub data_dir: PathBuf,
    /// The cgroups above those of the services.
    pub cgroups: Vec<PathBuf>,
    /// Its services, in the order of the lab's file.
    pub services: Vec<ServiceState>,
}

/// Where a lab stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not every service has been healthy yet.
    Starting,
    /// Every service has been healthy.
    Up,
    /// It is being taken down.
    Stopping,
    /// Its supervisor died without taking it down. Never written: a reader finds out.
    Stale,
}

/// A lab's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// Its range.
    pub range: Range,
    /// The host's link to it.
    pub link: String,
    /// The host's address on that link.
    pub host_address: Ipv4Addr,
}

/// One service as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: ServiceStatus,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// What was the matter last, if something was.
    pub problem: Option<String>,
    /// Its main process.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Its address in the lab.
    pub address: Ipv4Addr,
    /// The port it serves.
    pub port: u16,
    /// The inode of its network namespace.
    pub netns_inode: u64,
    /// The descriptor by which the supervisor holds that namespace open.
    pub netns_fd: i32,
    /// Its cgroup, one directory a hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// Its log.
    pub log: PathBuf,
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    /// It waits for another one, or is being prepared.
    Waiting,
    /// It runs and has not been healthy yet.
    Starting,
    /// Its last health check answered.
    Healthy,
    /// It was healthy, and its last health check did not answer.
    Unhealthy,
    /// It died and will be started again.
    Backoff,
    /// It was stopped.
    Stopped,
    /// It could not be started.
    Failed,
}

impl State {
    /// The service of that name as a target.
    ///
    /// # Errors
    /// There is no such service, or it has no process now.
    pub fn target(&self, service: &str) -> Result<Target> {
        let Some(found) = self.services.iter().find(|s| s.name == service) else {
            let known: Vec<_> = self.services.iter().map(|s| s.name.as_str()).collect();
            return Err(Error::Service(format!(
                "the lab {} has no service {service:?}; it has {}",
                self.lab,
                known.join(", ")
            )));
        };
        let mut pids = Group::recorded(found.cgroups.clone()).processes();
        if pids.is_empty() {
            return Err(Error::Service(format!(
                "{service} has no process now; `temblor lab status` and {} say why",
                found.log.display()
            )));
        }
        // The main process first, its children after it; the sort keeps their order.
        pids.sort_by_key(|pid| Some(*pid) != found.pid);
        Ok(Target {
            service: found.name.clone(),
            netns: self.netns(found, pids[0])?,
            pids,
            addresses: vec![IpAddr::V4(found.address)],
            group: Group::recorded(found.cgroups.clone()),
            origin: Origin::Lab,
        })
    }

    /// All services as targets.
    ///
    /// # Errors
    /// One has no process now.
    pub fn targets(&self) -> Result<Vec<Target>> {
        self.services.iter().map(|service| self.target(&service.name)).collect()
    }

    /// The namespace as the supervisor holds it, which is right even for a process that was moved
    /// or is just being started; by way of the process where that is not to be had.
    fn netns(&self, service: &ServiceState, pid: u32) -> Result<Netns> {
        let held = format!("/proc/{}/fd/{}", self.supervisor.pid, service.netns_fd);
        let held = fs::File::open(held).and_then(Netns::open);
        match held {
            Ok(netns) if netns.inode() == service.netns_inode => Ok(netns),
            _ => Netns::of_pid(pid)
                .doing(|| format!("open the network namespace of {} ({pid})", service.name)),
        }
    }

    /// Reads a state, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.doing(|| format!("read the lab's state {}", path.display()))?,
        };
        let state = serde_json::from_str(&text).map_err(io::Error::from).doing(|| {
            format!(
                "read the lab's state {} (another version's? remove it when no lab is running)",
                path.display()
            )
        })?;
        Ok(Some(state))
    }

    /// Replaces the file as a whole, so that a reader never sees half a state.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&new, text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(&new, path)
    }
}
