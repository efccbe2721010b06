//! What was found, for other programs. Shares are per cent, with three digits behind the point.

use serde::Serialize;

use crate::SAMPLES_MIN;
use crate::budget::{Held, Holding};
use crate::change::{Basis, Change, Changes, Measure, Subject, Told};
use crate::explain::Explanation;
use crate::finding::{Analysis, Figure, Finding, Row, Stack};
use crate::interval::Interval;
use crate::sentence::sentence;
use crate::text::Report;

/// The report as it is written in JSON.
#[must_use]
pub fn json(report: &Report) -> impl Serialize + use<> {
    let against = report.against.as_ref();
    Document {
        profile: report.analysis.as_ref().map(profile),
        changes: report.changes.as_ref().map(changes),
        budgets: report.budgets.iter().map(budget).collect(),
        against: against.map(|one| AgainstDocument {
            says_something: one.says_something(),
            basis: basis_word(one.basis),
            allowed_percent: percent(one.allowed),
            samples_base: one.samples.map(|(base, _)| base.count),
            samples_new: one.samples.map(|(_, new)| new.count),
            samples_effective_base: one.samples.map(|(base, _)| base.effective),
            samples_effective_new: one.samples.map(|(_, new)| new.effective),
            samples_min: SAMPLES_MIN,
            not_counted_because: one.uncounted.map(|why| why.why()),
            comparisons: one.comparisons,
            growth_seen_from_percent: one.seen_from.map(percent),
            over: one.over.iter().map(|change| change_of(change, one.basis, &one.unit)).collect(),
        }),
        explanation: report.explanation.clone(),
    }
}

#[derive(Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<ChangesDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    budgets: Vec<BudgetDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<AgainstDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

#[derive(Serialize)]
struct ProfileDocument {
    kind: String,
    unit: String,
    total: i64,
    samples: Option<u64>,
    samples_effective: Option<u64>,
    samples_min: u64,
    too_few_samples: bool,
    not_counted_because: Option<&'static str>,
    duration_ns: Option<i64>,
    categories: Vec<RowDocument>,
    other_functions: Vec<NamedFigure>,
    findings: Vec<FindingDocument>,
}

#[derive(Serialize)]
struct FigureDocument {
    value: i64,
    samples: Option<u64>,
    share_percent: f64,
    low_percent: Option<f64>,
    high_percent: Option<f64>,
}

#[derive(Serialize)]
struct RowDocument {
    category: String,
    name: String,
    own: FigureDocument,
    with_calls: FigureDocument,
}

#[derive(Serialize)]
struct NamedFigure {
    function: String,
    #[serde(flatten)]
    figure: FigureDocument,
}

#[derive(Serialize)]
struct FindingDocument {
    category: String,
    name: String,
    measure: &'static str,
    #[serde(flatten)]
    figure: FigureDocument,
    from_percent: f64,
    advice: String,
    stacks: Vec<StackDocument>,
}

#[derive(Serialize)]
struct StackDocument {
    steps: Vec<String>,
    #[serde(flatten)]
    figure: FigureDocument,
    heaviest: Vec<String>,
}

#[derive(Serialize)]
struct ChangesDocument {
    basis: &'static str,
    kind: String,
    unit: String,
    samples_base: Option<u64>,
    samples_new: Option<u64>,
    samples_effective_base: Option<u64>,
    samples_effective_new: Option<u64>,
    too_few_samples: bool,
    not_counted_because: Option<&'static str>,
    comparisons: usize,
    list: Vec<ChangeDocument>,
}

#[derive(Serialize)]
struct ChangeDocument {
    of: &'static str,
    name: Option<String>,
    measure: &'static str,
    told: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_percent: Option<f64>,
    growth_percent: f64,
    low_percent: Option<f64>,
    high_percent: Option<f64>,
    sentence: String,
}

#[derive(Serialize)]
struct BudgetDocument {
    budget: String,
    limit_percent: f64,
    held: &'static str,
    #[serde(flatten)]
    figure: FigureDocument,
    not_counted_because: Option<&'static str>,
    functions: Option<usize>,
}

#[derive(Serialize)]
struct AgainstDocument {
    says_something: bool,
    basis: &'static str,
    allowed_percent: f64,
    samples_base: Option<u64>,
    samples_new: Option<u64>,
    samples_effective_base: Option<u64>,
    samples_effective_new: Option<u64>,
    samples_min: u64,
    not_counted_because: Option<&'static str>,
    comparisons: usize,
    growth_seen_from_percent: Option<f64>,
    over: Vec<ChangeDocument>,
}

