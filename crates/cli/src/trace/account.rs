//! What a trace comes to: its figures by target, and what watching cost.

use std::collections::BTreeMap;

use temblor_event::{
    Body, Buckets, Cost, MEANINGS, ProbeCost, ProbeStatus, SchedWindow, TcpRtt, TcpState,
    TcpStateChange,
};
use temblor_judge::{TcpPeerFigures, TcpTable, human, process_ended, tcp_names};

use super::histogram;
use super::measures::Measures;
use super::words::{length, share, switches};
use crate::terminal::{self, wrapped};

/// Targets, and pairs of a target and a peer, that are counted each for itself.
const COUNTED_MAX: usize = 200;
/// Peers of one target that are told; the rest are counted.
const PEERS_MAX: usize = 8;
/// Ways to end that are counted each for itself, for a target.
const ENDS_MAX: usize = 12;
/// Where the figures begin, after their names.
const COLUMN: usize = 22;
pub(super) const NANOSECONDS: f64 = 1e-9;
const MICROSECONDS: f64 = 1e-6;

/// Sums of the events so far; bounded however long it goes on.
#[derive(Debug, Default)]
pub(super) struct Account {
    targets: Vec<String>,
    statuses: Vec<ProbeStatus>,
    sched: BTreeMap<String, SchedWindow>,
    measures: Measures,
    tcp: TcpTable,
    accepted: BTreeMap<String, u64>,
    rtt: BTreeMap<(String, String), Rtt>,
    /// By target and what happened to its processes.
    processes: BTreeMap<String, BTreeMap<String, u64>>,
    lost: BTreeMap<String, u64>,
    costs: Vec<ProbeCost>,
    own: Option<Cost>,
}

#[derive(Debug, Default)]
struct Rtt {
    buckets: Buckets,
    max_us: u64,
}

impl Account {
    pub(super) fn add(&mut self, body: &Body) {
        match body {
            Body::TargetSeen(target) => self.targets.push(target.service.clone()),
            Body::ProbeStatus(status) => self.statuses.push(status.clone()),
            Body::SchedWindow(window) => match self.sched.get_mut(&window.service) {
                Some(sum) => sum.merge(window),
                None => drop(self.sched.insert(window.service.clone(), window.clone())),
            },
            Body::ProbeWindow(window) => self.measures.add(window),
            Body::TcpState(change) => self.state(change),
            Body::TcpRetransmit(segment) => self.tcp.retransmit(segment),
            Body::TcpReset(reset) => self.tcp.reset(reset),
            Body::TcpRtt(rtt) => self.rtt(rtt),
            Body::ProcessExec(exec) => self.process(&exec.service, "programs run".to_owned()),
            Body::ProcessExit(exit) => {
                self.process(&exit.service, process_ended(&exit.cause, false));
            }
            Body::ProcessRestart(restart) => {
                self.process(&restart.service, "programs run again after their end".to_owned());
            }
            Body::ProbeLost(lost) => {
                let sum = self.lost.entry(lost.probe.clone()).or_default();
                *sum = sum.saturating_add(lost.events);
            }
            Body::ProbeCost(cost) => self.costs.push(cost.clone()),
            Body::Cost(cost) => self.own = Some(cost.clone()),
            _ => {}
        }
    }

    fn state(&mut self, change: &TcpStateChange) {
        self.tcp.state(change);
        if (change.from, change.to) == (TcpState::SynRecv, TcpState::Established) {
            let service = tcp_names::service(&change.conn);
            if self.accepted.len() < COUNTED_MAX || self.accepted.contains_key(&service) {
                *self.accepted.entry(service).or_default() += 1;
            }
        }
    }

    fn process(&mut self, service: &str, mut what: String) {
        let counts = self.processes.entry(service.to_owned()).or_default();
        if counts.len() >= ENDS_MAX && !counts.contains_key(&what) {
            "ended otherwise".clone_into(&mut what);
        }
        *counts.entry(what).or_default() += 1;
    }

    fn rtt(&mut self, rtt: &TcpRtt) {
        let mut pair = (rtt.service.clone(), rtt.peer.clone());
        if self.rtt.len() >= COUNTED_MAX && !self.rtt.contains_key(&pair) {
            pair.1 = "others".to_owned();
        }
        let sum = self.rtt.entry(pair).or_default();
        sum.buckets.merge(&rtt.buckets);
        sum.max_us = sum.max_us.max(rtt.max_us);
    }

