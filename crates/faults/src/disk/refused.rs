//! Why a fault of the disk, as asked for, is not made.

use std::path::PathBuf;
use std::time::Duration;

/// Why a fault of the disk, as asked for, is not made. Each is about the experiment, not about
/// the machine.
#[derive(Debug, thiserror::Error)]
pub enum DiskRefusal {
    /// A throttle without a limit.
    #[error(
        "disk.throttle of {service} limits nothing: give read_bytes_per_second, \
         write_bytes_per_second, read_iops or write_iops"
    )]
    NoLimit {
        /// The target.
        service: String,
    },
    /// A limit that the kernel would take for none, or could not hold.
    #[error("{what} is {given}: {why}")]
    BadLimit {
        /// The field.
        what: &'static str,
        /// What was given.
        given: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The target has no processes.
    #[error("{service} has no process now: there is nobody whose disk could be made worse")]
    NoProcesses {
        /// The target.
        service: String,
    },
    /// Version 1 does not hand limits down.
    #[error(
        "{service} has processes in cgroups below {}, which a limit of cgroup version 1 does not \
         reach: give one of those as the target", dir.display()
    )]
    GroupsBelow {
        /// The target.
        service: String,
        /// Its cgroup.
        dir: PathBuf,
    },
    /// No device was given, and none shows.
    #[error(
        "no block device is known behind {service}: it has no regular file open for writing, and \
         its working directory is on none ({why}); give `device`"
    )]
    NoDevice {
        /// The target.
        service: String,
        /// What was found instead.
        why: String,
    },
    /// More devices than one fault takes.
    #[error("{service} has files open for writing on {given} block devices: give `device`")]
    TooManyDevices {
        /// The target.
        service: String,
        /// How many.
        given: usize,
    },
    /// What was named as a device is none.
    #[error(transparent)]
    NotADevice(#[from] super::NotADevice),
    /// The directory cannot be had.
    #[error("{} is no directory that {service} could write to", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
        /// Who sees it under this path.
        service: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A share that is none.
    #[error("`to` is {given}: it is a share of the filesystem, above 0 % and at most 100 %")]
    BadShare {
        /// What was given, where 1 is the whole.
        given: f64,
    },
    /// The filesystem is as full as is asked for.
    #[error(
        "the filesystem of {place} has {free} bytes free, and {wanted} are to stay: it is that \
         full already"
    )]
    FullAlready {
        /// The directory.
        place: String,
        /// What is free now.
        free: u64,
        /// What is to stay free.
        wanted: u64,
    },
    /// Nearly full, without being asked for in bytes.
    #[error(
        "`to` would leave {left} bytes free in the filesystem of {place}, less than the {floor} \
         that stay free unless `free` says how many (0 for a full disk)"
    )]
    BelowFloor {
        /// The directory.
        place: String,
        /// What would be left.
        left: u64,
        /// What stays free.
        floor: u64,
    },
    /// Everything on the machine would suffer.
    #[error(
        "{place} is on the root filesystem: filling it hits everything on this machine; write \
         `rootFilesystem: true` where that is meant"
    )]
    RootFilesystem {
        /// The directory.
        place: String,
    },
    /// A filesystem in memory.
    #[error(
        "the filesystem of {place} is in memory: to fill it takes {needed} bytes, and the machine \
         has {available} to give"
    )]
    TakesMemory {
        /// The directory.
        place: String,
        /// What the fault would take.
        needed: u64,
        /// What the machine could give.
        available: u64,
    },
    /// Neither a delay nor an error.
    #[error("disk.fsync of {service} does nothing: give `delay`, `fail`, or both")]
    NoSyncDose {
        /// The target.
        service: String,
    },
    /// A delay that is none, or too long.
    #[error("`delay` is {given:?}: it must be above 0 and at most {max:?}")]
    BadDelay {
        /// What was given.
        given: Duration,
        /// The longest.
        max: Duration,
    },
    /// A share that is none.
    #[error("`share` is {given}: it is a share of the calls, above 0 % and at most 100 %")]
    BadSyncShare {
        /// What was given, where 1 is all.
        given: f64,
    },
    /// Another error than the kernel gives to a sync.
    #[error("`{given}` is no error that a sync could give here: EIO, ENOSPC or EDQUOT")]
    NoSyncError {
        /// What was given.
        given: String,
    },
    /// There is room for one tracer.
    #[error(
        "process {pid} of {service} is traced by {by} already, and the kernel lets one trace at a \
         time: end that first"
    )]
    Traced {
        /// The target.
        service: String,
        /// The process.
        pid: u32,
        /// Who traces it.
        by: String,
    },
    /// No process can trace itself.
    #[error("{service} holds this program itself, which cannot trace itself")]
    TracesItself {
        /// The target.
        service: String,
    },
    /// More or less than one fault takes.
    #[error("`{what}` is {given}: it must be {min} to {max}")]
    OutOfBounds {
        /// The field.
        what: &'static str,
        /// What was given.
        given: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// The workers' files would fill the disk.
    #[error(
        "the filesystem of {place} has {free} bytes free, too few for the workers' files, which \
         want {needed} and take a quarter of what is free: give fewer workers or a smaller block"
    )]
    NoRoom {
        /// The directory.
        place: String,
        /// What is free.
        free: u64,
        /// What would have to be.
        needed: u64,
    },
}
