//! What the kernel saw of TCP: figures per service and peer, and single connections' stories.

use std::collections::{BTreeMap, BTreeSet};

use temblor_judge::{ConnectionStory, RttFigures, RunResult, TcpPeerFigures};

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::{self, NOT_OBSERVED};

/// So many connections are unfolded; the first is the most telling.
const OPEN_CONNECTIONS: usize = 4;

pub(super) fn section(result: &RunResult) -> Section {
    let evidence = &result.evidence;
    let mut blocks = Vec::new();
    if evidence.tcp.is_empty() {
        blocks.push(Block::Text("The kernel showed no TCP between the services.".to_owned()));
    } else {
        blocks.push(Block::Table(peers(&evidence.tcp)));
        if let Some(table) = rtt(result) {
            blocks.push(Block::Table(table));
        }
    }
    if !evidence.connections.is_empty() {
        blocks.push(Block::Text(
            "Connections on which the fault was seen, the most telling first, with each \
             retransmission and the timer's back-off:"
                .to_owned(),
        ));
        blocks.extend(evidence.connections.iter().enumerate().map(|(i, c)| connection(i, c)));
    }
    blocks.push(Block::Note(format!(
        "Source: the tcp probe ({}). Each side of a connection is counted for itself. The timer is \
         its value when it ran out, with its doublings; the gap is the time that really passed \
         since the same connection's previous retransmission. Round trips are the greatest median and the \
         greatest 99th percentile of any window of the phase, with the number of measurements.",
        hooks(result)
    )));
    Section { id: "tcp", title: "TCP, as the kernel saw it", blocks }
}

fn hooks(result: &RunResult) -> String {
    let hooks: Vec<&str> = result
        .evidence
        .probes
        .iter()
        .filter(|p| p.probe == "tcp")
        .flat_map(|p| p.hooks.iter().map(|h| h.hook.as_str()))
        .collect();
    if hooks.is_empty() { "it names no hook".to_owned() } else { hooks.join(", ") }
}

fn peers(figures: &[TcpPeerFigures]) -> Table {
    let mut table = Table::new(
        "peers",
        vec![
            Column::words("Service"),
            Column::words("Peer"),
            Column::figures("Connects", "attempts from this side"),
            Column::figures("Succeeded", "attempts that succeeded"),
            Column::words("Failed"),
            Column::figures("Timed out", "established connections that ended with a time-out"),
            Column::words("Segments sent again"),
            Column::figures("Resets sent", "tcp probe"),
            Column::figures("Resets received", "tcp probe"),
        ],
    );
    for f in figures {
        table.push(vec![
            Cell::text(&f.service),
            Cell::text(&f.peer),
            Cell::count(f.connects),
            Cell::count(f.connected),
            Cell::text(by_cause(&f.connect_failures)),
            Cell::count(f.timed_out),
            Cell::text(by_cause(&f.retransmitted)),
            Cell::count(f.resets_sent),
            Cell::count(f.resets_received),
        ]);
    }
    table
}

/// The most frequent cause first.
fn by_cause(counts: &BTreeMap<String, u64>) -> String {
    let mut causes: Vec<_> = counts.iter().collect();
    causes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let parts: Vec<String> = causes
        .iter()
        .map(|(cause, n)| format!("{} {}", number::count(**n), words(cause)))
        .collect();
    if parts.is_empty() { "0".to_owned() } else { parts.join(", ") }
}

/// A retransmission's kind as people write it. What is not one stays as it is (`ECONNREFUSED`).
pub(crate) fn words(kind: &str) -> &str {
    match kind {
        "timeout" => "time-out",
        "tail_loss_probe" => "tail-loss probe",
        "fast" => "fast",
        "syn" => "SYN",
        "syn_ack" => "SYN-ACK",
        other => other,
    }
}

/// Round-trip times, with a column for each phase in the order of the phases.
fn rtt(result: &RunResult) -> Option<Table> {
    let measured: BTreeSet<&str> =
        result.evidence.tcp.iter().flat_map(|f| f.rtt.keys().map(String::as_str)).collect();
    let mut phases: Vec<&str> =
        result.phases.iter().map(|p| p.name.as_str()).filter(|p| measured.contains(p)).collect();
    let others = measured.iter().filter(|m| !phases.contains(m)).copied().collect::<Vec<_>>();
    phases.extend(others);
    if phases.is_empty() {
        return None;
    }
    let mut columns = vec![Column::words("Round trip, from"), Column::words("to")];
    let source = "Greatest median and greatest 99th percentile of the windows, and the number of \
                  measurements; measured by the kernel.";
    columns.extend(phases.iter().map(|p| Column::figures(*p, source)));
    let mut table = Table::new("rtt", columns);
    for f in result.evidence.tcp.iter().filter(|f| !f.rtt.is_empty()) {
        let mut cells = vec![Cell::text(&f.service), Cell::text(&f.peer)];
        cells.extend(phases.iter().map(|p| Cell::maybe(f.rtt.get(*p), write_rtt).from(source)));
        table.push(cells);
    }
    Some(table)
}

fn write_rtt(rtt: &RttFigures) -> String {
    format!(
        "p50 {} µs, p99 {} µs ({})",
        number::count(rtt.p50_us_max),
        number::count(rtt.p99_us_max),
        number::count(rtt.samples)
    )
}

fn connection(index: usize, story: &ConnectionStory) -> Block {
    let name = |side: &Option<String>| side.clone().unwrap_or_else(|| "?".to_owned());
    let mut blocks =
        vec![Block::Note(format!("{} · socket cookie {}", story.addresses, story.cookie))];
    if !story.retransmissions.is_empty() {
        blocks.push(Block::Table(back_off(story)));
    }
    let segments = if story.segments == 1 { "segment" } else { "segments" };
    Block::Fold {
        summary: format!(
            "{} → {}: {} {segments} sent again; {}",
            name(&story.service),
            name(&story.peer),
            number::count(story.segments),
            story.end
        ),
        open: index < OPEN_CONNECTIONS,
        blocks,
    }
}

fn back_off(story: &ConnectionStory) -> Table {
    let source = "tp_btf/tcp_retransmit_skb";
    let mut table = Table::new(
        "backoff",
        vec![
            Column::figures("Time", source),
            Column::words("Kind"),
            Column::figures("Timer", "the timer's value when it ran out"),
            Column::figures("Doublings", "how often the timer had been doubled"),
            Column::figures("Observed gap", "since the connection's previous retransmission"),
        ],
    );
    for r in &story.retransmissions {
        table.push(vec![
            Cell::text(number::moment(r.t_seconds)),
            Cell::text(words(&r.kind)),
            Cell::text(number::seconds(r.rto_seconds)),
            Cell::count(u64::from(r.backoff)),
            r.gap_seconds.map_or_else(
                // The first has nothing before it to be measured from.
                || Cell::toned("first", Tone::Absent).from(NOT_OBSERVED),
                |gap| Cell::text(number::seconds(gap)),
            ),
        ]);
    }
    table
}
