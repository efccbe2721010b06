//! A fault's values, as the faults themselves take them.

use std::net::IpAddr;
use std::time::Duration;

use temblor_faults::Fault;
use temblor_faults::network::{Peer, Prefix};
use temblor_host::target::Target;
use temblor_plan::Fault as Planned;
use temblor_plan::fault::Value;

use super::Faults;
use crate::error::RunnerError;
use crate::targets::Targets;

/// The values of one fault. The plan has checked them: what the table requires is there, and
/// each has the kind that the table gives it.
pub(super) struct Values<'a> {
    planned: &'a Planned,
    targets: &'a Targets,
    /// Seeds what the fault draws.
    pub(super) seed: u64,
}

impl<'a> Values<'a> {
    pub(super) fn new(planned: &'a Planned, targets: &'a Targets, seed: u64) -> Self {
        Self { planned, targets, seed }
    }

    pub(super) fn name(&self) -> &'static str {
        self.planned.name()
    }

    /// The instances of the target that the fault acts on.
    pub(super) fn targets(&self, name: &'static str) -> Result<&'a [Target], RunnerError> {
        match self.planned.values.get(name) {
            Some(Value::Target(alias)) => self.targets.instances(alias),
            _ => Err(self.lacks(name)),
        }
    }

    /// One fault for each instance of the target.
    pub(super) fn on_each<F: Fault + 'static>(
        &self,
        make: impl Fn(Target) -> Result<F, RunnerError>,
    ) -> Result<Faults, RunnerError> {
        let mut faults = Faults::new();
        for target in self.targets("target")? {
            faults.push(Box::new(make(target.clone())?));
        }
        Ok(faults)
    }

    /// The one instance of a target that is only named.
    pub(super) fn other(&self, name: &'static str) -> Result<Option<&'a Target>, RunnerError> {
        match self.planned.values.get(name) {
            Some(Value::Target(alias)) => self.targets.named(alias).map(Some),
            _ => Ok(None),
        }
    }

    /// The addresses of the other side; empty where none is given.
    pub(super) fn peers(&self, name: &'static str) -> Result<Vec<Peer>, RunnerError> {
        let Some(Value::Peers(given)) = self.planned.values.get(name) else {
            return Ok(Vec::new());
        };
        let mut peers = Vec::new();
        for alias in &given.targets {
            for target in self.targets.instances(alias)? {
                if target.addresses.is_empty() {
                    return Err(RunnerError::Input(format!(
                        "{}: the target \"{alias}\" has no address",
                        self.name()
                    )));
                }
                peers.extend(target.addresses.iter().map(|a| peer(&target.service, *a)));
            }
        }
        for address in &given.addresses {
            let prefix = address
                .parse::<Prefix>()
                .map_err(|e| RunnerError::Input(format!("{}: {e}", self.name())))?;
            peers.push(Peer { name: address.clone(), address: prefix });
        }
        Ok(peers)
    }

    pub(super) fn ports(&self, name: &'static str) -> Vec<u16> {
        match self.planned.values.get(name) {
            Some(Value::Ports(ports)) => ports.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn duration(&self, name: &'static str) -> Option<Duration> {
        match self.planned.values.get(name) {
            Some(Value::Duration(d)) => Some(*d),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &'static str) -> Option<f64> {
        match self.planned.values.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn count(&self, name: &'static str) -> Option<u64> {
        match self.planned.values.get(name) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        match self.planned.values.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &'static str) -> Vec<String> {
        match self.planned.values.get(name) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> bool {
        matches!(self.planned.values.get(name), Some(Value::Flag(true)))
    }

    pub(super) fn offset(&self, name: &'static str) -> Option<(Duration, bool)> {
        match self.planned.values.get(name) {
            Some(Value::Offset { by, back }) => Some((*by, *back)),
            _ => None,
        }
    }

    /// A value that the table requires and that is not there: the table and this part disagree.
    pub(super) fn lacks(&self, name: &str) -> RunnerError {
        RunnerError::Input(format!("{} wants `{name}`", self.name()))
    }

    pub(super) fn unknown(&self) -> RunnerError {
        RunnerError::Input(format!("{} cannot be put in place by this program", self.name()))
    }
}

fn peer(name: &str, address: IpAddr) -> Peer {
    Peer { name: name.to_owned(), address: Prefix::from(address) }
}
