//! What the kernel half has counted, by whose it is: from counts that grow to those of a window.

use std::collections::BTreeMap;

use temblor_event::{ProbeWindow, Reading};

use super::devices::{self, Names};
use super::{
    EVERYBODY, KERNEL, NAME, OF_EVERYBODY, OF_KERNEL, depth, depth_key, io_figures, io_key,
    latencies, sync_figures, sync_key, syncs,
};
use crate::Error;
use crate::histogram::{self, Latencies};
use crate::object::Loaded;
use crate::window::Closed;

/// Disks that may come while the probe runs.
const DISKS_TO_COME: usize = 8;
/// Most disks get three or four of the six operations.
const OPERATIONS: usize = 4;
/// As much memory as 30 MB.
const IO_MAX: usize = 4096;
/// No map has more.
const ENTRIES_MAX: usize = 1 << 16;

/// By the kernel half's numbers.
const OPERATION_NAMES: [&str; 6] = ["read", "write", "flush", "discard", "write zeroes", "other"];

/// How many entries the kernel half's maps are to have room for.
pub(super) fn sizes(targets: usize) -> [(&'static str, u32); 3] {
    // Two are in the place of a target.
    let (targets, disks) = (targets + 2, devices::count() + DISKS_TO_COME);
    let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
    [
        ("io", number((targets * disks * OPERATIONS).min(IO_MAX))),
        ("depths", number(targets * disks)),
        ("syncs", number(targets * syncs::KINDS.len())),
    ]
}

/// What was told when the last window closed.
#[derive(Debug)]
pub(super) struct Figures {
    services: Vec<String>,
    names: Names,
    io: BTreeMap<(u32, u32, u32), OfIo>,
    under_way: BTreeMap<(u32, u32), u32>,
    syncs: BTreeMap<(u32, u32), OfSyncs>,
}

#[derive(Debug, Default)]
struct OfIo {
    time: Latencies,
    wait: Latencies,
    size: Latencies,
    errors: u64,
}

#[derive(Debug, Default)]
struct OfSyncs {
    time: Latencies,
    errors: u64,
}

impl Figures {
    pub(super) fn of(services: Vec<String>) -> Self {
        Self {
            services,
            names: Names::default(),
            io: BTreeMap::new(),
            under_way: BTreeMap::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// A window for each target, one for the kernel's threads and one for everything.
    pub(super) fn close(
        &mut self,
        loaded: &Loaded,
        closed: &Closed,
    ) -> Result<Vec<ProbeWindow>, Error> {
        let empty = |service: &str| ProbeWindow::new(NAME, service, closed.length_ns);
        let mut windows: BTreeMap<u32, ProbeWindow> =
            (0..).zip(&self.services).map(|(number, service)| (number, empty(service))).collect();
        windows.insert(KERNEL, empty(OF_KERNEL));
        windows.insert(EVERYBODY, empty(OF_EVERYBODY));
        for (key, figures) in loaded.entries::<io_key, io_figures>("io", ENTRIES_MAX)? {
            let Some(window) = windows.get_mut(&key.target) else { continue };
            let of = self.io.entry((key.target, key.device, key.operation)).or_default();
            let device = self.names.of(key.device);
            let operation = usize::try_from(key.operation).ok();
            let operation = operation.and_then(|number| OPERATION_NAMES.get(number));
            let labels =
                [("device", device.as_str()), ("operation", operation.unwrap_or(&"other"))];
            window.put("io_latency", &labels, grown(&mut of.time, closed, &figures.time));
            window.put("io_wait", &labels, grown(&mut of.wait, closed, &figures.wait));
            window.put("io_size", &labels, grown(&mut of.size, closed, &figures.size));
            window.put("io_errors", &labels, count(&mut of.errors, figures.errors));
        }
        for (key, depth) in loaded.entries::<depth_key, depth>("depths", ENTRIES_MAX)? {
            let Some(window) = windows.get_mut(&key.target) else { continue };
            let device = self.names.of(key.device);
            let before = self.under_way.entry((key.target, key.device)).or_default();
            let most = most(&depth, closed.number, std::mem::replace(before, depth.now));
            window.put("io_under_way", &[("device", &device)], Reading::Level(most.into()));
        }
        for (key, figures) in loaded.entries::<sync_key, sync_figures>("syncs", ENTRIES_MAX)? {
            let Some(window) = windows.get_mut(&key.target) else { continue };
            let of = self.syncs.entry((key.target, key.kind)).or_default();
            let labels = [("call", syncs::kind(key.kind))];
            window.put("sync_latency", &labels, grown(&mut of.time, closed, &figures.time));
            window.put("sync_errors", &labels, count(&mut of.errors, figures.errors));
        }
        Ok(windows.into_values().collect())
    }
}

fn grown(of: &mut Latencies, closed: &Closed, now: &latencies) -> Reading {
    let reading = histogram::Reading {
        buckets: &now.buckets,
        sum_ns: now.sum_ns,
        max_ns: now.max_ns,
        window: now.window,
    };
    Reading::Distribution(of.close(closed.number, [reading].into_iter()).into())
}

fn count(before: &mut u64, now: u64) -> Reading {
    Reading::Count(now.saturating_sub(std::mem::replace(before, now)))
}

/// The most that were under way in a window. Those that were so when it opened count too: of a disk
/// that answers no more nothing else is heard.
fn most(depth: &depth, window: u32, before: u32) -> u32 {
    let slot = (window & 1) as usize;
    let reached = if depth.window[slot] == window { depth.max[slot] } else { 0 };
    reached.max(before).max(depth.now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stuck_is_under_way_in_every_window() {
        let depth = depth { now: 3, max: [5, 9], window: [4, 3], ..depth::default() };
        assert_eq!(most(&depth, 3, 2), 9);
        assert_eq!(most(&depth, 4, 7), 7, "as many as there were when it opened");
        assert_eq!(most(&depth, 5, 0), 3, "nothing has come or gone since");
    }
}
