//! What went wrong, counted by its cause, phase by phase.

use std::collections::BTreeMap;

use temblor_event::{Body, Event, caused};

use crate::phases::Window;
use crate::result::CauseCount;

/// Causes of one service and peer that are counted each for itself; the rarest are left out.
const CAUSES_MAX: usize = 200;

/// The most frequent first.
pub(crate) fn causes(events: &[Event], windows: &[Window<'_>]) -> Vec<CauseCount> {
    let mut counts: BTreeMap<(String, Option<String>, String), BTreeMap<String, u64>> =
        BTreeMap::new();
    for event in events {
        let Some(one) = caused(&event.body) else { continue };
        // What a window says happened in its middle.
        let t_ns = match &event.body {
            Body::SchedWindow(window) => event.t_ns.saturating_sub(window.window_ns / 2),
            _ => event.t_ns,
        };
        let Some(phase) = windows.iter().find(|window| window.contains(t_ns)) else { continue };
        let of = counts.entry((one.service, one.peer, one.cause.to_string())).or_default();
        let times = of.entry(phase.name.to_owned()).or_default();
        *times = times.saturating_add(one.times);
    }
    let mut causes: Vec<CauseCount> = counts
        .into_iter()
        .map(|((service, peer, cause), phases)| CauseCount { service, peer, cause, phases })
        .collect();
    let weight =
        |of: &CauseCount| of.phases.values().fold(0_u64, |sum, times| sum.saturating_add(*times));
    causes.sort_by_key(|of| std::cmp::Reverse(weight(of)));
    causes.truncate(CAUSES_MAX);
    causes
}
