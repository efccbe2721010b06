//! Which process belongs to which target, kept true by the kernel while processes come and go.
//!
//! A process belongs where it was when the roster was made, or where its parent belonged when it
//! was forked, or to the target into whose cgroup it was put (version 1 and 2 alike). It belongs
//! there until well after its end, so that a process that lived for a moment still has its name.
//!
//! The map is keyed by the numbers of the first pid namespace; the reader may live in another one,
//! as in a container.

use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};

use libbpf_rs::Iter;
use temblor_host::cgroup::Cgroups;
use temblor_host::target::{Origin, Target};

use crate::Error;
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::reader::pid_level;

crate::plain::generated!("roster");
use generated::types::{group_key, rodata};

plain!(rodata, group_key);

const NAME: &str = "roster";
const SEED: &str = "roster_seed";
/// The map that the probes share, by the name that it has in each of them.
pub(crate) const MEMBERS: &str = "members";

/// The targets of a run and their processes. Dropping it ends the following; the probes that share
/// its map keep what it knew.
#[derive(Debug)]
pub struct Roster {
    loaded: Loaded,
    targets: Vec<Target>,
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
        let cgroups = Cgroups::detect().map_err(|source| Error::System {
            doing: "look at the cgroups that are mounted".into(),
            source,
        })?;
        for (number, target) in (0_u32..).zip(targets) {
            let owns_group = target.origin != Origin::Processes;
            for dir in target.group.dirs().iter().filter(|_| owns_group) {
                // A group that is gone has no processes to come.
                let Ok(Some((hierarchy, inode))) = cgroups.identify(dir) else { continue };
                loaded.put("groups", &group_key { hierarchy, unused: 0, inode }, &number)?;
            }
        }
        loaded.attach_all(&[SEED])?;
        let roster = Self { loaded, targets: targets.to_vec() };
        // After the hooks are in place, so that nobody falls between.
        roster.take_in_everybody()?;
        Ok(roster)
    }

    fn take_in_everybody(&self) -> Result<(), Error> {
        for (number, target) in (0_u32..).zip(&self.targets) {
            for pid in target.processes_now() {
                self.loaded.put("named", &pid, &number)?;
            }
        }
        let link = self.loaded.attach(SEED)?;
        let mut iterator =
            Iter::new(&link).map_err(|source| Error::kernel("look at the processes", source))?;
        iterator.read_to_end(&mut Vec::new()).map_err(|source| Error::System {
            doing: "look at the processes that are there already".into(),
            source,
        })?;
        Ok(())
    }

    /// The targets, in the order of their numbers.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The map of members, for a probe to share.
    pub(crate) fn share<T>(&self, with: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T, Error> {
        Ok(with(self.loaded.map(MEMBERS)?.as_fd()))
    }
}