fn profile(of: &Analysis) -> ProfileDocument {
    let row = |row: &Row| RowDocument {
        category: row.category.clone(),
        name: row.name.clone(),
        own: figure(&row.own),
        with_calls: figure(&row.with_calls),
    };
    let other = |(function, one): &(String, Figure)| NamedFigure {
        function: function.clone(),
        figure: figure(one),
    };
    ProfileDocument {
        kind: of.kind.clone(),
        unit: of.unit.clone(),
        total: of.total,
        samples: of.samples.map(|samples| samples.count),
        samples_effective: of.samples.map(|samples| samples.effective),
        samples_min: SAMPLES_MIN,
        too_few_samples: of.is_too_small(),
        not_counted_because: of.uncounted.map(|why| why.why()),
        duration_ns: Some(of.duration_ns).filter(|duration| *duration > 0),
        categories: of.rows.iter().map(row).collect(),
        other_functions: of.unknown.iter().map(other).collect(),
        findings: of.findings.iter().map(finding).collect(),
    }
}

fn finding(of: &Finding) -> FindingDocument {
    let stack = |stack: &Stack| StackDocument {
        steps: stack.steps.clone(),
        figure: figure(&stack.figure),
        heaviest: stack.frames.clone(),
    };
    FindingDocument {
        category: of.category.clone(),
        name: of.name.clone(),
        measure: if of.with_calls { WITH_CALLS } else { OWN },
        figure: figure(&of.figure),
        from_percent: percent(of.from_share),
        advice: of.advice.clone(),
        stacks: of.stacks.iter().map(stack).collect(),
    }
}

fn changes(of: &Changes) -> ChangesDocument {
    ChangesDocument {
        basis: basis_word(of.basis),
        kind: of.kind.clone(),
        unit: of.unit.clone(),
        samples_base: of.samples.map(|(base, _)| base.count),
        samples_new: of.samples.map(|(_, new)| new.count),
        samples_effective_base: of.samples.map(|(base, _)| base.effective),
        samples_effective_new: of.samples.map(|(_, new)| new.effective),
        too_few_samples: of.is_too_small(),
        not_counted_because: of.uncounted.map(|why| why.why()),
        comparisons: of.comparisons,
        list: of.list.iter().map(|change| change_of(change, of.basis, &of.unit)).collect(),
    }
}

fn change_of(of: &Change, basis: Basis, unit: &str) -> ChangeDocument {
    let (kind, name) = match &of.subject {
        Subject::Whole => ("whole", None),
        Subject::Category { id, .. } => ("category", Some(id.clone())),
        Subject::Function(name) => ("function", Some(name.clone())),
    };
    let is_rate = basis == Basis::Rates;
    let rate = |figure: f64| is_rate.then(|| thousandths(figure));
    let share = |figure: f64| (!is_rate).then(|| percent(figure));
    let bound =
        |of: fn(&Interval) -> f64, within: &Option<Interval>| within.as_ref().map(of).map(percent);
    ChangeDocument {
        of: kind,
        name,
        measure: if of.measure == Measure::Own { OWN } else { WITH_CALLS },
        told: match of.told {
            Told::More => "more",
            Told::Less => "less",
            Told::Noise => "noise",
            Told::Uncounted => "not-counted",
        },
        base_per_second: rate(of.base),
        new_per_second: rate(of.new),
        base_percent: share(of.base),
        new_percent: share(of.new),
        growth_percent: percent(of.growth),
        low_percent: bound(|within| within.low, &of.within),
        high_percent: bound(|within| within.high, &of.within),
        sentence: sentence(of, basis, unit),
    }
}

fn budget(of: &Holding) -> BudgetDocument {
    BudgetDocument {
        budget: of.budget.clone(),
        limit_percent: percent(of.share_max),
        held: match of.held {
            Held::Over => "over",
            Held::Within => "within",
            Held::Open => "open",
            Held::TooFew => "too-few-samples",
        },
        figure: figure(&of.figure),
        not_counted_because: of.uncounted.map(|why| why.why()),
        functions: of.functions,
    }
}

fn figure(of: &Figure) -> FigureDocument {
    FigureDocument {
        value: of.value,
        samples: of.samples,
        share_percent: percent(of.share),
        low_percent: of.within.map(|within| percent(within.low)),
        high_percent: of.within.map(|within| percent(within.high)),
    }
}

const OWN: &str = "own";
const WITH_CALLS: &str = "with-calls";

fn basis_word(of: Basis) -> &'static str {
    match of {
        Basis::Rates => "rates",
        Basis::Shares => "shares",
    }
}

fn percent(share: f64) -> f64 {
    thousandths(share * 100.0)
}

/// Rounded: more digits would say more than is known, and differ from machine to machine.
fn thousandths(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}
