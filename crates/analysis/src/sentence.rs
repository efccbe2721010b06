//! Figures and changes in words.

use temblor_profile::label;

use crate::change::{Basis, Change, Changes, Measure, Subject, Told};
use crate::finding::Figure;
use crate::interval::Interval;

/// A share with a digit behind the point: `12.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", bare_percent(share))
}

/// The same without the sign.
pub(crate) fn bare_percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    if text == "-0.0" { "0.0".to_owned() } else { text.replace('-', "−") }
}

/// With its sign: `+5.3`, `−0.2`.
fn signed(share: f64) -> String {
    let text = bare_percent(share);
    if text.starts_with('−') { text } else { format!("+{text}") }
}

/// What a share is between: `10.1 to 14.5 %`.
pub(crate) fn between(within: Interval) -> String {
    format!("{} to {} %", bare_percent(within.low), bare_percent(within.high))
}

/// A share, and what it is between where that is known.
pub(crate) fn figure(of: &Figure) -> String {
    match of.within {
        Some(within) => format!("{} ({})", percent(of.share), between(within)),
        None => percent(of.share),
    }
}

/// Who or what is meant.
#[must_use]
pub(crate) fn subject(of: &Subject, measure: Measure) -> String {
    let with_calls = if measure == Measure::WithCalls { " with all it calls" } else { "" };
    match of {
        Subject::Whole => "everything together".to_owned(),
        Subject::Category { name, .. } => format!("{name}{with_calls}"),
        Subject::Function(name) => format!("{name}{with_calls}"),
    }
}

impl Changes {
    /// A change in a sentence, with its figures.
    #[must_use]
    pub fn sentence(&self, change: &Change) -> String {
        sentence(change, self.basis, &self.unit)
    }
}

pub(crate) fn sentence(change: &Change, basis: Basis, unit: &str) -> String {
    let who = subject(&change.subject, change.measure);
    let by = signed(change.growth);
    let from_to =
        change.within.map(|within| format!("{} to {}", signed(within.low), signed(within.high)));
    let range = from_to.as_deref().unwrap_or_default();
    if change.told == Told::Noise {
        let of = match basis {
            Basis::Rates => " % of what the base took",
            Basis::Shares => " points",
        };
        return format!("{who}: no change that can be told from noise ({range}{of})");
    }
    let range = if range.is_empty() { String::new() } else { format!(" ({range})") };
    match basis {
        Basis::Rates => {
            // A figure of a second, in whole units.
            #[expect(clippy::cast_possible_truncation, reason = "rounded to be shown")]
            let told = |figure: f64| label(figure.round() as i64, unit, "auto");
            let (base, new) = (told(change.base), told(change.new));
            format!("{who}: {new} a second instead of {base}, {by} % of what the base took{range}")
        }
        Basis::Shares => {
            let (base, new) = (percent(change.base), percent(change.new));
            format!("{who}: {new} instead of {base}, {by} points{range}")
        }
    }
}
