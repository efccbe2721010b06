//! Queues, filters and interfaces of ours in a network namespace.

use std::io;

use serde::{Deserialize, Serialize};
use temblor_host::boot_id;
use temblor_host::netns::Netns;

use super::{Undoing, Undone, namespace};
use crate::netlink::Netlink;
use crate::{Error, Result, tc};

/// One thing of ours in the traffic control of a network namespace. Each is made where there was
/// none but the kernel's own, and so is undone by being taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qdisc {
    /// The namespace's inode.
    namespace: u64,
    boot_id: String,
    /// The interface, as people know it.
    interface: String,
    what: What,
}

/// What of ours it is, and how it is told from everybody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// The queue at the interface's root: its handle was drawn by lot.
    Root { link: u32, handle: u32, kind: String },
    /// Filters on what comes in, known by their preferences, and the place for them, which is ours
    /// if nothing else is in it while `helper` is there.
    Ingress { link: u32, preferences: (u16, u16), helper: String },
    /// An interface of the kind `ifb`, known by its name, which was drawn by lot.
    Link,
}

impl Qdisc {
    fn new(namespace: &Netns, interface: &str, what: What) -> Result<Self> {
        let boot_id = boot_id().map_err(|e| Error::system("read the boot's id", e))?;
        Ok(Self { namespace: namespace.inode(), boot_id, interface: interface.to_owned(), what })
    }

    /// Before a queue of a kind is put at the root of an interface, with a handle that nobody
    /// else has.
    pub(crate) fn about_to_add_root(
        namespace: &Netns,
        link: &tc::Link,
        handle: u32,
        kind: &str,
    ) -> Result<Self> {
        let what = What::Root { link: link.index, handle, kind: kind.to_owned() };
        Self::new(namespace, &link.name, what)
    }

    /// Before what comes in at an interface is caught by filters with preferences from the first
    /// to the second, and given to the interface `helper` of ours.
    pub(crate) fn about_to_add_ingress(
        namespace: &Netns,
        link: &tc::Link,
        preferences: (u16, u16),
        helper: &str,
    ) -> Result<Self> {
        let what = What::Ingress { link: link.index, preferences, helper: helper.to_owned() };
        Self::new(namespace, &link.name, what)
    }

    /// Before an interface of the kind `ifb` is made, with a name that nobody else has.
    pub(crate) fn about_to_add_link(namespace: &Netns, name: &str) -> Result<Self> {
        Self::new(namespace, name, What::Link)
    }

    /// Does something in the namespace. None: the namespace is gone, and all in it.
    fn inside<T: Send>(
        &self,
        work: impl FnOnce(&mut Netlink) -> io::Result<T> + Send,
    ) -> Result<Option<T>> {
        if !boot_id().is_ok_and(|boot| boot == self.boot_id) {
            return Ok(None);
        }
        let failed = |e| Error::system(self.words(), e);
        let Some(namespace) = namespace::find(self.namespace).map_err(failed)? else {
            return Ok(None);
        };
        let done = namespace.run(|| tc::open().and_then(|mut kernel| work(&mut kernel)));
        done.map_err(failed)?.map(Some).map_err(failed)
    }

    /// What of it is there now.
    fn find(&self, kernel: &mut Netlink) -> io::Result<Found> {
        match &self.what {
            What::Root { link, handle, kind } => {
                let root = tc::qdiscs(kernel)?
                    .into_iter()
                    .find(|qdisc| qdisc.link == *link && qdisc.parent == tc::ROOT);
                Ok(match root {
                    Some(root) if root.handle == *handle && root.kind == *kind => Found::Root,
                    Some(root) if root.handle != 0 => Found::Foreign(root.kind),
                    _ => Found::Nothing,
                })
            }
            What::Link => Ok(tc::links(kernel)?
                .into_iter()
                .find(|link| link.name == self.interface && link.kind.as_deref() == Some("ifb"))
                .map_or(Found::Nothing, |link| Found::Link(link.index))),
            What::Ingress { link, preferences, helper } => {
                let is_there = tc::qdiscs(kernel)?.iter().any(|qdisc| {
                    qdisc.link == *link && qdisc.parent == tc::INGRESS && qdisc.kind == "ingress"
                });
                if !is_there {
                    return Ok(Found::Nothing);
                }
                let (ours, others): (Vec<_>, Vec<_>) =
                    tc::filters(kernel, *link, tc::INGRESS_HANDLE)?.into_iter().partition(
                        |filter| {
                            filter.kind == "flower"
                                && (preferences.0..=preferences.1).contains(&filter.preference)
                        },
                    );
                if !others.is_empty() {
                    return Ok(if ours.is_empty() {
                        Found::Foreign("ingress".into())
                    } else {
                        Found::Filters(ours)
                    });
                }
                let half_way =
                    ours.is_empty() && tc::links(kernel)?.iter().any(|other| other.name == *helper);
                Ok(if half_way || !ours.is_empty() {
                    Found::Ingress
                } else {
                    Found::Foreign("ingress".into())
                })
            }
        }
    }

