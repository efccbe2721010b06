//! Several profiles made one: their sum, or what one has more than the other.

use crate::build::Builder;
use crate::error::Error;
use crate::profile::{
    BASE_LABEL, Function, FunctionId, Label, LabelValue, Line, Location, LocationId, Mapping,
    MappingId, Profile, ValueType,
};

/// The sum of profiles that count the same: the earliest time, all durations together, the largest
/// period.
///
/// # Errors
///
/// Where they count different things, or there is none.
pub fn merge<'of>(profiles: impl IntoIterator<Item = &'of Profile>) -> Result<Profile, Error> {
    let profiles: Vec<&Profile> = profiles.into_iter().collect();
    let (first, others) = profiles.split_first().ok_or(Error::NoTypes)?;
    let mut sum = begun_with(first);
    let begun_ns = profiles.iter().fold(0, |begun_ns, one| earlier(begun_ns, one.time_ns));
    sum.about().time_ns = begun_ns;
    add(&mut sum, first, 1, |label| Some(later(label, first.time_ns, begun_ns)));
    for one in others {
        same_types(first, one)?;
        add(&mut sum, one, 1, |label| Some(later(label, one.time_ns, begun_ns)));
        let about = sum.about();
        about.duration_ns = about.duration_ns.saturating_add(one.duration_ns);
        about.period = about.period.max(one.period);
        let new = one.comments.iter().filter(|comment| !about.comments.contains(comment));
        let new: Vec<String> = new.cloned().collect();
        about.comments.extend(new);
    }
    Ok(sum.finish())
}

/// What the second has more than the first, and less, as negative values. What it is compared with
/// stays in it as samples of its own, so that shares can be told as shares of that.
///
/// # Errors
///
/// Where they count different things.
pub fn difference(base: &Profile, new: &Profile) -> Result<Profile, Error> {
    same_types(base, new)?;
    let mut sum = begun_with(new);
    let is_base = Label { key: BASE_LABEL.to_owned(), value: LabelValue::Text("true".to_owned()) };
    // When a stack was seen is no difference.
    let timeless = |label: &Label| label.time_ns().is_none().then(|| label.clone());
    add_with(&mut sum, base, -1, &[is_base], timeless);
    add(&mut sum, new, 1, timeless);
    sum.about().time_ns = earlier(base.time_ns, new.time_ns);
    sum.about().duration_ns = new.duration_ns.saturating_add(base.duration_ns);
    Ok(sum.finish())
}

/// Of those that are known.
fn earlier(one_ns: i64, other_ns: i64) -> i64 {
    match (one_ns, other_ns) {
        (0, known) | (known, 0) => known,
        (one, other) => one.min(other),
    }
}

/// A label of a profile that was begun at one time, in one that was begun before it. A time that is
/// not known is taken for the same.
fn later(label: &Label, time_ns: i64, begun_ns: i64) -> Label {
    let by_ns = if time_ns == 0 { 0 } else { time_ns.saturating_sub(begun_ns) };
    match (label.time_ns(), &label.value) {
        (Some(time_ns), LabelValue::Figure(_, unit)) => Label {
            key: label.key.clone(),
            value: LabelValue::Figure(time_ns.saturating_add(by_ns), unit.clone()),
        },
        _ => label.clone(),
    }
}

fn begun_with(first: &Profile) -> Builder {
    let mut sum = Builder::new(first.types.clone());
    *sum.about() = Profile {
        samples: Vec::new(),
        mappings: Vec::new(),
        locations: Vec::new(),
        functions: Vec::new(),
        ..first.clone()
    };
    sum
}

fn same_types(left: &Profile, right: &Profile) -> Result<(), Error> {
    if left.types == right.types {
        return Ok(());
    }
    let words = |types: &[ValueType]| {
        let one = |of: &ValueType| format!("{}/{}", of.kind, of.unit);
        types.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    Err(Error::Unlike { left: words(&left.types), right: words(&right.types) })
}

fn add(sum: &mut Builder, one: &Profile, factor: i64, label: impl Fn(&Label) -> Option<Label>) {
    add_with(sum, one, factor, &[], label);
}

/// Adds a profile's samples with these labels, and what becomes of their own.
fn add_with(
    sum: &mut Builder,
    one: &Profile,
    factor: i64,
    labels: &[Label],
    label: impl Fn(&Label) -> Option<Label>,
) {
    let mappings: Vec<MappingId> =
        one.mappings.iter().map(|mapping: &Mapping| sum.mapping(mapping.clone())).collect();
    let functions: Vec<FunctionId> =
        one.functions.iter().map(|function: &Function| sum.function(function.clone())).collect();
    let line =
        |line: &Line| Line { function: line.function.map(|id| functions[id.0 as usize]), ..*line };
    let locations: Vec<LocationId> = one
        .locations
        .iter()
        .map(|location| {
            sum.location(Location {
                mapping: location.mapping.map(|id| mappings[id.0 as usize]),
                lines: location.lines.iter().map(line).collect(),
                ..location.clone()
            })
        })
        .collect();
    for sample in &one.samples {
        let stack = sample.stack.iter().map(|id| locations[id.0 as usize]).collect();
        let values: Vec<i64> =
            sample.values.iter().map(|value| value.saturating_mul(factor)).collect();
        let mut all: Vec<Label> = sample.labels.iter().filter_map(&label).collect();
        all.extend_from_slice(labels);
        sum.sample(stack, &values, all);
    }
}
