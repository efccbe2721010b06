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
    let mut profiles = profiles.into_iter();
    let first = profiles.next().ok_or(Error::NoTypes)?;
    let mut sum = begun_with(first);
    add(&mut sum, first, 1, &[]);
    for one in profiles {
        same_types(first, one)?;
        add(&mut sum, one, 1, &[]);
        let about = sum.about();
        about.time_ns = earlier(about.time_ns, one.time_ns);
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
    add(&mut sum, base, -1, &[is_base]);
    add(&mut sum, new, 1, &[]);
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

fn add(sum: &mut Builder, one: &Profile, factor: i64, labels: &[Label]) {
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
        let mut all = sample.labels.clone();
        all.extend_from_slice(labels);
        sum.sample(stack, &values, all);
    }
}
