//! Folded stacks: a line for each stack, from the thread's root to the leaf with semicolons between,
//! then a space and what it weighs.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use crate::build::Builder;
use crate::error::Error;
use crate::profile::{Profile, ValueType};

/// How much of a line is told when it is wrong.
const TEXT_MAX: usize = 80;

/// Reads folded stacks. What is not UTF-8 is replaced; empty lines and comments are skipped.
///
/// # Errors
///
/// Where a line has no count at its end.
pub fn read(bytes: &[u8], of: ValueType) -> Result<Profile, Error> {
    let mut builder = Builder::new(vec![of]);
    for (number, line) in lines(bytes) {
        let (stack, count) = split(line).ok_or_else(|| wrong(number, line))?;
        let text = String::from_utf8_lossy(stack);
        let mut stack: Vec<_> = text.split(';').map(|frame| builder.named(frame)).collect();
        stack.reverse();
        builder.sample(stack, &[count], Vec::new());
    }
    Ok(builder.finish())
}

/// Writes one of a profile's types, each stack once and in the order of their texts.
///
/// # Errors
///
/// Where the profile has no such type.
pub fn write(profile: &Profile, kind: Option<&str>) -> Result<String, Error> {
    let index = profile.type_index(kind)?;
    let names: Vec<String> = profile
        .locations
        .iter()
        .map(|location| {
            if location.lines.is_empty() {
                return frame(&profile.name_of(location, None));
            }
            let outermost_first = location.lines.iter().rev();
            let names = outermost_first.map(|line| frame(&profile.name_of(location, Some(line))));
            names.collect::<Vec<_>>().join(";")
        })
        .collect();
    let mut stacks: FxHashMap<String, i64> = FxHashMap::default();
    for sample in &profile.samples {
        let weight = sample.values[index];
        if weight == 0 {
            continue;
        }
        let root_first = sample.stack.iter().rev();
        let stack: Vec<&str> = root_first.map(|id| names[id.0 as usize].as_str()).collect();
        let sum = stacks.entry(stack.join(";")).or_default();
        *sum = sum.saturating_add(weight);
    }
    let mut stacks: Vec<(String, i64)> = stacks.into_iter().collect();
    stacks.sort_unstable();
    let mut text = String::new();
    for (stack, weight) in stacks.iter().filter(|(_, weight)| *weight != 0) {
        // Memory takes what is written.
        let _ = writeln!(text, "{stack} {weight}");
    }
    Ok(text)
}

/// A name in which nothing divides frames, or lines.
fn frame(name: &str) -> String {
    name.replace(';', ":").replace(['\n', '\r'], " ")
}

/// The lines that say something, numbered from 1 on.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let trimmed = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    (1..).zip(trimmed).filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// A line's stack and its count. A fraction of a count is rounded down.
pub(crate) fn split(line: &[u8]) -> Option<(&[u8], i64)> {
    let space = line.iter().rposition(|byte| *byte == b' ')?;
    let count = std::str::from_utf8(&line[space + 1..]).ok()?;
    let whole = count.split_once('.').map_or(count, |(whole, fraction)| {
        let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit());
        if is_fraction { whole } else { "" }
    });
    let stack = line[..space].trim_ascii();
    Some((stack, whole.parse().ok()?)).filter(|(stack, _)| !stack.is_empty())
}

pub(crate) fn wrong(line: usize, text: &[u8]) -> Error {
    let text: String = String::from_utf8_lossy(text).chars().take(TEXT_MAX).collect();
    Error::Folded { line, text }
}
