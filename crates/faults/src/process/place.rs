//! The cgroup in which a limit reaches a target and nobody else: its own, or one of ours that it
//! is moved into and out of again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use temblor_host::cgroup::{Cgroups, Group, Hierarchy};
use temblor_host::target::Target;

use super::members::Roll;
use super::record::OnRecord;
use super::watch::within;
use crate::undo::{Guard, MoveBack, Undo};
use crate::{Error, PlannedChange, Result};

/// For the processes that were started while the others were moved to be moved as well.
const MOVED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a place is wanted for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The controller, the same in both versions.
    pub(crate) controller: &'static str,
    /// A version 1 controller that counts what this one limits, if it is another one.
    pub(crate) counted_by: Option<&'static str>,
    /// The control file of version 2.
    pub(crate) v2: &'static str,
    /// The control file of version 1.
    pub(crate) v1: &'static str,
}

/// Where a limit is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the target's own group: this directory.
    Own(PathBuf),
    /// In a group of ours, made in these directories, since the target shares its own.
    Ours(Vec<PathBuf>),
}

impl Place {
    /// Looks for it, and changes nothing.
    pub(crate) fn find(target: &Target, wanted: Wanted) -> Result<Self> {
        let roll = Roll::of(target);
        let files = [wanted.v2, wanted.v1];
        if let Some(dir) = roll.own_file(&files).as_deref().and_then(Path::parent) {
            return Ok(Self::Own(dir.to_path_buf()));
        }
        let main = roll.main().ok_or_else(|| super::ProcessRefusal::NoProcesses {
            service: target.service.clone(),
        })?;
        // What a container or a unit is in is its keeper's to arrange.
        if roll.is_by_group() {
            return Err(Error::Missing {
                what: format!("a cgroup of {} with {}", target.service, files.join(" or ")),
                how: format!(
                    "enable the {} controller for it (in cgroup.subtree_control of the group \
                     above)",
                    wanted.controller
                ),
            });
        }
        roll.refuse_ourselves(&roll.members())?;
        let cgroups = Cgroups::detect().map_err(|e| Error::system("look at the cgroups", e))?;
        let now = cgroups
            .of_pid(main)
            .map_err(|e| Error::system(format!("look at the cgroups of process {main}"), e))?;
        let controllers = std::iter::once(wanted.controller).chain(wanted.counted_by);
        let mut above: Vec<PathBuf> = Vec::new();
        for controller in controllers {
            let of = now.iter().find(|(h, _)| h.controllers.iter().any(|c| c == controller));
            // Version 1: below the group that it is in, whose limits go on holding.
            above.extend(of.map(|(_, dir)| dir.clone()).filter(|dir| !above.contains(dir)));
        }
        if above.is_empty() {
            above.push(above_in_v2(&now, wanted)?);
        }
        let name = next_name();
        Ok(Self::Ours(above.iter().map(|dir| dir.join(&name)).collect()))
    }

