//! Kernel evidence: the probes' account, TCP by service and peer, and what it all cost.

use std::collections::BTreeMap;

use temblor_event::{ProbeCost, ProbeShed};

use crate::causes::causes;
use crate::edges::edges;
use crate::human::{moment, percent};
use crate::kernel_figures;
use crate::log::{Log, seconds};
use crate::phases::Window;
use crate::result::{
    ConnectionStory, CostResult, Evidence, ProbeResult, RttFigures, TcpPeerFigures,
};
use crate::tcp_table::TcpTable;

/// Connections told of in the result; the timeline counts all.
const STORIES_MAX: usize = 50;

pub(crate) fn evidence(
    log: &Log<'_>,
    windows: &[Window<'_>],
    mut stories: Vec<ConnectionStory>,
) -> Evidence {
    stories.truncate(STORIES_MAX);
    Evidence {
        probes: probes(log),
        tcp: tcp(log, windows),
        connections: stories,
        figures: kernel_figures::figures(log, windows),
        edges: edges(log, windows),
        causes: causes(log.all, windows),
    }
}

/// Processor time, memory and lost events.
pub(crate) fn cost(log: &Log<'_>, probes: &[ProbeResult]) -> CostResult {
    // Each reading covers the whole run: a probe's last one counts.
    let by_probe: BTreeMap<&str, &ProbeCost> =
        log.probe_cost.iter().map(|cost| (&*cost.get().probe, cost.get())).collect();
    let sum = |of: fn(&ProbeCost) -> u64| {
        by_probe.values().fold(0_u64, |sum, cost| sum.saturating_add(of(cost)))
    };
    let own = log.costs.last();
    let cpu_seconds = own.map(|cost| seconds(cost.user_ns.saturating_add(cost.system_ns)));
    let cpu_share = own.zip(cpu_seconds).and_then(|(cost, cpu_seconds)| {
        let available = seconds(cost.wall_ns) * f64::from(log.started.host.cpus);
        (available > 0.0).then(|| cpu_seconds / available)
    });
    CostResult {
        bpf_seconds: (!by_probe.is_empty()).then(|| seconds(sum(ProbeCost::net_ns))),
        bpf_floor_ns: by_probe.values().find_map(|cost| cost.floor_ns),
        map_bytes: (!by_probe.is_empty()).then(|| sum(|cost| cost.map_bytes)),
        cpu_seconds,
        cpu_share,
        memory_bytes_max: own.map(|cost| cost.memory_bytes_max),
        events_lost: probes.iter().fold(0, |sum, probe| sum.saturating_add(probe.events_lost)),
    }
}

fn probes(log: &Log<'_>) -> Vec<ProbeResult> {
    let mut all: BTreeMap<&str, ProbeResult> = BTreeMap::new();
    let blank = |probe: &str| ProbeResult {
        probe: probe.to_owned(),
        hooks: Vec::new(),
        unseen: Vec::new(),
        events: 0,
        events_lost: 0,
        programs: Vec::new(),
    };
    for status in &log.probe_status {
        let name = &status.get().probe;
        let probe = all.entry(name).or_insert_with(|| blank(name));
        probe.hooks.clone_from(&status.hooks);
        probe.unseen.clone_from(&status.unseen);
    }
    // What collects a profile has no status of its own: it is not one of the probes that are watched.
    for started in &log.profiles_started {
        let name = &started.get().probe;
        all.entry(name).or_insert_with(|| blank(name)).hooks.clone_from(&started.hooks);
    }
    for shed in &log.probe_shed {
        let name = &shed.get().probe;
        let probe = all.entry(name).or_insert_with(|| blank(name));
        let since = moment(log.t_seconds(shed.t_ns));
        let what = if shed.off { "everything" } else { "all but a sample" };
        probe.unseen.push(format!("{what} from {since} on: {}", shed_line(shed.get())));
    }
    for lost in &log.probe_lost {
        let name = &lost.get().probe;
        let probe = all.entry(name).or_insert_with(|| blank(name));
        probe.events_lost = probe.events_lost.saturating_add(lost.events);
    }
    // Each reading covers the whole run: the last one counts.
    for cost in &log.probe_cost {
        let name = &cost.get().probe;
        let probe = all.entry(name).or_insert_with(|| blank(name));
        probe.events = cost.events;
        probe.programs.clone_from(&cost.programs);
    }
    all.into_values().collect()
}

fn tcp(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<TcpPeerFigures> {
    let mut table = TcpTable::default();
    log.states.iter().for_each(|state| table.state(state.get()));
    log.retransmits.iter().for_each(|segment| table.retransmit(segment.get()));
    log.resets.iter().for_each(|reset| table.reset(reset.get()));
    for rtt in &log.rtts {
        // By its start, as a second of load.
        let start_ns = rtt.t_ns.saturating_sub(rtt.window_ns);
        let Some(window) = windows.iter().find(|window| window.contains(start_ns)) else {
            continue;
        };
        let row = table.row(&rtt.service, &rtt.peer);
        let figures = row.rtt.entry(window.name.to_owned()).or_insert(RttFigures {
            samples: 0,
            p50_us_max: 0,
            p99_us_max: 0,
        });
        figures.samples = figures.samples.saturating_add(rtt.samples);
        figures.p50_us_max = figures.p50_us_max.max(rtt.p50_us);
        figures.p99_us_max = figures.p99_us_max.max(rtt.p99_us);
    }
    table.rows().cloned().collect()
}

/// What a probe does from now on, and why it does not do more.
#[must_use]
pub fn shed_line(shed: &ProbeShed) -> String {
    format!(
        "the {} probe took {} of the processors, more than the {} it may: from now on it sees {}",
        shed.probe,
        percent(shed.cost_share),
        percent(shed.budget_share),
        shed.now
    )
}
