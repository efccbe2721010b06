//! What a target's cgroup counts for itself: no tracepoint tells it.

use std::path::PathBuf;

use temblor_host::target::{Origin, Target};

/// The first of these control files that the target's own cgroup has; else why there is none,
/// which is `absent` where the group is its own.
pub(crate) fn own_file(
    target: &Target,
    names: &[&str],
    absent: &'static str,
) -> Result<PathBuf, &'static str> {
    if target.origin == Origin::Processes {
        return Err("it is known by its processes, and the group they are in may be others', too");
    }
    target.group.control_file(names).ok_or(absent)
}
