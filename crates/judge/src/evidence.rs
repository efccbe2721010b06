//! Kernel evidence: the probes' account, TCP by service and peer, and what it all cost.

use std::collections::BTreeMap;

use temblor_event::{Connection, TcpState};

use crate::kernel_figures;
use crate::log::{Log, seconds};
use crate::phases::Window;
use crate::result::{
    ConnectionStory, CostResult, Evidence, ProbeResult, RttFigures, TcpPeerFigures,
};
use crate::sides::{peer, service};
use crate::tcp_names::{errno_name, kind_name};

/// Pairs of service and peer beyond this are counted together, as `others`.
const PAIRS_MAX: usize = 200;
const OTHERS: &str = "others";

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
    }
}

/// Processor time, memory and lost events.
pub(crate) fn cost(log: &Log<'_>, probes: &[ProbeResult]) -> CostResult {
    let own = log.costs.last();
    let cpu_seconds = own.map(|cost| seconds(cost.user_ns.saturating_add(cost.system_ns)));
    let bpf_ns = probes
        .iter()
        .flat_map(|probe| &probe.programs)
        .fold(0_u64, |sum, program| sum.saturating_add(program.run_ns));
    let cpu_share = own.zip(cpu_seconds).and_then(|(cost, cpu_seconds)| {
        let available = seconds(cost.wall_ns) * f64::from(log.started.host.cpus);
        (available > 0.0).then(|| cpu_seconds / available)
    });
    CostResult {
        bpf_seconds: (!log.probe_cost.is_empty()).then(|| seconds(bpf_ns)),
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

/// TCP figures by service and peer.
#[derive(Debug, Default)]
struct Table(BTreeMap<(String, String), TcpPeerFigures>);

impl Table {
    fn of(&mut self, connection: &Connection) -> &mut TcpPeerFigures {
        self.row(service(connection), peer(connection))
    }

    fn row(&mut self, service: String, peer: String) -> &mut TcpPeerFigures {
        let key = (service, peer);
        let full = self.0.len() >= PAIRS_MAX && !self.0.contains_key(&key);
        let key = if full { (OTHERS.to_owned(), OTHERS.to_owned()) } else { key };
        self.0.entry(key).or_insert_with_key(|(service, peer)| TcpPeerFigures {
            service: service.clone(),
            peer: peer.clone(),
            connects: 0,
            connected: 0,
            connect_failures: BTreeMap::new(),
            timed_out: 0,
            retransmitted: BTreeMap::new(),
            resets_sent: 0,
            resets_received: 0,
            rtt: BTreeMap::new(),
        })
    }
}

fn tcp(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<TcpPeerFigures> {
    let mut table = Table::default();
    for state in &log.states {
        let row = table.of(&state.conn);
        match (state.from, state.to) {
            (_, TcpState::SynSent) => row.connects += 1,
            (TcpState::SynSent, TcpState::Established) => row.connected += 1,
            (TcpState::SynSent, TcpState::Close) => {
                *row.connect_failures.entry(failure_name(state.errno)).or_default() += 1;
            }
            (_, TcpState::Close) if state.errno == ETIMEDOUT => row.timed_out += 1,
            _ => {}
        }
    }
    for segment in &log.retransmits {
        let by_kind = &mut table.of(&segment.conn).retransmitted;
        *by_kind.entry(kind_name(segment.kind).to_owned()).or_default() +=
            u64::from(segment.segments);
    }
    for reset in &log.resets {
        let row = table.of(&reset.conn);
        *(if reset.sent { &mut row.resets_sent } else { &mut row.resets_received }) += 1;
    }
    for rtt in &log.rtts {
        // By its start, as a second of load.
        let start_ns = rtt.t_ns.saturating_sub(rtt.window_ns);
        let Some(window) = windows.iter().find(|window| window.contains(start_ns)) else {
            continue;
        };
        let row = table.row(rtt.service.clone(), rtt.peer.clone());
        let figures = row.rtt.entry(window.name.to_owned()).or_insert(RttFigures {
            samples: 0,
            p50_us_max: 0,
            p99_us_max: 0,
        });
        figures.samples = figures.samples.saturating_add(rtt.samples);
        figures.p50_us_max = figures.p50_us_max.max(rtt.p50_us);
        figures.p99_us_max = figures.p99_us_max.max(rtt.p99_us);
    }
    // A socket that only listens has a peer of zeros, and nothing to tell.
    table.0.into_values().filter(says_something).collect()
}

fn says_something(row: &TcpPeerFigures) -> bool {
    row.connects > 0
        || row.connected > 0
        || row.timed_out > 0
        || row.resets_sent > 0
        || row.resets_received > 0
        || !row.connect_failures.is_empty()
        || !row.retransmitted.is_empty()
        || !row.rtt.is_empty()
}

pub(crate) const ETIMEDOUT: i32 = 110;

pub(crate) fn failure_name(errno: i32) -> String {
    if errno == 0 { "given up".to_owned() } else { errno_name(errno) }
}
