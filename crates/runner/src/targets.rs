//! From the names in an experiment to targets on this machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use temblor_event::TargetSeen;
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::target::{Origin, Target};
use temblor_lab::State as LabState;
use temblor_plan::{Experiment, TargetSelector};

use crate::error::RunnerError;

/// Everything that is acted on or watched.
pub(crate) struct Targets {
    /// By the name in the experiment.
    by_alias: BTreeMap<String, Target>,
    /// The lab's services that the experiment does not name: watched, never acted on.
    others: Vec<Target>,
}

impl Targets {
    /// Finds the experiment's targets, and all services of the lab where there is one.
    pub(crate) fn find(
        experiment: &Experiment,
        lab: Option<&LabState>,
    ) -> Result<Self, RunnerError> {
        let mut by_alias = BTreeMap::new();
        for (alias, selector) in &experiment.targets {
            let target = match selector {
                TargetSelector::Service(service) => in_lab(alias, service, lab)?,
                TargetSelector::Pid(pid) => of_pid(alias, *pid)?,
            };
            by_alias.insert(alias.clone(), target);
        }
        let mut others = Vec::new();
        for target in
            lab.map(LabState::targets).transpose().map_err(lab_failed)?.unwrap_or_default()
        {
            if !by_alias.values().any(|t: &Target| t.service == target.service) {
                others.push(target);
            }
        }
        Ok(Self { by_alias, others })
    }

    /// The target that the experiment calls `alias`. The plan has checked that there is one.
    pub(crate) fn named(&self, alias: &str) -> Result<&Target, RunnerError> {
        self.by_alias
            .get(alias)
            .ok_or_else(|| RunnerError::Input(format!("unknown target \"{alias}\"")))
    }

    /// The address at which the instrument reaches a target, as it stands in a URL.
    pub(crate) fn host(&self, alias: &str) -> Result<String, RunnerError> {
        let target = self.named(alias)?;
        match target.addresses.first() {
            Some(IpAddr::V4(v4)) => Ok(v4.to_string()),
            Some(IpAddr::V6(v6)) => Ok(format!("[{v6}]")),
            None => Err(RunnerError::Input(format!("the target \"{alias}\" has no address"))),
        }
    }

    /// Every target once.
    pub(crate) fn all(&self) -> Vec<Target> {
        let mut all: Vec<Target> = Vec::new();
        for target in self.by_alias.values().chain(&self.others) {
            if !all.iter().any(|t| t.service == target.service) {
                all.push(target.clone());
            }
        }
        all
    }

    /// What is recorded of them.
    pub(crate) fn seen(&self) -> Vec<TargetSeen> {
        self.all()
            .into_iter()
            .map(|t| TargetSeen {
                aliases: self
                    .by_alias
                    .iter()
                    .filter(|(_, named)| named.service == t.service)
                    .map(|(alias, _)| alias.clone())
                    .collect(),
                service: t.service,
                pids: t.pids,
                addresses: t.addresses,
                netns: t.netns.inode(),
            })
            .collect()
    }
}

fn in_lab(alias: &str, service: &str, lab: Option<&LabState>) -> Result<Target, RunnerError> {
    let lab = lab.ok_or_else(|| {
        RunnerError::Input(format!(
            "the target \"{alias}\" is a service of the lab, and no lab is up: \
             add `lab: exchange` to the experiment, or run `temblor lab up`"
        ))
    })?;
    if !lab.services.iter().any(|s| s.name == service) {
        let known: Vec<&str> = lab.services.iter().map(|s| s.name.as_str()).collect();
        return Err(RunnerError::Input(format!(
            "the target \"{alias}\" is the service \"{service}\", which the lab does not have: \
             it has {}",
            known.join(", ")
        )));
    }
    lab.target(service).map_err(lab_failed)
}

fn lab_failed(error: temblor_lab::Error) -> RunnerError {
    RunnerError::failed("the lab's services could not be looked up")(error.into())
}

fn of_pid(alias: &str, pid: u32) -> Result<Target, RunnerError> {
    let netns = Netns::of_pid(pid).map_err(|e| {
        RunnerError::Input(format!(
            "the target \"{alias}\" is process {pid}, which cannot be looked at: {e}"
        ))
    })?;
    let name = temblor_host::process::name(pid).unwrap_or_else(|| "process".to_owned());
    let addresses = netns
        .run(temblor_host::target::addresses_here)
        .and_then(|addresses| addresses)
        .map_err(|e| {
            RunnerError::failed(format!("the addresses of process {pid} could not be read"))(
                e.into(),
            )
        })?;
    let group =
        Cgroups::detect().and_then(|cgroups| Group::of_pid(&cgroups, pid)).unwrap_or_default();
    Ok(Target {
        service: format!("{name}-{pid}"),
        pids: vec![pid],
        netns,
        addresses,
        group,
        origin: Origin::Processes,
    })
}
