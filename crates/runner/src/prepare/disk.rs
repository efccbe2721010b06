//! Faults of disks.

use std::path::PathBuf;

use temblor_faults::disk::{
    BlockDevice, Contention, DeviceAsked, Fill, Fsync, Mark, Place, SyncError, Throttle,
};
use temblor_host::target::Target;

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "disk.throttle" => {
            let device = values.text("device").map(device);
            values.on_each(|target| {
                Ok(Throttle {
                    target,
                    read_bytes_per_second: values.count("read"),
                    write_bytes_per_second: values.count("write"),
                    read_iops: values.count("readIops"),
                    write_iops: values.count("writeIops"),
                    device: device.clone(),
                })
            })
        }
        "disk.contention" => values.on_each(|target| {
            Ok(Contention {
                place: place(values, target),
                workers: values.count("workers").and_then(|n| u32::try_from(n).ok()).unwrap_or(2),
                block_bytes: values.count("block").unwrap_or(256 << 10),
                sync: values.flag("sync"),
            })
        }),
        "disk.fill" => {
            let mark = match (values.number("to"), values.count("free")) {
                (Some(share), _) => Mark::To(share),
                (None, Some(free)) => Mark::Free(free),
                (None, None) => return Err(values.lacks("to")),
            };
            values.on_each(|target| {
                Ok(Fill {
                    place: place(values, target),
                    mark,
                    root_filesystem: values.flag("rootFilesystem"),
                })
            })
        }
        "disk.fsync" => {
            let fail = match values.text("fail") {
                Some("EIO") => Some(SyncError::Eio),
                Some("ENOSPC") => Some(SyncError::Enospc),
                Some("EDQUOT") => Some(SyncError::Edquot),
                _ => None,
            };
            let share = values.number("share").unwrap_or(1.0);
            values.on_each(|target| {
                Ok(Fsync { target, delay: values.duration("delay"), fail, share })
            })
        }
        _ => Err(values.unknown()),
    }
}

/// `8:16` is a device's numbers; anything else is a path.
fn device(text: &str) -> DeviceAsked {
    let numbers = text
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers {
        Some((major, minor)) => DeviceAsked::Number(BlockDevice { major, minor }),
        None => DeviceAsked::Path(PathBuf::from(text)),
    }
}

/// The directory as the target sees it, where one is named.
fn place(values: &Values<'_>, target: Target) -> Place {
    match values.text("path") {
        Some(path) => Place::PathIn(target, PathBuf::from(path)),
        None => Place::Files(target),
    }
}
