//! `disk.throttle`: a target's cgroup may read and write less in a second.
//!
//! **Where.** The limits are the cgroup's own: `io.max` of version 2, or version 1's
//! `blkio.throttle.*_device` files. Both have a line for each device; only the lines of the
//! devices that are meant are written, and they get their previous values back. A target that
//! shares its cgroup is moved into one of ours for the time, and back.
//!
//! **Which device.** The one that is given, or the devices behind the regular files that the
//! target has open for writing, resolved to whole disks; without any such file the device behind
//! its working directory. A filesystem on top of others (overlay) counts as where it writes.
//!
//! **What it reaches.** Version 2 charges a page to whoever dirtied it, so buffered writes slow
//! down with the rest where the filesystem takes part (ext4, xfs, btrfs). Version 1 limits what
//! the target itself hands to the device: direct I/O, what fsync writes, reads that miss the page
//! cache. What the kernel's flusher or the filesystem's journal writes for it is free, and groups
//! below the target's are not limited.
//!
//! **The effect** is what the cgroup's own counters say passed while the limit was in place.
//! Whether the limit was felt shows in the dose: the rate over those spans between two readings
//! in which at least nine tenths of the limit were used; a target that never wants that much has
//! no observed dose.

mod counters;
mod group;

use std::collections::BTreeMap;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use self::counters::{Counters, Series};
use self::group::Limited;
use super::DiskRefusal;
use super::device::{self, BlockDevice, DeviceAsked};
use crate::process::record::{OnRecord, all_closed};
use crate::undo::{DeviceLimit, Guard, Undo};
use crate::{Described, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "disk.throttle";
const UNDONE_BY: &str = "the guardian, which puts the previous limits back";

/// The kernel works in slices of a tenth of a second; below this a single page takes longer than
/// anybody waits.
pub const MIN_BYTES_PER_SECOND: u64 = 1024;

/// Limits on what a target may read and write in a second; at least one is given.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// Whose reads and writes.
    pub target: Target,
    /// Bytes read in a second, at least [`MIN_BYTES_PER_SECOND`].
    pub read_bytes_per_second: Option<u64>,
    /// Bytes written in a second, at least [`MIN_BYTES_PER_SECOND`].
    pub write_bytes_per_second: Option<u64>,
    /// Read operations in a second, as the device's queue gets them.
    pub read_iops: Option<u64>,
    /// Write operations in a second, as the device's queue gets them.
    pub write_iops: Option<u64>,
    /// Which device; unless given, those behind the target's files.
    pub device: Option<DeviceAsked>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

impl Limit {
    fn field(self) -> &'static str {
        match self {
            Self::ReadBytes => "read_bytes_per_second",
            Self::WriteBytes => "write_bytes_per_second",
            Self::ReadOperations => "read_iops",
            Self::WriteOperations => "write_iops",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::ReadBytes => "bytes read",
            Self::WriteBytes => "bytes written",
            Self::ReadOperations => "reads",
            Self::WriteOperations => "writes",
        }
    }

    fn unit(self) -> &'static str {
        if self.is_bytes() { "bytes/s" } else { "operations/s" }
    }

    fn is_bytes(self) -> bool {
        matches!(self, Self::ReadBytes | Self::WriteBytes)
    }

    fn is_read(self) -> bool {
        matches!(self, Self::ReadBytes | Self::ReadOperations)
    }
}

impl Throttle {
    fn limits(&self) -> Vec<(Limit, u64)> {
        [
            (Limit::ReadBytes, self.read_bytes_per_second),
            (Limit::WriteBytes, self.write_bytes_per_second),
            (Limit::ReadOperations, self.read_iops),
            (Limit::WriteOperations, self.write_iops),
        ]
        .into_iter()
        .filter_map(|(limit, value)| Some((limit, value?)))
        .collect()
    }

    fn check_dose(&self) -> Result<(), DiskRefusal> {
        let limits = self.limits();
        if limits.is_empty() {
            return Err(DiskRefusal::NoLimit { service: self.target.service.clone() });
        }
        for (limit, given) in limits {
            let why = match given {
                0 => "the kernel takes 0 for no limit; to stop all I/O, pause the process",
                1..MIN_BYTES_PER_SECOND if limit.is_bytes() => {
                    "less than 1024 bytes in a second would hold a single page for seconds"
                }
                // The old one does, but an experiment should be the same everywhere.
                1 if !limit.is_bytes() => {
                    "cgroup version 2 takes no limit below 2 operations in a second"
                }
                _ if !limit.is_bytes() && given > u64::from(u32::MAX) => {
                    "the kernel counts operations in 32 bits"
                }
                _ => continue,
            };
            return Err(DiskRefusal::BadLimit { what: limit.field(), given, why });
        }
        Ok(())
    }

