//! What was to be learnt, answered from the evidence: one module a kind of answer.
//!
//! Every sentence is made of what was observed; what was not observed says so. A name that nothing
//! answers to is refused before a run begins; should one come all the same, it is said.

mod connections;
mod figures;
mod readings;
mod resets;
mod services;

use temblor_event::AnsweredBy;

use crate::detection::Sign;
use crate::doses::dose_sentence;
use crate::expectations::Figures;
use crate::faults::label;
use crate::human::{counted, moment, percent};
use crate::log::Log;
use crate::phases::Window;
use crate::recovery::Recovery;
use crate::result::{Answer, ConnectionStory, FaultResult, LedgerResult};
use crate::services_result::ServicesResult;
use crate::sides::Sides;

/// Sentences of one answer.
const FOUND_MAX: usize = 40;
/// Questions answered, and names in one of them.
const QUESTIONS_MAX: usize = 50;

pub(crate) const NOT_OBSERVED: &str = "not observed";

/// What answers are made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) log: &'a Log<'a>,
    pub(crate) windows: &'a [Window<'a>],
    pub(crate) sides: &'a Sides,
    pub(crate) figures: &'a Figures<'a>,
    pub(crate) faults: &'a [FaultResult],
    pub(crate) stories: &'a [ConnectionStory],
    pub(crate) application: Option<&'a Sign>,
    pub(crate) kernel: Option<&'a Sign>,
    pub(crate) recovery: &'a Recovery<'a>,
    pub(crate) services: &'a ServicesResult,
    pub(crate) ledger: Option<&'a LedgerResult>,
}

/// Each question with its answer, in the experiment's order.
pub(crate) fn answers(from: &Sources<'_>) -> Vec<Answer> {
    let questions = from.log.started.get().learn.iter().take(QUESTIONS_MAX);
    questions
        .map(|question| {
            let names = question.answers.iter().take(QUESTIONS_MAX);
            let mut found: Vec<String> = names.flat_map(|name| answer(from, name)).collect();
            if found.is_empty() {
                found.push("nothing was named that could answer it".to_owned());
            }
            let left_out = found.len().saturating_sub(FOUND_MAX);
            if left_out > 0 {
                found.truncate(FOUND_MAX - 1);
                found.push(format!("and {} more", left_out + 1));
            }
            Answer { question: question.question.clone(), found }
        })
        .collect()
}

fn answer(from: &Sources<'_>, name: &str) -> Vec<String> {
    match AnsweredBy::named(name) {
        Some(AnsweredBy::Figure(figure)) => figures::answer(from, figure),
        Some(AnsweredBy::Gauge(gauge)) => readings::gauge(from, gauge),
        Some(AnsweredBy::Check(check)) => readings::check(from, check),
        Some(AnsweredBy::Services) => services::answer(from.services),
        Some(AnsweredBy::Connections) => connections::answer(from),
        Some(AnsweredBy::Resets) => resets::answer(from),
        Some(AnsweredBy::Effect) => effect(from.faults),
        None => vec![format!("{name}: nothing answers to this name")],
    }
}

fn effect(faults: &[FaultResult]) -> Vec<String> {
    let mut found = Vec::new();
    for fault in faults {
        let name = label(fault, faults);
        let effect = &fault.effect;
        found.push(if effect.measure.is_empty() {
            format!("{name}: {NOT_OBSERVED}, its effect was never read")
        } else {
            let by = &effect.source;
            format!("{name}: {}, counted by {by}", counted(effect.count, &effect.measure))
        });
        found.extend(effect.doses.iter().map(|dose| format!("{name}, {}", dose_sentence(dose))));
        if !fault.levels.is_empty() {
            let levels = fault.levels.iter().take(FOUND_MAX);
            let steps: Vec<String> = levels
                .map(|level| format!("{} from {}", percent(level.level), moment(level.t_seconds)))
                .collect();
            found.push(format!("{name}, share of the dose: {}", steps.join(", ")));
        }
    }
    if found.is_empty() {
        found.push(format!("{NOT_OBSERVED}: no fault was put in place"));
    }
    found
}
