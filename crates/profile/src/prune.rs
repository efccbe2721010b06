//! A profile without what its own writer calls uninteresting: the profiler's own doing.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::profile::Profile;

/// Of an expression's compiled form. It comes with the profile, and may be anybody's.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// How much of a location is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pruned {
    Nothing,
    /// The functions that were inlined into the one that stays.
    Inner,
    Everything,
}

/// The profile without what its `drop_frames` names and all that was called from there, except for
/// what its `keep_frames` names.
///
/// # Errors
///
/// Where either is no regular expression.
pub fn without_uninteresting(profile: &Profile) -> Result<Cow<'_, Profile>, Error> {
    if profile.drop_frames.is_empty() {
        return Ok(Cow::Borrowed(profile));
    }
    let drop = expression("drop_frames", &profile.drop_frames)?;
    let keep = Some(&profile.keep_frames).filter(|text| !text.is_empty());
    let keep = keep.map(|text| expression("keep_frames", text)).transpose()?;
    let mut known: FxHashMap<String, bool> = FxHashMap::default();
    let mut is_dropped = |name: &str| {
        *known.entry(name.to_owned()).or_insert_with_key(|name| {
            let name = without_arguments(name);
            drop.is_match(name) && keep.as_ref().is_none_or(|keep| !keep.is_match(name))
        })
    };

    let mut profile = profile.clone();
    let Profile { locations, functions, samples, .. } = &mut profile;
    let mut pruned = vec![Pruned::Nothing; locations.len()];
    for (location, pruned) in locations.iter_mut().zip(&mut pruned) {
        let outermost = location.lines.iter().rposition(|line| {
            let name = line.function.map(|id| functions[id.0 as usize].name.as_str());
            name.is_some_and(|name| !name.is_empty() && is_dropped(name))
        });
        let Some(at) = outermost else { continue };
        *pruned = if at + 1 == location.lines.len() { Pruned::Everything } else { Pruned::Inner };
        if *pruned == Pruned::Inner {
            location.lines.drain(..=at);
        }
    }
    for sample in samples {
        // What comes before the first frame that stays is left alone, so that something is left.
        let of = |at: usize| pruned[sample.stack[at].0 as usize];
        let mut is_users = false;
        let cut = (0..sample.stack.len()).rev().find_map(|at| match of(at) {
            Pruned::Nothing => {
                is_users = true;
                None
            }
            Pruned::Everything if is_users => Some(at + 1),
            Pruned::Inner if is_users => Some(at),
            _ => None,
        });
        sample.stack.drain(..cut.unwrap_or(0));
    }
    Ok(Cow::Owned(profile))
}

fn expression(which: &'static str, text: &str) -> Result<Regex, Error> {
    RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .map_err(|source| Error::Expression { which, source: Box::new(source) })
}

/// A function's name up to its arguments: the first bracket that is not part of the name.
fn without_arguments(name: &str) -> &str {
    const PARTS: [&str; 2] = ["(anonymous namespace)", "operator()"];
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut from = 0;
    while let Some(at) = name[from..].find('(').map(|at| from + at) {
        let part = PARTS.iter().find_map(|part| {
            let start = at.checked_sub(part.find('(').unwrap_or(0))?;
            name.get(start..)?.starts_with(part).then(|| start + part.len())
        });
        match part {
            Some(end) => from = end,
            None => return &name[..at],
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_off_and_names_are_not() {
        for (name, expected) in [
            ("main.work", "main.work"),
            (".main", "main"),
            ("work(int, char*)", "work"),
            ("(anonymous namespace)::work(int)", "(anonymous namespace)::work"),
            ("Thing::operator()(int) const", "Thing::operator()"),
            ("gin.(*Context).Next", "gin."),
        ] {
            assert_eq!(without_arguments(name), expected);
        }
    }
}
