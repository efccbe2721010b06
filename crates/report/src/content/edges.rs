//! Who talked to whom: the map with the faults' places on it, and the figures of each edge.

use temblor_event::PhaseRole;
use temblor_judge::human::duration;
use temblor_judge::{EdgeEnd, EdgePhase, EdgeResult, RunResult};

use crate::document::{Block, Cell, Column, Section, Table};
use crate::edge_map::{Edge, Map, Mark};
use crate::number;

/// Edges that have rows.
const EDGES_MAX: usize = 60;

/// None: no probe looked for edges.
pub(super) fn section(result: &RunResult) -> Option<Section> {
    let edges = &result.evidence.edges;
    if edges.is_empty() {
        return None;
    }
    let phase = |role| result.phases.iter().find(|phase| phase.role == role);
    let before = phase(PhaseRole::Baseline).map(|phase| phase.name.as_str());
    let during = phase(PhaseRole::Fault).map(|phase| phase.name.as_str());
    let map = Map::lay_out(edges.iter().map(|edge| drawn(edge, before, during)), marks(result));
    let mut blocks = Vec::new();
    if let Some(during) = during {
        blocks.push(Block::Text(format!(
            "An arrow goes from who asks to who answers; beside it stand answers a second and the \
             99th percentile of the time until an answer began{}.",
            before.map(|before| format!(", {before} → {during}")).unwrap_or_default()
        )));
    }
    let left_out = map.left_out;
    blocks.push(Block::Drawing {
        label: "Who talks to whom, and where the fault is".to_owned(),
        wide: map.wide(),
        narrow: map.narrow(),
    });
    if left_out > 0 {
        blocks.push(Block::Note(format!(
            "{} over which least went are not drawn.",
            number::counted(left_out as u64, "edges")
        )));
    }
    blocks.push(Block::Table(table(result)));
    blocks.push(Block::Note(
        "Source: the edges probe. An end belongs to the process that holds the socket, not to an \
         address. A turn is one request and the beginning of its answer, found by who sends after \
         whom, and is the same with encryption; where both ends are watched its time is that of \
         the end that asks."
            .to_owned(),
    ));
    Some(Section { id: "edges", title: "Who talks to whom", blocks })
}

fn drawn(edge: &EdgeResult, before: Option<&str>, during: Option<&str>) -> Edge {
    let of = |phase: Option<&str>| phase.and_then(|phase| edge.phases.get(phase));
    let pair = |read: &dyn Fn(&EdgePhase) -> Option<String>| {
        let none = || "–".to_owned();
        let told =
            [of(before), of(during)].map(|phase| phase.map(|p| read(p).unwrap_or_else(none)));
        told.into_iter().flatten().collect::<Vec<_>>().join(" → ")
    };
    let rate = pair(&|phase| Some(number::per_second(phase.turns_per_second)));
    let p99 = pair(&|phase| phase.p99_seconds.map(duration));
    Edge {
        from: edge.from.clone(),
        to: edge.to.clone(),
        lines: vec![rate, format!("p99 {p99}")],
        is_quiet: edge.phases.values().all(|phase| phase.turns_per_second <= 0.0),
    }
}

/// Where each fault was: between two services, or at each that it names.
fn marks(result: &RunResult) -> Vec<Mark> {
    let mut marks = Vec::new();
    for fault in &result.faults {
        let places: Vec<Vec<String>> = match fault.services.as_slice() {
            [a, b] => vec![vec![a.clone(), b.clone()]],
            services => services.iter().map(|one| vec![one.clone()]).collect(),
        };
        for services in places {
            let mark = Mark { services, what: fault.name.clone() };
            if !marks.contains(&mark) {
                marks.push(mark);
            }
        }
    }
    marks
}

/// A row for each edge and phase.
fn table(result: &RunResult) -> Table {
    let mut table = Table::new(
        "edges",
        vec![
            Column::words("From"),
            Column::words("To"),
            Column::words("Phase"),
            Column::figures("Answers", "turns a second"),
            Column::figures("Median", "until the answer began"),
            Column::figures("p99", "until the answer began"),
            Column::figures("Traffic", "bytes a second, both ways"),
            Column::figures("Opened", "connections"),
            Column::words("Seen at"),
        ],
    );
    for edge in result.evidence.edges.iter().take(EDGES_MAX) {
        let seen_at = match edge.seen_at {
            EdgeEnd::Asks => &edge.from,
            EdgeEnd::Answers => &edge.to,
        };
        let known = |phase: &str| result.phases.iter().position(|one| one.name == phase);
        let mut phases: Vec<_> = edge.phases.iter().collect();
        phases.sort_by_key(|(phase, _)| known(phase));
        for (phase, of) in phases {
            table.push(vec![
                Cell::text(&edge.from),
                Cell::text(&edge.to),
                Cell::text(phase),
                Cell::text(number::per_second(of.turns_per_second)),
                Cell::maybe(of.p50_seconds, duration),
                Cell::maybe(of.p99_seconds, duration),
                Cell::text(number::bytes_per_second(of.bytes_per_second)),
                Cell::count(of.connections_opened),
                Cell::text(seen_at),
            ]);
        }
    }
    table
}