    fn take_away(&self, kernel: &mut Netlink, found: &Found) -> io::Result<()> {
        match (found, &self.what) {
            (Found::Root, What::Root { link, handle, .. }) => {
                tc::delete_qdisc(kernel, *link, *handle, tc::ROOT)
            }
            (Found::Link(index), _) => tc::delete_link(kernel, *index),
            (Found::Ingress, What::Ingress { link, .. }) => {
                tc::delete_qdisc(kernel, *link, tc::INGRESS_HANDLE, tc::INGRESS)
            }
            (Found::Filters(ours), What::Ingress { link, .. }) => {
                // Those of one preference go together, so the same one may be listed again.
                let mut ours = ours.clone();
                ours.dedup();
                ours.iter().try_for_each(|filter| {
                    tc::delete_filters(kernel, *link, tc::INGRESS_HANDLE, filter)
                })
            }
            _ => Ok(()),
        }
    }
}

/// What of an undo is there.
enum Found {
    Nothing,
    /// Somebody else's, of this kind, where ours was to be.
    Foreign(String),
    Root,
    Link(u32),
    /// The place for filters, with nothing but ours in it.
    Ingress,
    /// Filters of ours beside somebody else's.
    Filters(Vec<tc::Filter>),
}

impl Undoing for Qdisc {
    fn words(&self) -> String {
        let interface = &self.interface;
        match &self.what {
            What::Root { handle, kind, .. } => format!(
                "take the qdisc {kind} {:x}: off the root of {interface} (network namespace {})",
                handle >> 16,
                self.namespace
            ),
            What::Ingress { .. } => format!(
                "take our filters off what comes in at {interface} (network namespace {})",
                self.namespace
            ),
            What::Link => {
                format!("remove the interface {interface} (network namespace {})", self.namespace)
            }
        }
    }

    fn undo(&self) -> Result<Undone> {
        let done = self.inside(|kernel| {
            let found = self.find(kernel)?;
            match (self.take_away(kernel, &found), found) {
                (Ok(()), found) => Ok(found),
                // Somebody was faster: whatever is there now is not ours.
                (Err(error), _) if is_gone(&error) => Ok(Found::Nothing),
                (Err(error), _) => Err(error),
            }
        })?;
        Ok(match done {
            None => Undone::NotOurs(format!("the network namespace {} is gone", self.namespace)),
            Some(Found::Nothing) => Undone::Nothing,
            Some(Found::Foreign(kind)) => Undone::NotOurs(format!(
                "{} has a qdisc {kind} that is somebody else's",
                self.interface
            )),
            Some(_) => Undone::Restored,
        })
    }

