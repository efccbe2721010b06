//! Which process belongs to which target, kept true by the kernel while processes come and go.
//!
//! A process belongs where it was when the roster was made, or where its parent belonged when it
//! was forked, or to the target into whose cgroup it was put (version 1 and 2 alike). It belongs
//! there until well after its end, so that a process that lived for a moment still has its name.
//!
//! The map is keyed by the numbers of the first pid namespace; the reader may live in another one,
//! as in a container.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};

use temblor_event::{Event, clock};
use temblor_host::cgroup::Cgroups;
use temblor_host::processes::Processes;
use temblor_host::target::{Origin, Target};

use crate::Error;
use crate::object::{Loaded, Loading, walk};
use crate::plain::plain;
use crate::reader::pid_level;
use crate::window::Losses;

crate::plain::generated!("roster");
use generated::types::{bss, group_key, rodata};

plain!(bss, rodata, group_key);

const NAME: &str = "roster";
const SEED: &str = "roster_seed";
/// The number that no target has, as `members.bpf.h` has it.
pub(crate) const NOBODY: u32 = u32::MAX;
/// The map that the probes share, by the name that it has in each of them.
pub(crate) const MEMBERS: &str = "members";
/// The map of the targets' cgroups, likewise.
pub(crate) const GROUPS: &str = "groups";

/// The targets of a run and their processes. Dropping it ends the following; the probes that share
/// its map keep what it knew.
#[derive(Debug)]
pub struct Roster {
    loaded: Loaded,
    targets: Vec<Target>,
    losses: Losses,
}

impl Roster {
    /// Begins to follow the targets' processes. A target's number is its place among them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn of(targets: &[Target]) -> Result<Self, Error> {
        let level = pid_level();
        let mut loaded = Loaded::load(&Loading::<rodata> {
            probe: NAME,
            object: OBJECT,
            wants: &|_| true,
            constants: &|constants| constants.pid_level = level,
            sizes: &[],
            without: &[],
            shared: &[],
        })?;
        let everybody: Vec<_> = (0_u32..).zip(targets).collect();
        watch_groups(&loaded, &everybody)?;
        loaded.attach_all(&[SEED])?;
        let roster = Self { loaded, targets: targets.to_vec(), losses: Losses::of(NAME) };
        roster.take_in(&everybody)?;
        Ok(roster)
    }

    /// Takes in the processes that a target has now: those that somebody has started again, whom
    /// no fork of the target's tells of. Its cgroup may be another of the same name.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn follow(&mut self, target: &Target) -> Result<(), Error> {
        let same = |one: &Target| one.service == target.service;
        let Some(at) = self.targets.iter().position(same) else { return Ok(()) };
        self.targets[at] = target.clone();
        let number = u32::try_from(at).unwrap_or(NOBODY);
        watch_groups(&self.loaded, &[(number, target)])?;
        self.take_in(&[(number, target)])
    }

    /// After the hooks are in place; and twice, because a child that is forked between being listed
    /// and its parent's being taken in falls between. The second time its parent is in.
    fn take_in(&self, targets: &[(u32, &Target)]) -> Result<(), Error> {
        self.take_in_once(targets)?;
        self.take_in_once(targets)
    }

    fn take_in_once(&self, targets: &[(u32, &Target)]) -> Result<(), Error> {
        let system = |source| Error::System { doing: "look at the processes".into(), source };
        let all = Processes::read().map_err(system)?;
        let mut named = BTreeSet::new();
        for (number, target) in targets {
            for pid in target.processes_now() {
                // As with those that are forked later: a child belongs where its parent does.
                for pid in all.descendants(pid).into_iter().chain([pid]) {
                    self.loaded.put("named", &pid, number)?;
                    named.insert(pid);
                }
            }
        }
        // Last: it may descend from a target itself.
        self.loaded.put("named", &std::process::id(), &NOBODY)?;
        let link = self.loaded.attach(SEED)?;
        walk(&link, "the processes that are there already")?;
        // The next time their numbers may be others'.
        named.iter().try_for_each(|pid| self.loaded.remove("named", pid))
    }

    /// The targets, in the order of their numbers.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Says how many processes could not be followed because there was no room for them, if any, and
    /// what following the others has cost so far.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn account(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        self.losses.tell(clock::now_ns(), counters.members_lost, sink);
        sink(Event::now(self.loaded.cost(0)?));
        Ok(())
    }

    /// The map of members, for a probe to share.
    pub(crate) fn share<T>(&self, with: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T, Error> {
        Ok(with(self.loaded.map(MEMBERS)?.as_fd()))
    }

    /// The maps of members and of their cgroups.
    pub(crate) fn share_groups<T>(
        &self,
        with: impl FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> T,
    ) -> Result<T, Error> {
        Ok(with(self.loaded.map(MEMBERS)?.as_fd(), self.loaded.map(GROUPS)?.as_fd()))
    }
}

/// Whatever comes into the targets' cgroups is theirs.
fn watch_groups(loaded: &Loaded, targets: &[(u32, &Target)]) -> Result<(), Error> {
    let cgroups = Cgroups::detect().map_err(|source| Error::System {
        doing: "look at the cgroups that are mounted".into(),
        source,
    })?;
    for (number, target) in targets {
        let owns_group = target.origin != Origin::Processes;
        for dir in target.group.dirs().iter().filter(|_| owns_group) {
            // A group that is gone has no processes to come.
            let Ok(Some((hierarchy, inode))) = cgroups.identify(dir) else { continue };
            loaded.put(GROUPS, &group_key { hierarchy, unused: 0, inode }, number)?;
        }
    }
    Ok(())
}
