//! Why the report may be believed: second sources, hooks, losses, costs, the machine.

use temblor_judge::RunResult;

use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::{self, NOT_OBSERVED};

pub(super) fn cross_checks(result: &RunResult) -> Section {
    let nothing = result.cross_checks.is_empty() && result.uncompared.is_empty();
    let blocks = if nothing {
        vec![Block::Text("No figure of this run has a second source.".to_owned())]
    } else {
        let mut table = Table::new(
            "crosschecks",
            vec![
                Column::words("What is counted"),
                Column::figures("Ours", "counted by this program"),
                Column::words("Our source"),
                Column::figures("Theirs", "counted by somebody else"),
                Column::words("Their source"),
                Column::words("Equal"),
            ],
        );
        for check in &result.cross_checks {
            table.push(vec![
                Cell::text(&check.what),
                Cell::text(number::plain(check.ours)).from(check.our_source.as_str()),
                Cell::code(&check.our_source),
                Cell::text(number::plain(check.theirs)).from(check.their_source.as_str()),
                Cell::code(&check.their_source),
                Cell::good(check.agrees, "agree", "differ"),
            ]);
        }
        for counter in &result.uncompared {
            table.push(vec![
                Cell::text(&counter.what),
                Cell::text(""),
                Cell::text(""),
                Cell::toned("not read", Tone::Absent),
                Cell::text(format!("{} ({})", counter.why, counter.source)),
                Cell::toned("not compared", Tone::Warn),
            ]);
        }
        vec![
            Block::Table(table),
            Block::Note(
                "Two sources that know nothing of each other. Where some outcomes are unsure, \
                 they agree if the difference is within what those allow."
                    .to_owned(),
            ),
        ]
    };
    Section { id: "cross-checks", title: "Counted twice", blocks }
}

pub(super) fn evidence(result: &RunResult) -> Section {
    let mut blocks = Vec::new();
    for probe in &result.evidence.probes {
        let lost = probe.events_lost;
        blocks.push(Block::Text(format!(
            "Probe {}: {} events received, {} lost.",
            probe.probe,
            number::count(probe.events),
            number::count(lost)
        )));
        if !probe.hooks.is_empty() {
            let mut table =
                Table::new("hooks", vec![Column::words("Sees"), Column::words("Hook in use")]);
            for hook in &probe.hooks {
                table.push(vec![Cell::text(&hook.sees), Cell::code(&hook.hook)]);
            }
            blocks.push(Block::Table(table));
        }
        blocks.push(Block::Text(if probe.unseen.is_empty() {
            "Nothing that it looks for was hidden from it on this kernel.".to_owned()
        } else {
            format!("Not seen on this kernel: {}.", probe.unseen.join("; "))
        }));
    }
    if blocks.is_empty() {
        blocks.push(Block::Text("No probe was attached.".to_owned()));
    }
    Section { id: "evidence", title: "Evidence: where it was seen", blocks }
}

pub(super) fn cost(result: &RunResult) -> Section {
    let cost = &result.cost;
    let mut table = Table::new(
        "cost",
        vec![Column::words("Cost"), Column::figures("Figure", ""), Column::words("Source")],
    );
    let mut row = |name: &str, cell: Cell, source: &str| {
        table.push(vec![Cell::text(name), cell.from(source), Cell::text(source)]);
    };
    row(
        "processor time of the eBPF programs",
        Cell::maybe(cost.bpf_seconds, number::seconds),
        &match cost.bpf_floor_ns {
            None => "the kernel's run statistics of each program".to_owned(),
            Some(floor) => format!(
                "the kernel's run statistics of each program, less {floor} ns a run: so much they \
                 say of an empty one"
            ),
        },
    );
    row(
        "memory of the probes' maps, in the kernel",
        Cell::maybe(cost.map_bytes, number::bytes),
        "the kernel's own account of each map (fdinfo)",
    );
    row(
        "processor time of this program, load generation included",
        Cell::maybe(cost.cpu_seconds, number::seconds),
        "getrusage, user and system",
    );
    row(
        "the same as a share of the machine",
        Cell::maybe(cost.cpu_share, number::share),
        "over all processors and the whole run",
    );
    row("greatest resident memory", Cell::maybe(cost.memory_bytes_max, number::bytes), "getrusage");
    let lost_tone = if cost.events_lost == 0 { Tone::Good } else { Tone::Warn };
    row(
        "events lost between the kernel and us",
        Cell::toned(number::count(cost.events_lost), lost_tone),
        "all probes' own count",
    );
    let mut blocks = vec![Block::Table(table)];
    let programs: Vec<_> = result
        .evidence
        .probes
        .iter()
        .flat_map(|probe| probe.programs.iter().map(move |program| (&probe.probe, program)))
        .collect();
    if !programs.is_empty() {
        let source = "the kernel's run statistics (bpf_stats)";
        let mut table = Table::new(
            "programs",
            vec![
                Column::words("eBPF program"),
                Column::words("Probe"),
                Column::figures("Runs", source),
                Column::figures("In all", source),
                Column::figures("Per run", source),
            ],
        );
        for (probe, program) in programs {
            table.push(vec![
                Cell::code(&program.program),
                Cell::text(probe),
                Cell::count(program.runs),
                Cell::text(format!("{} ns", number::count(program.run_ns))),
                Cell::maybe(program.run_ns.checked_div(program.runs), |ns| {
                    format!("{} ns", number::count(ns))
                }),
            ]);
        }
        blocks.push(Block::Table(table));
        blocks.push(Block::Note(format!("Source of runs and times: {source}.")));
    }
    Section { id: "cost", title: "What watching cost", blocks }
}

pub(super) fn setting(result: &RunResult, experiment: Option<&str>) -> Section {
    let host = &result.host;
    let mut facts = Table::new("facts", vec![Column::words("Setting"), Column::words("")]);
    let mut fact = |name: &str, cell: Cell| facts.push(vec![Cell::text(name), cell]);
    fact("experiment", Cell::text(&result.experiment.name));
    fact("started", Cell::text(&result.started));
    fact("from first to last event", Cell::text(number::seconds(result.duration_seconds)));
    fact("seed", Cell::code(result.seed.to_string()));
    match &result.load {
        None => fact("load", Cell::toned("none was planned", Tone::Absent)),
        Some(load) => {
            #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
            let timeout_seconds = load.timeout_ns as f64 / 1e9;
            fact(
                "load",
                Cell::text(format!(
                    "{}, {}, {} arrivals, time-out {}",
                    load.profile,
                    number::per_second(load.rate_per_second),
                    load.arrivals,
                    number::seconds(timeout_seconds)
                )),
            );
            fact("load goes to", Cell::code(&load.url));
        }
    }
    fact("kernel", Cell::text(format!("Linux {} ({})", host.kernel, host.arch)));
    fact("distribution", Cell::text(&host.distribution));
    fact(
        "machine",
        Cell::text(format!(
            "{} processors, {} memory, cgroups {}",
            host.cpus,
            number::bytes(host.memory_bytes),
            if host.cgroups.is_empty() { NOT_OBSERVED } else { &host.cgroups }
        )),
    );
    fact("boot id", Cell::code(&host.boot_id));
    fact("temblor", Cell::text(format!("{}, result version {}", result.temblor, result.version)));
    let mut blocks = vec![Block::Table(facts)];
    if let Some(text) = experiment {
        blocks.push(Block::Verbatim {
            summary: "The experiment, as resolved".to_owned(),
            text: text.to_owned(),
        });
    }
    Section { id: "setting", title: "Machine and experiment", blocks }
}
