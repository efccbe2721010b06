//! Whether a target shares its cgroup with others.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Target;
use crate::cgroup::{Cgroups, procs, subtree};
use crate::processes::Processes;

/// How many of the others a sentence names.
const NAMES_SHOWN: usize = 5;

/// Why a cgroup is not a target's own: whatever is done to the group is done to these as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    service: String,
    dir: Option<PathBuf>,
    is_root: bool,
    others: Vec<(u32, String)>,
}

impl Others {
    /// The processes that share the group, in the order of their pids.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.others.iter().map(|(pid, _)| *pid).collect()
    }

    /// Whether the group is the root of its hierarchy, which is everybody's.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.is_root
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = &self.service;
        let Some(dir) = self.dir.as_ref().map(|dir| dir.display()) else {
            return write!(f, "{service} has no cgroup that could be found");
        };
        if self.is_root {
            return write!(
                f,
                "{service} has no cgroup of its own: {dir} is the root, and what is done there is \
                 done to every process of the machine; run it in a container, a systemd unit or \
                 a cgroup of its own"
            );
        }
        let named =
            self.others.iter().take(NAMES_SHOWN).map(|(pid, name)| format!("{name} ({pid})"));
        let named: Vec<_> = named.collect();
        write!(f, "{service} shares the cgroup {dir} with {}", named.join(", "))?;
        match self.others.len().saturating_sub(NAMES_SHOWN) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        write!(f, ": what is done there is done to them as well; give it a cgroup of its own")
    }
}

impl std::error::Error for Others {}

impl Target {
    /// Whether its cgroup is its own in every hierarchy: not the root, and nobody in it or below
    /// it who is not of the target.
    ///
    /// # Errors
    /// It is not; who else is concerned.
    pub fn has_own_group(&self) -> Result<(), Others> {
        if self.group.dirs().is_empty() {
            return Err(self.others(None));
        }
        self.group.dirs().iter().try_for_each(|dir| self.owns(dir))
    }

    /// Whether one directory of its cgroup is its own. Version 1 has one for each controller, and
    /// a process may have a group of its own for memory and share that for the processor.
    ///
    /// # Errors
    /// It is not; who else is concerned.
    pub fn owns(&self, dir: &Path) -> Result<(), Others> {
        let cgroups = Cgroups::detect().map_err(|_| self.others(None))?;
        let is_root = cgroups.hierarchies().iter().any(|h| h.mount == dir);
        // The root's processes are not worth naming: they are all there are.
        if is_root {
            return Err(Others { is_root, ..self.others(Some(dir)) });
        }
        let all = Processes::read().map_err(|_| self.others(Some(dir)))?;
        let first = self.pids.iter().chain(&self.processes_now()).copied().collect::<BTreeSet<_>>();
        let below = first.iter().flat_map(|pid| all.descendants(*pid)).collect::<BTreeSet<_>>();
        let others: BTreeSet<u32> = subtree(dir)
            .iter()
            .flat_map(|dir| procs(dir))
            .filter(|pid| !first.contains(pid) && !below.contains(pid))
            .collect();
        // One that ended since the listing was read concerns nobody.
        let named = |pid: u32| all.get(pid).filter(|r| !r.has_ended).map(|r| (pid, r.name.clone()));
        let others: Vec<_> = others.into_iter().filter_map(named).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Others { others, ..self.others(Some(dir)) })
    }

    fn others(&self, dir: Option<&Path>) -> Others {
        Others {
            service: self.service.clone(),
            dir: dir.map(Path::to_path_buf),
            is_root: false,
            others: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_no_group_at_all_are_nobodys_own() {
        let mut target = crate::target::find::by_pid(std::process::id()).unwrap().remove(0);
        for hierarchy in Cgroups::detect().unwrap().hierarchies() {
            let others = target.owns(&hierarchy.mount).unwrap_err();
            assert!(others.is_root() && others.pids().is_empty(), "{others}");
            assert!(others.to_string().contains("is the root"), "{others}");
        }
        target.group = crate::cgroup::Group::default();
        let others = target.has_own_group().unwrap_err().to_string();
        assert!(others.ends_with("has no cgroup that could be found"), "{others}");
    }

    #[test]
    fn the_sentence_names_some_and_counts_the_rest() {
        let others = (10..17).map(|pid| (pid, format!("p{pid}"))).collect();
        let others = Others {
            service: "api".into(),
            dir: Some("/sys/fs/cgroup/x".into()),
            is_root: false,
            others,
        };
        let said = others.to_string();
        assert!(said.contains("p10 (10), p11 (11)"), "{said}");
        assert!(said.contains("p14 (14) and 2 more:"), "{said}");
        assert!(!said.contains("p15"), "{said}");
    }
}