    /// All of it, in lines of at most `width` columns.
    pub(super) fn told(&self, width: usize) -> Vec<String> {
        let mut page = Page { lines: Vec::new(), width };
        for target in &self.targets {
            page.title(target);
            if let Some(sum) = self.sched.get(target) {
                sched(&mut page, sum);
            }
            if self.probe("process") {
                let none = BTreeMap::new();
                let counts = by_cause(self.processes.get(target).unwrap_or(&none));
                let told =
                    if counts.is_empty() { "nothing ended".into() } else { counts.join("; ") };
                page.row("processes", &told);
            }
            if self.probe("tcp") {
                self.tcp_of(&mut page, target);
            }
            for probe in self.statuses.iter().map(|status| &status.probe) {
                if MEANINGS.iter().any(|meaning| meaning.probe == probe) {
                    self.measures.told(&mut page, probe, target);
                }
            }
        }
        for (probe, other) in self.measures.others(&self.targets) {
            page.title(other);
            self.measures.told(&mut page, probe, other);
        }
        self.cost(&mut page);
        page.lines
    }

    fn probe(&self, name: &str) -> bool {
        self.statuses.iter().any(|status| status.probe == name)
    }

    fn tcp_of(&self, page: &mut Page, target: &str) {
        let accepted = self.accepted.get(target).copied().unwrap_or(0);
        page.row("tcp, accepted", &human::count(accepted));
        let mut peers: BTreeMap<&str, (Option<&TcpPeerFigures>, Option<&Rtt>)> = BTreeMap::new();
        for row in self.tcp.rows().filter(|row| row.service == target) {
            peers.entry(&row.peer).or_default().0 = Some(row);
        }
        for ((_, peer), rtt) in self.rtt.iter().filter(|((service, _), _)| service == target) {
            peers.entry(peer).or_default().1 = Some(rtt);
        }
        let mut peers: Vec<_> = peers.into_iter().collect();
        peers.sort_by_key(|(_, (row, rtt))| std::cmp::Reverse(weight(*row, *rtt)));
        for (peer, (row, rtt)) in peers.iter().take(PEERS_MAX) {
            page.text(&format!("  → {peer}"));
            if let Some(row) = row {
                figures(page, row);
            }
            if let Some(rtt) = rtt {
                let of_rank = |hundredths| us(rtt.buckets.percentile_up_to(rtt.max_us, hundredths));
                let (p50, p99) = (of_rank(50), of_rank(99));
                let samples = human::count(rtt.buckets.samples());
                let max = us(rtt.max_us);
                page.row("RTT", &format!("p50 {p50}, p99 {p99}, max {max}, {samples} measured"));
            }
        }
        if let Some(more) = peers.len().checked_sub(PEERS_MAX).filter(|more| *more > 0) {
            page.text(&format!("  → {}", human::counted(more as u64, "further peers")));
        }
        let mut all = Buckets::default();
        for (_, rtt) in self.rtt.iter().filter(|((service, _), _)| service == target) {
            all.merge(&rtt.buckets);
        }
        page.drawing("RTT to all peers", &all, MICROSECONDS);
    }

    fn cost(&self, page: &mut Page) {
        page.title("what watching cost");
        for cost in &self.costs {
            let lost = |of: &str| self.lost.get(of).copied().unwrap_or(0);
            let (events, lost) =
                (human::counted(cost.events, "events"), human::count(lost(&cost.probe)));
            page.row(&format!("probe {}", cost.probe), &format!("{events}, {lost} lost"));
            for program in &cost.programs {
                let per_run = program.run_ns.checked_div(program.runs);
                let per_run =
                    per_run.map(|ns| format!(", {} ns each", human::count(ns))).unwrap_or_default();
                let (runs, ns) =
                    (human::counted(program.runs, "runs"), human::count(program.run_ns));
                page.row(&format!("  {}", program.program), &format!("{runs}, {ns} ns{per_run}"));
            }
        }
        // Those that are no whole probe's: `tcp (round-trip times)`.
        let whole = |name: &str| self.costs.iter().any(|cost| cost.probe == name);
        for (name, lost) in self.lost.iter().filter(|(name, _)| !whole(name)) {
            page.row(name, &format!("{} lost", human::count(*lost)));
        }
        if let Some(own) = &self.own {
            let bpf_ns: u64 = self.costs.iter().map(ProbeCost::net_ns).sum();
            page.row(
                "in all",
                &format!(
                    "eBPF {} of one processor and {} of maps, this program {} and {} of memory, \
                     over {}",
                    share(bpf_ns, own.wall_ns),
                    human::bytes(self.costs.iter().map(|cost| cost.map_bytes).sum()),
                    share(own.user_ns.saturating_add(own.system_ns), own.wall_ns),
                    human::bytes(own.memory_bytes_max),
                    length(own.wall_ns)
                ),
            );
        }
        for status in &self.statuses {
            for unseen in &status.unseen {
                page.row("not seen", &format!("{}: {unseen}", status.probe));
            }
        }
    }
}

