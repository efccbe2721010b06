//! From a result to a document: what is said, in which order, with which source.

mod causes;
mod edges;
pub(crate) mod expected;
mod faults;
mod head;
mod instrument;
mod kernel_figures;
mod learnt;
mod ledger;
mod phases;
mod profiles;
mod scripts;
mod services;
pub(crate) mod tcp;

use temblor_judge::{RunResult, Verdict};

use crate::Beside;
use crate::document::Document;
use crate::number;

/// The document of a run.
pub(crate) fn document(result: &RunResult, beside: &Beside<'_>) -> Document {
    Document {
        name: result.experiment.name.clone(),
        title: if result.experiment.title.trim().is_empty() {
            result.experiment.name.clone()
        } else {
            result.experiment.title.clone()
        },
        started: result.started.clone(),
        duration: number::seconds(result.duration_seconds),
        temblor: result.temblor.clone(),
        host: format!("{} · Linux {}", result.host.distribution, result.host.kernel),
        verdict: verdict_name(result.verdict),
        verdict_meaning: head::verdict_meaning(result.verdict),
        reasons: result.reasons.clone(),
        notices: beside.notices.clone(),
        hypothesis: result.hypothesis.clone(),
        tiles: head::tiles(result),
        learnt: learnt::section(result),
        sections: [
            expected::section(result),
            head::timeline(result),
            services::section(result),
            phases::section(result),
            ledger::section(result),
            tcp::section(result),
        ]
        .into_iter()
        .chain(edges::section(result))
        .chain(causes::section(result))
        .chain(kernel_figures::section(result))
        .chain(profiles::section(result, &beside.profiles))
        .chain(scripts::section(result, &beside.scripts))
        .chain([
            faults::section(result),
            instrument::cross_checks(result),
            instrument::evidence(result),
            instrument::cost(result),
            instrument::setting(result, beside.experiment),
        ])
        .collect(),
    }
}

/// The verdict as it is written in `result.json`.
pub(crate) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Invalid => "invalid",
        Verdict::Aborted => "aborted",
        Verdict::Leak => "leak",
    }
}
