//! What a phase has more of than the one before the fault, and less: target by target, because each
//! does something else with its time.

use std::collections::BTreeSet;

use temblor_analysis::{Change, Changes, ChangesOptions, Measure, Rules, Subject, Told, changes};
use temblor_event::PhaseRole;
use temblor_judge::human::{counted, duration, percent};
use temblor_judge::{PhaseProfile, ProfileComparison, ProfileResult, RunResult};
use temblor_profile::{LabelValue, Profile, Sample};

use super::draw::TARGET;
use super::{ProfileFile, of};

/// Of a target so many changes are told of what its time is for, and of its functions.
const CATEGORIES_MAX: usize = 3;
const FUNCTIONS_MAX: usize = 5;
/// What is not counted has no bounds of chance: smaller changes than this, as a share of the whole,
/// are not told.
const UNCOUNTED_MIN: f64 = 0.05;

/// Holds against each other what the judge says is to be.
pub(crate) fn compare(result: &mut RunResult, files: &[ProfileFile]) {
    let roles: Vec<(String, PhaseRole)> =
        result.phases.iter().map(|phase| (phase.name.clone(), phase.role)).collect();
    let role = |name: &str| roles.iter().find(|(one, _)| one == name).map(|(_, role)| *role);
    for of_kind in &mut result.profiles {
        let pairs = of_kind.pairs(role);
        of_kind.comparisons =
            pairs.into_iter().map(|(base, new)| comparison(of_kind, base, new, files)).collect();
    }
}

fn comparison(
    of_kind: &ProfileResult,
    base: usize,
    new: usize,
    files: &[ProfileFile],
) -> ProfileComparison {
    let (base, new) = (&of_kind.phases[base], &of_kind.phases[new]);
    let mut compared = ProfileComparison {
        base: base.phase.clone(),
        new: new.phase.clone(),
        changes: Vec::new(),
        notes: Vec::new(),
    };
    let read =
        |profile: &PhaseProfile| of(files, &profile.file).and_then(|read| read.as_ref().ok());
    let (Some(of_base), Some(of_new)) = (read(base), read(new)) else {
        compared.notes.push("The profiles could not be read.".to_owned());
        return compared;
    };
    let targets: BTreeSet<&str> =
        of_base.samples.iter().chain(&of_new.samples).filter_map(target).collect();
    let mut uncounted = Uncounted::default();
    for target in targets {
        one_target(target, of_base, of_new, &mut compared, &mut uncounted);
    }
    if !uncounted.unchanged.is_empty() {
        let targets = uncounted.unchanged.join(", ");
        let least = percent(UNCOUNTED_MIN);
        compared
            .notes
            .push(format!("{targets}: nothing changed by {least} or more of what it took."));
    }
    compared.notes.push(where_from(of_kind, base, new));
    compared.notes.push(match uncounted.why {
        None => {
            "In brackets is what chance leaves open: with 95 % it holds for all that was compared \
                 of a target. A program that does one thing for seconds on end may differ by more."
                .to_owned()
        }
        Some(why) => format!("What chance leaves open is not known: {why}."),
    });
    compared
}

fn where_from(of_kind: &ProfileResult, base: &PhaseProfile, new: &PhaseProfile) -> String {
    let side = |of: &PhaseProfile| {
        format!("{} in {} of {}", counted(of.samples, "samples"), duration(of.seconds), of.phase)
    };
    let rate = of_kind.rate_hz.map_or_else(String::new, |rate_hz| {
        format!(", each processor looked at {rate_hz} times a second")
    });
    format!("Figures are from {} and {}, all targets together{rate}.", side(base), side(new))
}

/// What is compared without knowing how many samples it is made of.
#[derive(Default)]
struct Uncounted<'a> {
    why: Option<&'static str>,
    /// The targets of which nothing changed much.
    unchanged: Vec<&'a str>,
}

fn one_target<'a>(
    target: &'a str,
    base: &Profile,
    new: &Profile,
    into: &mut ProfileComparison,
    uncounted: &mut Uncounted<'a>,
) {
    let (of_base, of_new) = (only(base, target), only(new, target));
    if let Some(missing) = [(&of_base, &into.base), (&of_new, &into.new)]
        .iter()
        .find(|(profile, _)| profile.samples.is_empty())
    {
        into.notes.push(format!("{target}: no samples in {}, so nothing to compare.", missing.1));
        return;
    }
    let compared = match changes(&of_base, &of_new, &ChangesOptions::default(), Rules::built_in()) {
        Ok(compared) => compared,
        Err(why) => {
            into.notes.push(format!("{target}: cannot be compared: {why}."));
            return;
        }
    };
    let sides = compared
        .samples
        .map(|(base, new)| format!("{base} in {}, {new} in {}", into.base, into.new));
    let sides = sides.unwrap_or_default();
    if compared.is_too_small() {
        let wanted = temblor_analysis::SAMPLES_MIN;
        into.notes.push(format!(
            "{target}: too few samples to say anything ({sides}); {wanted} of each are wanted. Put \
             more load on it, let the phases last longer, or give a higher rate."
        ));
        return;
    }
    let (told, left_out) = told(&compared);
    if let Some(why) = compared.uncounted {
        uncounted.why = Some(why.why());
        if told.is_empty() {
            uncounted.unchanged.push(target);
        }
    } else if told.is_empty() {
        into.notes.push(format!("{target}: no change that can be told from chance ({sides})."));
    }
    if left_out > 0 {
        into.notes.push(format!(
            "{target}: {left_out} more are not listed here; \u{201c}temblor profile analyze\u{201d} lists \
             them."
        ));
    }
    let sentences = told.iter().map(|change| format!("{target}: {}", compared.sentence(change)));
    into.changes.extend(sentences);
}

/// What is worth a sentence, and how much more there is. The whole, then what the time is for, then
/// functions, by what each takes itself: what it takes with all that it calls says the same again of
/// all its callers.
fn told(compared: &Changes) -> (Vec<&Change>, usize) {
    let is_told = |change: &&Change| match change.told {
        Told::More | Told::Less => change.measure == Measure::Own,
        Told::Uncounted => change.measure == Measure::Own && change.growth.abs() >= UNCOUNTED_MIN,
        Told::Noise => false,
    };
    let (mut categories, mut functions, mut left_out) = (0, 0, 0);
    let mut told = Vec::new();
    for change in compared.list.iter().filter(is_told) {
        let (seen, max) = match change.subject {
            Subject::Whole => (&mut 0, 1),
            Subject::Category { .. } => (&mut categories, CATEGORIES_MAX),
            Subject::Function(_) => (&mut functions, FUNCTIONS_MAX),
        };
        if *seen < max {
            told.push(change);
        } else {
            left_out += 1;
        }
        *seen += 1;
    }
    (told, left_out)
}

fn target(sample: &Sample) -> Option<&str> {
    sample.labels.iter().find_map(|label| match &label.value {
        LabelValue::Text(text) if label.key == TARGET => Some(text.as_str()),
        _ => None,
    })
}

fn only(profile: &Profile, wanted: &str) -> Profile {
    let mut only = profile.clone();
    only.samples.retain(|sample| target(sample) == Some(wanted));
    only
}