fn sched(page: &mut Page, sum: &SchedWindow) {
    let (used, of) = (length(sum.on_cpu_ns), share(sum.on_cpu_ns, sum.window_ns));
    page.row("sched, on cpu", &format!("{used}, {of} of one processor"));
    let wait = &sum.wait;
    if wait.samples > 0 {
        page.row(
            "run-queue wait",
            &format!(
                "p50 {}, p99 {}, max {}, {}",
                length(wait.p50_ns),
                length(wait.p99_ns),
                length(wait.max_ns),
                human::counted(wait.samples, "waits")
            ),
        );
    }
    if let Some(waited_ns) = sum.waited_ns.filter(|waited_ns| *waited_ns > 0) {
        let longest = match sum.waiting_max_ns {
            0 => String::new(),
            ns => format!(", the longest that had not ended: {}", length(ns)),
        };
        page.row("waited", &format!("{} in all{longest}", length(waited_ns)));
    }
    page.row("", &switches(sum.voluntary, sum.involuntary));
    if let Some(throttled) = sum.throttled {
        let (hit, periods) =
            (human::count(throttled.periods_throttled), human::count(throttled.periods));
        page.row("throttled", &format!("{}, in {hit} of {periods} periods", length(throttled.ns)));
    }
    page.drawing("run-queue waits", &wait.buckets, NANOSECONDS);
}

fn figures(page: &mut Page, row: &TcpPeerFigures) {
    if row.connects > 0 || row.connected > 0 || !row.connect_failures.is_empty() {
        let mut parts = vec![format!("{} connected", human::count(row.connected))];
        parts.extend(by_cause(&row.connect_failures));
        page.row("connects", &format!("{}: {}", human::count(row.connects), parts.join(", ")));
    }
    if row.timed_out > 0 {
        page.row("timed out", &human::count(row.timed_out));
    }
    if !row.retransmitted.is_empty() {
        page.row("sent again", &by_cause(&row.retransmitted).join(", "));
    }
    if row.resets_sent + row.resets_received > 0 {
        let (sent, received) = (human::count(row.resets_sent), human::count(row.resets_received));
        page.row("resets", &format!("{sent} sent, {received} received"));
    }
}

fn by_cause(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let mut causes: Vec<_> = counts.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    causes.iter().map(|(cause, count)| format!("{} {cause}", human::count(**count))).collect()
}

/// Whom to tell of first: where something went wrong, then where most was going on.
fn weight(row: Option<&TcpPeerFigures>, rtt: Option<&Rtt>) -> (u64, u64) {
    let wrong = row.map_or(0, |row| {
        let failed: u64 = row.connect_failures.values().chain(row.retransmitted.values()).sum();
        failed + row.timed_out + row.resets_sent + row.resets_received
    });
    let going_on = row.map_or(0, |row| row.connects) + rtt.map_or(0, |rtt| rtt.buckets.samples());
    (wrong, going_on)
}

fn us(us: u64) -> String {
    length(us.saturating_mul(1_000))
}

/// Lines of names and figures.
pub(super) struct Page {
    lines: Vec<String>,
    width: usize,
}

impl Page {
    fn title(&mut self, title: &str) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
        self.text(title);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.lines.push(terminal::fit(text, self.width));
    }

    pub(super) fn row(&mut self, name: &str, figures: &str) {
        let text = format!("  {name:<width$} {figures}", width = COLUMN - 3);
        self.lines.extend(wrapped(&text, self.width, COLUMN));
    }

    /// A row beneath its title, which may have no name; `width` is that of all names together.
    pub(super) fn cell(&mut self, name: &str, width: usize, figures: &str) {
        if width == 0 {
            self.row("", figures);
            return;
        }
        let text = format!("    {name:<width$}  {figures}");
        self.lines.extend(wrapped(&text, self.width, width + 6));
    }

    pub(super) fn drawing(&mut self, what: &str, buckets: &Buckets, unit_seconds: f64) {
        let drawn = histogram::draw(buckets, unit_seconds, self.width.saturating_sub(2));
        if drawn.is_empty() {
            return;
        }
        if !what.is_empty() {
            self.row(what, "");
        }
        for line in drawn {
            self.text(&format!("  {line}"));
        }
    }
}
