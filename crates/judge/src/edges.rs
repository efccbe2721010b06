//! Who talked to whom, phase by phase, from the edges probe's windows.
//!
//! Both ends of a connection may be watched; then its figures are those of the end that asks, who
//! also waits for the network. Where only the end that answers is watched they are its own.

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{Measure, ProbeWindow, Reading};

use crate::kernel_figures::phase_of;
use crate::log::{Log, as_f64, seconds};
use crate::phases::Window;
use crate::result::{EdgeEnd, EdgePhase, EdgeResult};

const PROBE: &str = "edges";
/// Edges that are told; those over which least went are left out.
const EDGES_MAX: usize = 200;

/// One end's view of one edge: who asks, who answers, and whose view it is.
type View = (String, String, EdgeEnd);

pub(crate) fn edges(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<EdgeResult> {
    let mut watched: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut views: BTreeMap<View, BTreeMap<&str, ProbeWindow>> = BTreeMap::new();
    for told in log.windows.iter().filter(|told| told.probe == PROBE) {
        let Some(phase) = phase_of(told, told.window_ns, windows) else { continue };
        let length_ns = watched.entry((&told.service, phase.name)).or_default();
        *length_ns = length_ns.saturating_add(told.window_ns);
        for measure in &told.measures {
            let Some(view) = view(&told.service, measure) else { continue };
            let mut one = ProbeWindow::new(PROBE, &told.service, 0);
            one.measures.push(measure.clone());
            let sum = views.entry(view).or_default().entry(phase.name);
            sum.and_modify(|sum| sum.merge(&one)).or_insert(one);
        }
    }
    let asked: BTreeSet<(String, String)> = views
        .keys()
        .filter(|(_, _, end)| *end == EdgeEnd::Asks)
        .map(|(from, to, _)| (from.clone(), to.clone()))
        .collect();
    let mut edges: Vec<EdgeResult> = views
        .into_iter()
        .filter(|((from, to, end), _)| {
            *end == EdgeEnd::Asks || !asked.contains(&(from.clone(), to.clone()))
        })
        .map(|((from, to, seen_at), phases)| {
            let whose = if seen_at == EdgeEnd::Asks { from.as_str() } else { to.as_str() };
            let phases = watched
                .iter()
                .filter(|((service, _), _)| *service == whose)
                .map(|((_, phase), length_ns)| {
                    ((*phase).to_owned(), figures(phases.get(phase), *length_ns))
                })
                .collect();
            EdgeResult { from, to, seen_at, phases }
        })
        .collect();
    let weight = |edge: &EdgeResult| -> f64 {
        edge.phases.values().map(|phase| phase.turns_per_second + phase.bytes_per_second).sum()
    };
    edges.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    edges.truncate(EDGES_MAX);
    edges
}

/// None: it is no figure of an edge, or says something that this program does not know.
fn view(service: &str, measure: &Measure) -> Option<View> {
    let peer = measure.labels.get("peer")?.clone();
    match measure.labels.get("role")?.as_str() {
        "calls" => Some((service.to_owned(), peer, EdgeEnd::Asks)),
        "serves" => Some((peer, service.to_owned(), EdgeEnd::Answers)),
        _ => None,
    }
}

fn figures(sum: Option<&ProbeWindow>, length_ns: u64) -> EdgePhase {
    let per_second =
        |count: u64| if length_ns == 0 { 0.0 } else { as_f64(count) / seconds(length_ns) };
    let mut phase = EdgePhase::default();
    for measure in sum.into_iter().flat_map(|sum| &sum.measures) {
        match (measure.name.as_str(), &measure.reading) {
            ("turn_latency", Reading::Distribution(turns)) if turns.samples() > 0 => {
                phase.turns_per_second = per_second(turns.samples());
                phase.p50_seconds = Some(seconds(turns.percentile(50)));
                phase.p99_seconds = Some(seconds(turns.percentile(99)));
            }
            ("bytes_sent" | "bytes_received", Reading::Count(bytes)) => {
                phase.bytes_per_second += per_second(*bytes);
            }
            ("connections_opened", Reading::Count(opened)) => phase.connections_opened = *opened,
            _ => {}
        }
    }
    phase
}
