//! The control group that every socket is in: the first of version 2. It is there on every kernel,
//! whatever is mounted and whoever uses version 1.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use temblor_host::cgroup::Cgroups;

use crate::Error;

/// The group's directory, and what of the machine is outside of it.
pub(super) struct First {
    pub(super) dir: OwnedFd,
    pub(super) outside: Option<String>,
}

impl First {
    pub(super) fn open() -> Result<Self, Error> {
        let system = |source| Error::System {
            doing: "open the first control group of version 2".into(),
            source,
        };
        let cgroups = Cgroups::detect().map_err(system)?;
        if let Some(unified) = cgroups.unified() {
            let dir = File::open(&unified.mount).map_err(system)?.into();
            let outside = (unified.root != "/").then(|| {
                format!(
                    "what goes over connections outside the control group {}: no more of version \
                     2 is mounted here",
                    unified.root
                )
            });
            return Ok(Self { dir, outside });
        }
        Ok(Self { dir: unseen_mount().map_err(|errno| system(errno.into()))?, outside: None })
    }
}

/// Nobody has version 2 mounted, so nobody's mount options change with this mount, which no path
/// leads to and which goes with its descriptor.
fn unseen_mount() -> rustix::io::Result<OwnedFd> {
    let filesystem = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_or_mounted() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let is_group = |dir: &OwnedFd| {
            rustix::fs::openat(
                dir,
                "cgroup.procs",
                rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty(),
            )
            .is_ok()
        };
        assert!(is_group(&First::open().unwrap().dir));
    }
}