    fn is_open(&self) -> Result<bool> {
        let found = self.inside(|kernel| self.find(kernel))?;
        Ok(found.is_some_and(|found| !matches!(found, Found::Nothing | Found::Foreign(_))))
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::empty_netns;

    /// A namespace of the test's own, and its loopback interface.
    fn place() -> Option<(Netns, tc::Link)> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root (it makes a network namespace)");
            return None;
        }
        let netns = empty_netns().unwrap();
        let lo = inside(&netns, |kernel| Ok(tc::links(kernel)?.remove(0)));
        Some((netns, lo))
    }

    fn inside<T: Send>(
        netns: &Netns,
        work: impl FnOnce(&mut Netlink) -> io::Result<T> + Send,
    ) -> T {
        netns.run(|| work(&mut tc::open().unwrap()).unwrap()).unwrap()
    }

    fn add_root(netns: &Netns, lo: &tc::Link, handle: u32) {
        // htb without classes: its options are version 3, a factor, and no default class.
        let globals: Vec<u8> = [3_u32, 10, 0, 0, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let options = crate::netlink::Attributes::default().with(2, &globals);
        let qdisc = tc::Qdisc {
            link: lo.index,
            handle,
            parent: tc::ROOT,
            kind: "htb".into(),
            stats: tc::Stats::default(),
        };
        inside(netns, |kernel| tc::add_qdisc(kernel, &qdisc, options.bytes()));
    }

    fn listed(netns: &Netns) -> Vec<(String, u32, u32)> {
        inside(netns, |kernel| {
            Ok(tc::qdiscs(kernel)?.into_iter().map(|q| (q.kind, q.handle, q.parent)).collect())
        })
    }

    #[test]
    fn a_root_queue_is_taken_off_once_and_only_ours() {
        let Some((netns, lo)) = place() else { return };
        inside(&netns, |kernel| {
            // An interface that is down has no queue at all to come back to.
            tc::set_up(kernel, lo.index)
        });
        let before = listed(&netns);
        let (ours, theirs) = (0x7001_0000, 0x7002_0000);
        let undo = Qdisc::about_to_add_root(&netns, &lo, ours, "htb").unwrap();
        assert!(!undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "it has not been made yet");
        add_root(&netns, &lo, ours);
        assert!(undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
        assert_eq!(listed(&netns), before);
        add_root(&netns, &lo, theirs);
        let with_theirs = listed(&netns);
        assert!(!undo.is_open().unwrap());
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(why) if why.contains("htb")));
        assert_eq!(listed(&netns), with_theirs, "somebody else's stays");
    }

    #[test]
    fn an_ifb_and_what_comes_in_are_ours_by_its_name() {
        let Some((netns, lo)) = place() else { return };
        let before = listed(&netns);
        let name = "temblor7003";
        let link = Qdisc::about_to_add_link(&netns, name).unwrap();
        let ingress = Qdisc::about_to_add_ingress(&netns, &lo, (32_301, 32_303), name).unwrap();
        assert_eq!(link.undo().unwrap(), Undone::Nothing);
        assert_eq!(ingress.undo().unwrap(), Undone::Nothing);
        inside(&netns, |kernel| tc::add_ifb(kernel, name));
        inside(&netns, |kernel| tc::add_ingress(kernel, lo.index));
        // Half way: the place is there, and no filter yet.
        assert!(ingress.is_open().unwrap() && link.is_open().unwrap());
        assert_eq!(ingress.undo().unwrap(), Undone::Restored);
        assert_eq!(link.undo().unwrap(), Undone::Restored);
        assert_eq!(listed(&netns), before);
        assert!(!ingress.is_open().unwrap() && !link.is_open().unwrap());
        // An empty place without our interface is somebody else's.
        inside(&netns, |kernel| tc::add_ingress(kernel, lo.index));
        assert!(matches!(ingress.undo().unwrap(), Undone::NotOurs(_)));
        assert_eq!(listed(&netns).len(), before.len() + 1);
    }

    #[test]
    fn nothing_is_left_of_a_namespace_that_is_gone_or_of_another_boot() {
        let Some((netns, lo)) = place() else { return };
        let undo = Qdisc::about_to_add_root(&netns, &lo, 0x7001_0000, "htb").unwrap();
        add_root(&netns, &lo, 0x7001_0000);
        let of_another_boot = Qdisc { boot_id: "another".into(), ..undo.clone() };
        assert!(matches!(of_another_boot.undo().unwrap(), Undone::NotOurs(_)));
        assert!(undo.is_open().unwrap());
        drop(netns);
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(why) if why.contains("is gone")));
        assert!(!undo.is_open().unwrap());
    }

    #[test]
    fn what_is_on_record_can_be_read_again() {
        let netns = Netns::of_this_thread().unwrap();
        let undo = Qdisc::about_to_add_link(&netns, "temblor7003").unwrap();
        let line = serde_json::to_string(&super::super::Undo::Qdisc(undo.clone())).unwrap();
        let read: super::super::Undo = serde_json::from_str(&line).unwrap();
        assert_eq!(read, super::super::Undo::Qdisc(undo));
    }
}
