//! From the names in an experiment to targets on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use temblor_event::TargetSeen;
use temblor_host::engine::Engine;
use temblor_host::netns::Netns;
use temblor_host::protected;
use temblor_host::target::{Origin, Target, find, pick};
use temblor_lab::State as LabState;
use temblor_plan::{Experiment, Find};

use crate::error::RunnerError;
use crate::http::chain;

/// Everything that is acted on or watched.
pub(crate) struct Targets {
    /// By the name in the experiment; never empty.
    by_alias: BTreeMap<String, Vec<Target>>,
    /// The lab's services that the experiment does not name: watched, never acted on.
    others: Vec<Target>,
}

impl Targets {
    /// Finds the experiment's targets, and all services of the lab where there is one. Which of
    /// several instances are meant is drawn by `seed`; who must not be acted on is refused.
    pub(crate) fn find(
        experiment: &Experiment,
        lab: Option<&LabState>,
        seed: u64,
    ) -> Result<Self, RunnerError> {
        let acted_on: BTreeSet<&str> = experiment
            .phases
            .iter()
            .flat_map(|phase| &phase.inject)
            .flat_map(temblor_plan::Fault::acts_on)
            .collect();
        let allowed = allowed(experiment)?;
        let mut by_alias = BTreeMap::new();
        for (alias, selector) in &experiment.targets {
            let refused = |why: String| {
                RunnerError::Input(format!("the target \"{alias}\" is not acted on: {why}"))
            };
            // Some of those who must not be touched cannot even be looked at.
            if let Find::Pid(pid) = selector.find
                && acted_on.contains(alias.as_str())
                && let Some(protected) = protected::reason(pid)
                && !allowed.contains(&protected.word)
            {
                return Err(refused(chain(&protected::Refused::Processes(vec![protected]))));
            }
            let found = find(alias, &selector.find, lab)?;
            let matched = found.len();
            let chosen = pick::choose(found, picked(selector.pick), seed)
                .map_err(|e| RunnerError::Input(format!("the target \"{alias}\": {e}")))?;
            if acted_on.contains(alias.as_str()) {
                protected::check(&chosen, &allowed).map_err(|e| refused(chain(&e)))?;
                protected::check_share(matched, chosen.len(), experiment.safety.share, &allowed)
                    .map_err(|e| refused(chain(&e)))?;
            }
            by_alias.insert(alias.clone(), chosen);
        }
        let mut others = Vec::new();
        for target in
            lab.map(LabState::targets).transpose().map_err(lab_failed)?.unwrap_or_default()
        {
            if !by_alias.values().flatten().any(|t: &Target| t.service == target.service) {
                others.push(target);
            }
        }
        Ok(Self { by_alias, others })
    }

    /// Names for each target that is acted on. Two that share a process, a cgroup, a container or a
    /// namespace of its own have a name in common, however they were found.
    pub(crate) fn lock_names(&self, experiment: &Experiment) -> Vec<String> {
        let shared = Netns::of_this_thread().map(|netns| netns.inode()).ok();
        let acted_on = experiment.phases.iter().flat_map(|phase| &phase.inject);
        let names: BTreeSet<String> = acted_on
            .flat_map(temblor_plan::Fault::acts_on)
            .filter_map(|alias| self.by_alias.get(alias))
            .flatten()
            .flat_map(|target| lock_names(target, shared))
            .collect();
        names.into_iter().collect()
    }

    /// Every instance of the target that the experiment calls `alias`; at least one. The plan has
    /// checked that there is such a target.
    pub(crate) fn instances(&self, alias: &str) -> Result<&[Target], RunnerError> {
        self.by_alias
            .get(alias)
            .map(Vec::as_slice)
            .filter(|instances| !instances.is_empty())
            .ok_or_else(|| RunnerError::Input(format!("unknown target \"{alias}\"")))
    }