    /// The devices that are meant, each with how it was found.
    fn devices(&self) -> Result<BTreeMap<BlockDevice, String>> {
        match &self.device {
            Some(asked) => {
                let device = asked.resolve().map_err(DiskRefusal::from)?;
                Ok(BTreeMap::from([(device, format!("given as {asked}"))]))
            }
            None => device::of_target(&self.target),
        }
    }

    fn dose(&self, devices: &BTreeMap<BlockDevice, String>) -> BTreeMap<String, String> {
        let devices: Vec<String> = devices
            .iter()
            .map(|(device, how)| format!("{} ({device}), {how}", device.name()))
            .collect();
        let limits = self.limits().into_iter();
        limits
            .map(|(limit, value)| (limit.field().to_owned(), value.to_string()))
            .chain([
                ("target".to_owned(), self.target.service.clone()),
                ("device".to_owned(), devices.join("; ")),
            ])
            .collect()
    }
}

impl Fault for Throttle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.check_dose()?;
        Limited::of(&self.target)?;
        self.devices()?;
        Ok(())
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let limited = Limited::of(&self.target);
        let devices = self.devices();
        let (limited, devices) = match (limited, devices) {
            (Ok(limited), Ok(devices)) => (limited, devices),
            (Err(error), _) | (_, Err(error)) => {
                return vec![PlannedChange {
                    what: format!("limit the disk of {}: not now, {error}", self.target.service),
                    undo: "nothing is changed".into(),
                }];
            }
        };
        let limits = devices
            .keys()
            .flat_map(|device| {
                limited.changes(&self.limits()).into_iter().map(move |change| (*device, change))
            })
            .map(|(device, (path, limits))| {
                let words: Vec<String> =
                    limits.iter().map(|(key, v)| format!("{key} {v}").trim().to_owned()).collect();
                PlannedChange {
                    what: format!("write {device} {} to {}", words.join(" "), path.display()),
                    undo: format!("the device's previous limits are written back: {UNDONE_BY}"),
                }
            });
        limited.plan(&self.target).into_iter().chain(limits).collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check_dose()?;
        let limited = Limited::of(&self.target)?;
        let devices = self.devices()?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        limited.enter(&self.target, guard, &mut record)?;
        for device in devices.keys() {
            for (path, limits) in limited.changes(&self.limits()) {
                let undo = DeviceLimit::about_to_set(&path, &device.to_string(), &limits)?;
                record.add(guard, Undo::DeviceLimit(undo.clone()))?;
                undo.set()?;
            }
        }
        let ended_ns = now_ns();
        let counters = devices
            .keys()
            .map(|device| Counters::new(&limited, *device))
            .map(|counters| Ok((counters.read()?, counters)))
            .collect::<Result<Vec<_>>>()?;
        let series = counters
            .into_iter()
            .map(|(now, counters)| Series::new(counters, now, ended_ns))
            .collect();
        let described = Described {
            name: NAME.into(),
            dose: self.dose(&devices),
            mechanism: limited.mechanism(),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(InPlace {
            record,
            described,
            limits: self.limits(),
            limited,
            series,
            effect: Effect::default(),
        }))
    }
}

/// Limits that are in place.
struct InPlace {
    record: OnRecord,
    described: Described,
    limits: Vec<(Limit, u64)>,
    limited: Limited,
    /// One a device.
    series: Vec<Series>,
    /// The last reading.
    effect: Effect,
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        for series in &mut self.series {
            series.read(&self.limits)?;
        }
        let mut parts = Vec::new();
        let mut doses = Vec::new();
        for series in &self.series {
            let device = format!("{} ({})", series.device().name(), series.device());
            let passed = series.passed();
            for (read, name) in [(true, "reads from"), (false, "writes to")] {
                if self.limits.iter().any(|(limit, _)| limit.is_read() == read) {
                    let (bytes, count) = passed.direction(read);
                    parts.push(EffectPart { name: format!("{name} {device}"), count, bytes });
                }
            }
            for (limit, asked) in &self.limits {
                let (observed, samples) = series.rate(*limit);
                #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
                let asked = *asked as f64;
                doses.push(DoseSeen {
                    what: format!(
                        "{} in a second while the limit was used up, {device}",
                        limit.what()
                    ),
                    unit: limit.unit().into(),
                    asked,
                    observed,
                    within: asked * 0.05,
                    samples,
                    source: format!("{}, between two readings", self.limited.counter_words()),
                });
            }
        }
        self.effect = Effect {
            measure: "operations under the limit".into(),
            count: parts.iter().map(|part| part.count).fold(0, u64::saturating_add),
            source: self.limited.counter_words(),
            parts,
            doses,
        };
        Ok(self.effect.clone())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|error| error.to_string());
        let Self { record, effect, .. } = *self;
        let began_ns = now_ns();
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
