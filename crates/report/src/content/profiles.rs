//! Profiles of the phases: what changed, flamegraphs, and where it all comes from.

use temblor_judge::{PhaseProfile, ProfileComparison, ProfileResult, RunResult};

use crate::document::{Block, Cell, Column, Section, Table};
use crate::number::{self, NOT_OBSERVED};
use crate::profiles::{self, Drawing, ProfileFile};

/// None: nothing was profiled.
pub(super) fn section(result: &RunResult, files: &[ProfileFile]) -> Option<Section> {
    if result.profiles.is_empty() {
        return None;
    }
    let mut blocks = Vec::new();
    for of_kind in &result.profiles {
        blocks.extend(of_kind.comparisons.iter().flat_map(|one| changed(of_kind, one)));
    }
    for of_kind in &result.profiles {
        blocks.push(Block::Text(collected(of_kind)));
        for missing in &of_kind.missing {
            let phases = missing.phases.join(", ");
            let kind = &of_kind.kind;
            blocks.push(Block::Text(format!(
                "There is no {kind} profile of {phases}: {}.",
                missing.why.trim_end_matches('.')
            )));
        }
        if !of_kind.phases.is_empty() {
            blocks.push(Block::Table(table(of_kind)));
        }
        blocks.extend(of_kind.comparisons.iter().map(|one| difference(of_kind, one, files)));
        blocks.extend(of_kind.phases.iter().map(|one| flamegraph(of_kind, one, files)));
    }
    blocks.push(Block::Note(
        "In a flamegraph each frame is as wide as what it took with all that it called; the targets \
         stand at the bottom, each frame on its caller. What took less than 1 % is its caller's. \
         Figures show where the pointer rests. The files are in pprof's format: \u{201c}temblor \
         profile svg FILE -o FILE.svg\u{201d} draws one whole, to search and to zoom."
            .to_owned(),
    ));
    Some(Section { id: "profiles", title: "Profiles", blocks })
}

/// The sentences, or that there is nothing to be told; and what is to be known of them.
fn changed(of_kind: &ProfileResult, comparison: &ProfileComparison) -> Vec<Block> {
    let ProfileComparison { base, new, changes, notes } = comparison;
    let mut items = changes.clone();
    if items.is_empty() {
        items.push("Nothing that could be told from chance.".to_owned());
    }
    let kind = &of_kind.kind;
    let list = Block::List { head: format!("What changed from {base} to {new} ({kind})"), items };
    [list].into_iter().chain(notes.iter().cloned().map(Block::Note)).collect()
}

fn collected(of_kind: &ProfileResult) -> String {
    let ProfileResult { kind, rate_hz, attach_seconds, naming_seconds, samples_lost, .. } = of_kind;
    let rate = rate_hz.map_or_else(String::new, |rate_hz| {
        format!(" Each processor was looked at {rate_hz} times a second.")
    });
    let seconds =
        |seconds: &Option<f64>| seconds.map_or_else(|| NOT_OBSERVED.to_owned(), number::seconds);
    let lost = samples_lost.map_or_else(|| NOT_OBSERVED.to_owned(), number::count);
    format!(
        "Profile {kind}, of all targets.{rate} Attached before the first phase, which took: {}. \
         Finding the names took: {}. Samples lost: {lost}. What it cost the kernel stands under \
         \u{201c}What watching cost\u{201d}.",
        seconds(attach_seconds),
        seconds(naming_seconds)
    )
}

fn table(of_kind: &ProfileResult) -> Table {
    let kernel = "counted as the samples came from the kernel";
    let mut columns = vec![
        Column::words("Phase"),
        Column::figures("Samples", kernel),
        Column::figures("Reach their root", "the outermost frame of the thread is there"),
        Column::figures("Lasted", "from the phase's beginning to its end"),
        Column::words("File"),
    ];
    if of_kind.rate_hz.is_some() {
        let busy = "samples, by rate and duration: so many were busy with it";
        columns.push(Column::figures("Processors", busy));
    }
    let mut table = Table::new("profiles", columns);
    for profile in &of_kind.phases {
        let PhaseProfile { phase, file, samples, samples_to_root, seconds } = profile;
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let (all, to_root) = (*samples as f64, *samples_to_root as f64);
        let share = (all > 0.0).then(|| to_root / all);
        let busy = of_kind.rate_hz.filter(|_| *seconds > 0.0);
        let busy = busy.map(|rate_hz| all / f64::from(rate_hz) / seconds);
        let mut cells = vec![
            Cell::text(phase),
            Cell::count(*samples),
            Cell::maybe(share, |share| {
                format!("{} ({})", number::share(share), number::count(*samples_to_root))
            }),
            Cell::text(number::seconds(*seconds)),
            Cell::code(file),
        ];
        if of_kind.rate_hz.is_some() {
            cells.push(Cell::maybe(busy, |busy| format!("{busy:.2}")));
        }
        table.push(cells);
    }
    table
}

fn difference(
    of_kind: &ProfileResult,
    comparison: &ProfileComparison,
    files: &[ProfileFile],
) -> Block {
    let ProfileComparison { base, new, .. } = comparison;
    let of = |phase: &str| {
        let profile = of_kind.phases.iter().find(|profile| profile.phase == phase);
        profile.and_then(|profile| profiles::of(files, &profile.file)?.as_ref().ok())
    };
    let summary = format!("{}: {new}, red where it took more than {base}", of_kind.kind);
    let drawn = of(base).zip(of(new)).map(|(base, new)| profiles::difference(base, new));
    let mut blocks = match drawn {
        None => vec![Block::Text("The profiles are not there to be drawn.".to_owned())],
        Some(drawn) => vec![drawing_block(&summary, drawn)],
    };
    blocks.push(Block::Note(format!(
        "As wide as {new}. A frame is red where it took more by itself in a second than in {base}, and \
         blue where less. What {new} does not have has no width here."
    )));
    Block::Fold { summary, open: true, blocks }
}

fn flamegraph(of_kind: &ProfileResult, profile: &PhaseProfile, files: &[ProfileFile]) -> Block {
    let summary = format!(
        "{}: {}, {}",
        of_kind.kind,
        profile.phase,
        temblor_judge::human::counted(profile.samples, "samples")
    );
    let block = match profiles::of(files, &profile.file) {
        None => Block::Text(format!("{} is not shown.", profile.file)),
        Some(Err(why)) => Block::Text(format!("{} is not shown: {why}.", profile.file)),
        Some(Ok(read)) => drawing_block(&summary, profiles::drawing(read)),
    };
    Block::Fold { summary, open: false, blocks: vec![block] }
}

fn drawing_block(label: &str, drawn: Result<Drawing, temblor_profile::Error>) -> Block {
    match drawn {
        Ok(Drawing { wide, narrow }) => Block::Drawing { label: label.to_owned(), wide, narrow },
        Err(why) => Block::Text(format!("It cannot be drawn: {why}.")),
    }
}
