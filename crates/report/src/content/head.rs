//! What a reader in a hurry reads: the verdict, the key figures, the timeline.

use temblor_event::PhaseRole;
use temblor_judge::{RunResult, TimelineKind, Verdict};

use crate::document::{Block, Cell, Column, Section, Table, Tile, TileFigure, Tone};
use crate::number::{self, NOT_OBSERVED};

/// One sentence on what the verdict means.
pub(super) fn verdict_meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Everything that was expected was observed.",
        Verdict::Fail => "Something that was expected was not observed.",
        Verdict::Invalid => "The run proves nothing, neither good nor bad.",
        Verdict::Aborted => "The run was cut short.",
        Verdict::Leak => "Something of ours was left behind on the machine.",
    }
}

pub(super) fn tiles(result: &RunResult) -> Vec<Tile> {
    let mut tiles = vec![
        Tile {
            label: "Detection",
            figures: vec![seconds("", result.detection_seconds)],
            note: format!(
                "first sign from the kernel: {}",
                maybe_seconds(result.kernel_detection_seconds)
            ),
            source: "From injection to the first failed request or failing check; \
                     the kernel's first sign: the probes.",
        },
        Tile {
            label: "Recovery",
            figures: vec![
                seconds("first", result.recovery_seconds.first),
                seconds("full", result.recovery_seconds.full),
            ],
            note: format!(
                "backlog drained: {}",
                maybe_seconds(result.recovery_seconds.backlog_drained)
            ),
            source: "From healing: to the first connection that works between the separated \
                     sides; to steady again.",
        },
        orders(result),
        integrity(result),
        p99(result),
    ];
    tiles.extend(services(result));
    tiles
}

/// Where a service was away. Elsewhere it would say nothing, five times in ten.
fn services(result: &RunResult) -> Option<Tile> {
    let services = &result.services;
    if services.stories.is_empty() {
        return None;
    }
    let names: Vec<&str> = services.stories.iter().map(|story| story.service.as_str()).collect();
    Some(Tile {
        label: "Services away",
        figures: vec![
            seconds("longest", services.outage_seconds),
            seconds("all well", result.recovery_seconds.services),
        ],
        note: format!(
            "{}; restarts: {}",
            names.join(", "),
            services.restarts.map_or_else(|| NOT_OBSERVED.to_owned(), number::count)
        ),
        source: "The longest outage of a service; from healing until all services were well \
                 again. Processes and health checks.",
    })
}

fn orders(result: &RunResult) -> Tile {
    let account = result.load_account.as_ref();
    // Without the load's closing account, the ledger still knows what was acknowledged.
    let acknowledged =
        account.map(|a| a.ok).or_else(|| result.ledger.as_ref().map(|l| l.acknowledged));
    Tile {
        label: "Orders acknowledged",
        figures: vec![figure(
            "",
            acknowledged.map(number::count),
            if acknowledged.is_some() { Tone::Plain } else { Tone::Absent },
        )],
        note: account.map_or_else(
            || "no closing account from the load".to_owned(),
            |a| {
                format!(
                    "of {} planned; {} failed, {} unsure, {} unsent",
                    number::count(a.planned),
                    number::count(a.failed),
                    number::count(a.unsure),
                    number::count(a.unsent)
                )
            },
        ),
        source: "The load generator's own account over the whole run.",
    }
}

fn integrity(result: &RunResult) -> Tile {
    let ledger = result.ledger.as_ref();
    let unwanted = |label, value: Option<u64>| {
        let tone = match value {
            None => Tone::Absent,
            Some(0) => Tone::Good,
            Some(_) => Tone::Bad,
        };
        figure(label, value.map(number::count), tone)
    };
    Tile {
        label: "Orders lost · duplicated",
        figures: vec![
            unwanted("lost", ledger.and_then(|l| l.lost)),
            unwanted("duplicated", ledger.and_then(|l| l.duplicated)),
        ],
        note: match ledger {
            None => "no ledger was held against a database".to_owned(),
            Some(l) => format!(
                "acknowledged: {} · stored: {}",
                number::count(l.acknowledged),
                l.stored.map_or_else(|| NOT_OBSERVED.to_owned(), number::count)
            ),
        },
        source: "The client's own record held against the database after the run.",
    }
}

fn p99(result: &RunResult) -> Tile {
    let of = |role| {
        // With several phases of one role the worst one is the one to show.
        result
            .phases
            .iter()
            .filter(|p| p.role == role)
            .filter_map(|p| p.load.as_ref()?.p99_seconds)
            .reduce(f64::max)
    };
    Tile {
        label: "Latency, 99th percentile",
        figures: vec![
            seconds("baseline", of(PhaseRole::Baseline)),
            seconds("fault", of(PhaseRole::Fault)),
            seconds("recovery", of(PhaseRole::Recovery)),
        ],
        note: "acknowledged orders, from the planned send time".to_owned(),
        source: "The load generator's histograms, by phase.",
    }
}

fn seconds(label: &str, value: Option<f64>) -> TileFigure {
    let tone = if value.is_some() { Tone::Plain } else { Tone::Absent };
    figure(label, value.map(number::seconds), tone)
}

fn figure(label: &str, value: Option<String>, tone: Tone) -> TileFigure {
    let value = value.unwrap_or_else(|| NOT_OBSERVED.to_owned());
    TileFigure { label: label.to_owned(), value, tone }
}

fn maybe_seconds(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_OBSERVED.to_owned(), number::seconds)
}

pub(super) fn timeline(result: &RunResult) -> Section {
    let mut table = Table::new(
        "timeline",
        vec![
            Column::figures("Time", "Seconds from the injection of the first fault."),
            Column::words("Kind"),
            Column::words("What happened"),
            Column::words("Source"),
        ],
    );
    for entry in &result.timeline {
        let (class, kind) = match entry.kind {
            TimelineKind::Run => ("kind-run", "run"),
            TimelineKind::Fault => ("kind-fault", "fault"),
            TimelineKind::Kernel => ("kind-kernel", "kernel"),
            TimelineKind::Application => ("kind-application", "application"),
            TimelineKind::Recovery => ("kind-recovery", "recovery"),
        };
        table.push_as(
            class,
            vec![
                Cell::text(number::moment(entry.t_seconds)),
                Cell::text(kind),
                Cell::text(&entry.what),
                Cell::code(&entry.source),
            ],
        );
    }
    let blocks = if table.rows.is_empty() {
        vec![Block::Text("Nothing was recorded.".to_owned())]
    } else {
        vec![
            Block::Table(table),
            Block::Note(
                "Times are seconds from the injection of the first fault, all on the kernel's \
                 monotonic clock. Each line names who saw it."
                    .to_owned(),
            ),
        ]
    };
    Section { id: "timeline", title: "What happened, in order", blocks }
}
