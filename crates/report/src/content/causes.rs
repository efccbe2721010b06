//! What went wrong in the kernel's eyes, by its cause.

use temblor_judge::RunResult;

use crate::document::{Block, Cell, Column, Section, Table};

/// None: nothing did, or nobody looked.
pub(super) fn section(result: &RunResult) -> Option<Section> {
    let causes = &result.evidence.causes;
    if causes.is_empty() {
        return None;
    }
    let mut phases: Vec<&str> = result.phases.iter().map(|phase| phase.name.as_str()).collect();
    let told = causes.iter().flat_map(|cause| cause.phases.keys());
    for phase in told {
        if !phases.contains(&phase.as_str()) {
            phases.push(phase);
        }
    }
    let mut columns = vec![Column::words("Service"), Column::words("Peer"), Column::words("What")];
    columns.extend(phases.iter().map(|phase| Column::figures(*phase, "times")));
    let mut table = Table::new("causes", columns);
    for cause in causes {
        let peer = cause.peer.as_deref().unwrap_or("");
        let mut cells =
            vec![Cell::text(&cause.service), Cell::text(peer), Cell::text(&cause.cause)];
        let times = |phase: &&str| cause.phases.get(*phase).copied().unwrap_or(0);
        cells.extend(phases.iter().map(|phase| Cell::count(times(phase))));
        table.push(cells);
    }
    let blocks = vec![
        Block::Table(table),
        Block::Note(
            "Source: the probes tcp, process and sched. Of what was sent again the segments are \
             counted, of being held up the seconds: a target is held up in a second in which its \
             threads together could run and did not for a tenth of it, some of them for 5 ms; it \
             was throttled if its own quota ran out in a tenth of the periods, and starved if not."
                .to_owned(),
        ),
    ];
    Some(Section { id: "causes", title: "What went wrong, by cause", blocks })
}