    /// The first instance of the target that the experiment calls `alias`.
    pub(crate) fn named(&self, alias: &str) -> Result<&Target, RunnerError> {
        Ok(&self.instances(alias)?[0])
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
        for target in self.by_alias.values().flatten().chain(&self.others) {
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
                    .filter(|(_, named)| named.iter().any(|n| n.service == t.service))
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

/// The words of the experiment's `allow`; the plan has checked them.
fn allowed(experiment: &Experiment) -> Result<Vec<protected::Word>, RunnerError> {
    let words = experiment.safety.allow.iter();
    words
        .map(|word| {
            word.parse().map_err(|e: protected::UnknownWord| RunnerError::Input(e.to_string()))
        })
        .collect()
}

fn picked(pick: temblor_plan::Pick) -> pick::Pick {
    match pick {
        temblor_plan::Pick::All => pick::Pick::All,
        temblor_plan::Pick::Count(n) => pick::Pick::Count(n),
        temblor_plan::Pick::Share(share) => pick::Pick::Share(share),
    }
}

/// Why nobody was found.
pub(crate) struct NotFound {
    pub(crate) why: RunnerError,
    /// A later look may find somebody.
    pub(crate) may_come: bool,
}

/// Every instance that there is. Whether it may be acted on is not looked at.
pub(crate) fn find(
    alias: &str,
    how: &Find,
    lab: Option<&LabState>,
) -> Result<Vec<Target>, RunnerError> {
    look(alias, how, lab).map_err(|none| none.why)
}

/// The same, for whoever looks again.
pub(crate) fn look(
    alias: &str,
    how: &Find,
    lab: Option<&LabState>,
) -> Result<Vec<Target>, NotFound> {
    let engine = || engine(alias).map_err(|why| NotFound { why, may_come: true });
    let found = match how {
        Find::Service(service) => return Ok(vec![in_lab(alias, service, lab)?]),
        Find::Pid(pid) => find::by_pid(*pid),
        Find::Process(name) => find::by_process_name(name),
        Find::Cgroup(path) => find::by_cgroup(path),
        Find::Unit(name) => find::by_unit(name),
        Find::Container(name) => find::by_container(&engine()?, name),
        Find::Label(label) => find::by_label(&engine()?, label),
        Find::Compose { service, project } => {
            find::by_compose_service(&engine()?, service, project.as_deref())
        }
    };
    found.map_err(|error| {
        let why = format!("the target \"{alias}\" was not found: {}", chain(&error));
        // A process that is gone is gone, whoever has its number later.
        let may_come = error.may_come() && !matches!(how, Find::Pid(_));
        NotFound { why: RunnerError::Input(why), may_come }
    })
}

fn in_lab(alias: &str, service: &str, lab: Option<&LabState>) -> Result<Target, NotFound> {
    let lab = lab.ok_or_else(|| {
        let why = format!(
            "the target \"{alias}\" is a service of the lab, and no lab is up: \
             add `lab: exchange` to the experiment, or run `temblor lab up`"
        );
        NotFound { why: RunnerError::Input(why), may_come: true }
    })?;
    if !lab.services.iter().any(|s| s.name == service) {
        let known: Vec<&str> = lab.services.iter().map(|s| s.name.as_str()).collect();
        let why = format!(
            "the target \"{alias}\" is the service \"{service}\", which the lab does not have: \
             it has {}",
            known.join(", ")
        );
        return Err(NotFound { why: RunnerError::Input(why), may_come: false });
    }
    lab.target(service).map_err(|error| NotFound { why: lab_failed(error), may_come: true })
}

pub(crate) fn lab_failed(error: temblor_lab::Error) -> RunnerError {
    RunnerError::failed("the lab's services could not be looked up")(error.into())
}

/// The container engine of this machine.
fn engine(alias: &str) -> Result<Engine, RunnerError> {
    Engine::from_environment().map_err(|error| {
        RunnerError::Input(format!("the target \"{alias}\" is a container: {}", chain(&error)))
    })
}
/// `shared` is the machine's own network namespace, in which many are that have nothing in common.
fn lock_names(target: &Target, shared: Option<u64>) -> Vec<String> {
    let mut names: Vec<String> = target.pids.iter().map(|pid| format!("process-{pid}")).collect();
    if Some(target.netns.inode()) != shared {
        names.push(format!("namespace-{}", target.netns.inode()));
    }
    // Processes and namespaces come and go with a restart; these stay.
    if target.origin != Origin::Processes
        && let Some(dir) = target.group.dirs().first()
    {
        let path = dir.display().to_string().replace('/', "-");
        // The end of a path tells it from others, and the name of a file has an end, too.
        let from = path.char_indices().rev().nth(199).map_or(0, |(at, _)| at);
        names.push(format!("group{}", &path[from..]));
    }
    if let Origin::Container { id, .. } = &target.origin {
        names.push(format!("container-{id}"));
    }
    names
}
