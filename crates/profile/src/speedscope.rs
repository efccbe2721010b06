//! Speedscope's file format: each type of a profile as a profile of its own, stacks in the order in
//! which they stand there.

use serde::Serialize;

use crate::graph::Names;
use crate::profile::{Profile, ValueType};

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'of> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'of str,
    exporter: &'static str,
    active_profile_index: usize,
    shared: Shared<'of>,
    profiles: Vec<Sampled<'of>>,
}

#[derive(Serialize)]
struct Shared<'of> {
    frames: Vec<Frame<'of>>,
}

#[derive(Serialize)]
struct Frame<'of> {
    name: &'of str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'of> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'of str,
    unit: &'static str,
    start_value: i64,
    end_value: i64,
    /// From the thread's root to the leaf.
    samples: Vec<&'of [u32]>,
    weights: Vec<i64>,
}

/// The file. What is negative has no place in it and is left out.
///
/// # Panics
///
/// Never: texts and figures can always be written as JSON.
#[must_use]
pub fn write(profile: &Profile, name: &str) -> String {
    let names = Names::of(profile);
    let stack = |sample| names.walk(sample).map(|(node, _)| node).collect::<Vec<u32>>();
    let stacks: Vec<Vec<u32>> = profile.samples.iter().map(stack).collect();
    let sampled = |(index, of)| sampled(profile, &stacks, index, of);
    let file = File {
        schema: SCHEMA,
        name,
        exporter: concat!("temblor ", env!("CARGO_PKG_VERSION")),
        active_profile_index: profile.type_index(None).unwrap_or(0),
        shared: Shared {
            frames: (0..names.len()).map(|id| Frame { name: names.name(id as u32) }).collect(),
        },
        profiles: profile.types.iter().enumerate().map(sampled).collect(),
    };
    serde_json::to_string(&file).expect("texts and figures can be written")
}

fn sampled<'of>(
    profile: &Profile,
    stacks: &'of [Vec<u32>],
    index: usize,
    of: &'of ValueType,
) -> Sampled<'of> {
    let (mut samples, mut weights) = (Vec::new(), Vec::new());
    for (sample, stack) in profile.samples.iter().zip(stacks) {
        if sample.values[index] > 0 {
            samples.push(stack.as_slice());
            weights.push(sample.values[index]);
        }
    }
    Sampled {
        kind: "sampled",
        name: &of.kind,
        unit: unit(&of.unit),
        start_value: 0,
        end_value: weights.iter().fold(0, |sum, weight| sum.saturating_add(*weight)),
        samples,
        weights,
    }
}

/// The name that the format has for it.
fn unit(unit: &str) -> &'static str {
    match unit {
        "nanoseconds" | "ns" => "nanoseconds",
        "microseconds" | "us" => "microseconds",
        "milliseconds" | "ms" => "milliseconds",
        "seconds" | "s" => "seconds",
        "bytes" | "B" => "bytes",
        _ => "none",
    }
}