    /// The directory with the limit's control file.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Own(dir) => dir,
            Self::Ours(dirs) => dirs.first().map_or(Path::new("/"), PathBuf::as_path),
        }
    }

    /// The directory in which this control file is: version 1 has one a controller.
    pub(crate) fn with_file(&self, name: &str, target: &Target) -> Option<PathBuf> {
        match self {
            Self::Own(dir) if dir.join(name).is_file() => Some(dir.join(name)),
            Self::Own(_) => Roll::of(target).own_file(&[name]),
            Self::Ours(dirs) => dirs.iter().map(|dir| dir.join(name)).find(|file| file.is_file()),
        }
    }

    /// Where a process goes that is to be counted and limited as the target's main one is: that
    /// one's own groups, which may lie below the limited one.
    pub(crate) fn dirs(&self, target: &Target, wanted: Wanted) -> Vec<PathBuf> {
        let own = match self {
            Self::Ours(dirs) => return dirs.clone(),
            Self::Own(dir) => dir,
        };
        let cgroups = Cgroups::detect().ok();
        let main = Roll::of(target).main();
        let now = cgroups.as_ref().zip(main).and_then(|(all, pid)| all.of_pid(pid).ok());
        let is_counted = |h: &Hierarchy| {
            let mut names = h.controllers.iter();
            names.any(|c| c == wanted.controller || Some(c.as_str()) == wanted.counted_by)
        };
        let now = now.unwrap_or_default();
        let mut dirs: Vec<PathBuf> = now
            .iter()
            // The limited group itself is in version 1 or in version 2.
            .filter(|(h, dir)| is_counted(h) || dir.starts_with(own))
            .map(|(_, dir)| dir.clone())
            .collect();
        // Between two lives it is in none: then it goes where the next one will be.
        if !dirs.iter().any(|dir| dir.starts_with(own)) {
            dirs = vec![own.clone()];
        }
        dirs
    }

    /// What moving there would change.
    pub(crate) fn plan(&self, target: &Target) -> Option<PlannedChange> {
        let Self::Ours(dirs) = self else { return None };
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Some(PlannedChange {
            what: format!(
                "make the cgroup {} and move the processes of {} into it, since it shares its own",
                dirs.join(" and "),
                target.service
            ),
            undo: "move them back where they came from, and remove it".into(),
        })
    }

    /// Moves the target there, if it is not there already.
    pub(crate) fn enter(
        &self,
        target: &Target,
        guard: &Guard,
        record: &mut OnRecord,
    ) -> Result<()> {
        let Self::Ours(dirs) = self else { return Ok(()) };
        let roll = Roll::of(target);
        let undo = MoveBack::about_to_move(dirs.clone(), &roll.members())?;
        record.add(guard, Undo::MoveBack(undo.clone()))?;
        undo.make()?;
        undo.enter()?;
        // Those that were started meanwhile are children of those that were moved, and go back
        // with them.
        let group = Group::recorded(dirs.clone());
        let all_in = || {
            let inside = super::members::in_all(dirs);
            let late: Vec<u32> =
                roll.members().into_iter().filter(|pid| !inside.contains(pid)).collect();
            // One that has ended cannot be moved; the next look shows who is left.
            late.iter().for_each(|pid| drop(group.attach(*pid)));
            late.is_empty()
        };
        if within(MOVED_WITHIN, LOOK_AGAIN, all_in) {
            return Ok(());
        }
        let doing = format!("move every process of {} into {}", target.service, dirs[0].display());
        Err(Error::system(doing, std::io::Error::from(std::io::ErrorKind::TimedOut)))
    }
}

/// Version 2: beside the group that it is in, since a group with processes of its own cannot hand
/// controllers down; below the root, which can.
fn above_in_v2(now: &[(&Hierarchy, PathBuf)], wanted: Wanted) -> Result<PathBuf> {
    let lacking = |what: String| Error::Missing {
        what,
        how: format!(
            "write +{} to cgroup.subtree_control of the group above, or give the target a cgroup, \
             a container or a unit of its own",
            wanted.controller
        ),
    };
    let unified = now.iter().find(|(hierarchy, _)| hierarchy.unified);
    let Some((hierarchy, dir)) = unified else {
        return Err(lacking(format!(
            "a cgroup hierarchy with the {} controller",
            wanted.controller
        )));
    };
    let above = if *dir == hierarchy.mount { Some(dir.as_path()) } else { dir.parent() };
    let above = above.map(Path::to_path_buf).unwrap_or_default();
    let handed = std::fs::read_to_string(above.join("cgroup.subtree_control")).unwrap_or_default();
    if !handed.split_whitespace().any(|c| c == wanted.controller) {
        return Err(lacking(format!(
            "the {} controller in the cgroups below {}",
            wanted.controller,
            above.display()
        )));
    }
    Ok(above)
}

fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("temblor-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
