//! The functions that weigh most, in the lines of `go tool pprof -top`.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::Error;
use crate::graph::{Graph, Inlined, Names, NodeId};
use crate::measure::{AUTO, label, percentage, scale};
use crate::profile::{Profile, base_name};
use crate::prune::without_uninteresting;

/// What of it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct TopOptions {
    /// The type of value; the profile's own choice where none is named.
    pub kind: Option<String>,
    /// At most so many functions.
    pub count: Option<usize>,
    /// Without functions of less than this share of the whole.
    pub node_fraction: f64,
    /// Without calls of less than this share of the whole, when it is told what was inlined.
    pub edge_fraction: f64,
    /// Ordered by what a function weighs with all that it called, instead of by itself.
    pub by_cum: bool,
}

impl Default for TopOptions {
    /// As pprof's own.
    fn default() -> Self {
        let (node_fraction, edge_fraction) = (0.005, 0.001);
        Self { kind: None, count: None, node_fraction, edge_fraction, by_cum: false }
    }
}

impl TopOptions {
    /// With every function. Whether one was inlined is still told from calls that weigh something.
    #[must_use]
    pub fn all() -> Self {
        Self { node_fraction: 0.0, ..Self::default() }
    }
}

/// The text, with a line feed at its end.
///
/// # Errors
///
/// Where the profile has no such type, or says with an expression that is none what is to be left
/// out.
pub fn top(profile: &Profile, options: &TopOptions) -> Result<String, Error> {
    let index = profile.type_index(options.kind.as_deref())?;
    let profile = &without_uninteresting(profile)?;
    let total = total(profile, index);
    let names = Names::of(profile);

    let whole = Graph::of(profile, &names, index, None);
    let cutoff = share_of(whole.flat_sum(), options.node_fraction);
    let (graph, dropped) = without_light(profile, &names, index, whole, cutoff);
    let ordered = |graph: &Graph| if options.by_cum { graph.by_cum() } else { graph.by_flat() };
    let mut shown = ordered(&graph);
    let of_so_many = shown.len();
    let mut graph = graph;
    if let Some(count) = options.count.filter(|count| *count > 0 && *count < shown.len()) {
        shown.truncate(count);
        graph = Graph::of(profile, &names, index, Some(&marked(&names, &shown)));
        shown = ordered(&graph);
    }
    let from = &profile.types[index].unit;
    let unit = output_unit(&graph, &shown, total, from);
    let value = |value: i64| label(value, from, &unit);

    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Memory takes what is written.
        let _ = writeln!(text, "{line}");
    };
    for told in about(profile, index, total, &unit) {
        line(format_args!("{told}"));
    }
    let sum = graph.flat_sum();
    line(format_args!(
        "Showing nodes accounting for {}, {} of {} total",
        value(sum),
        percentage(sum, total).trim(),
        value(total)
    ));
    if total != 0 && dropped > 0 {
        let plural = if dropped == 1 { "" } else { "s" };
        let below = value(share_of(total, options.node_fraction).cast_signed());
        line(format_args!("Dropped {dropped} node{plural} (cum <= {below})"));
    }
    if total != 0 && !shown.is_empty() && shown.len() < of_so_many {
        line(format_args!("Showing top {} nodes out of {of_so_many}", shown.len()));
    }
    line(format_args!("      flat  flat%   sum%        cum   cum%"));
    let inlined = graph.inlined(share_of(total, options.edge_fraction));
    let mut sum = 0_i64;
    for id in shown {
        let node = &graph.nodes[id as usize];
        sum = sum.saturating_add(node.flat);
        let inlined = match inlined[id as usize] {
            Inlined::Never => "",
            Inlined::Sometimes => " (partial-inline)",
            Inlined::Always => " (inline)",
        };
        line(format_args!(
            "{:>10} {} {} {:>10} {}  {}{inlined}",
            value(node.flat),
            percentage(node.flat, total),
            percentage(sum, total),
            value(node.cum),
            percentage(node.cum, total),
            node.name,
        ));
    }
    Ok(text)
}

/// What shares are shares of: of a difference what it is compared with, else everything, and what is
/// negative as if it were not.
pub(crate) fn total(profile: &Profile, index: usize) -> i64 {
    let mut sums = (0_i64, 0_i64);
    for sample in &profile.samples {
        let weight = sample.values[index].saturating_abs();
        sums.0 = sums.0.saturating_add(weight);
        if sample.is_of_base() {
            sums.1 = sums.1.saturating_add(weight);
        }
    }
    if sums.1 > 0 { sums.1 } else { sums.0 }
}

/// Whole units: what is below is cut off, as pprof does.
fn share_of(total: i64, fraction: f64) -> u64 {
    ((total as f64 * fraction) as i64).unsigned_abs()
}

/// Without what weighs less, and how many functions that was.
fn without_light(
    profile: &Profile,
    names: &Names,
    index: usize,
    whole: Graph,
    cutoff: u64,
) -> (Graph, usize) {
    let all = whole.by_cum();
    let heavy = |id: &&NodeId| whole.nodes[**id as usize].cum.unsigned_abs() >= cutoff;
    let kept: Vec<NodeId> = all.iter().filter(heavy).copied().collect();
    let dropped = all.len() - kept.len();
    if dropped == 0 {
        return (whole, 0);
    }
    (Graph::of(profile, names, index, Some(&marked(names, &kept))), dropped)
}

fn marked(names: &Names, kept: &[NodeId]) -> Vec<bool> {
    let mut marked = vec![false; names.len()];
    for id in kept {
        marked[*id as usize] = true;
    }
    marked
}

/// The unit in which the lightest function is still told apart from nothing.
fn output_unit(graph: &Graph, shown: &[NodeId], total: i64, from: &str) -> String {
    let weight = |id: &NodeId| {
        let node = &graph.nodes[*id as usize];
        if node.flat == 0 { node.cum.saturating_abs() } else { node.flat.saturating_abs() }
    };
    if shown.is_empty() {
        return AUTO.to_owned();
    }
    let lightest = shown.iter().map(weight).filter(|weight| *weight > 0).min().unwrap_or(total);
    let unit_of = |value: i64| scale(value, from, AUTO).1;
    let mut unit = unit_of(lightest);
    if unit != unit_of(total) && lightest.saturating_mul(100) < total {
        unit = unit_of(lightest.saturating_mul(100));
    }
    if unit.is_empty() { from.to_owned() } else { unit }
}

/// What is known of the whole.
fn about(profile: &Profile, index: usize, total: i64, unit: &str) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(program) = profile.mappings.first() {
        if !program.file.is_empty() {
            told.push(format!("File: {}", base_name(&program.file)));
        }
        if !program.build_id.is_empty() {
            told.push(format!("Build ID: {}", program.build_id));
        }
    }
    let comments = profile.comments.iter().filter(|comment| !comment.starts_with('#'));
    told.extend(comments.cloned());
    let of = &profile.types[index];
    if !of.kind.is_empty() {
        told.push(format!("Type: {}", of.kind));
    }
    if !profile.doc_url.is_empty() {
        told.push(format!("Doc: {}", profile.doc_url));
    }
    if profile.time_ns != 0
        && let Ok(time) = Timestamp::from_nanosecond(profile.time_ns.into())
    {
        let time = time.to_zoned(TimeZone::UTC);
        told.push(format!("Time: {}", time.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
    if profile.duration_ns != 0 {
        let (total_ns, in_ns) = scale(total, &of.unit, "nanoseconds");
        let share = if in_ns == "ns" && total_ns != 0.0 {
            format!("({})", percentage(total_ns as i64, profile.duration_ns))
        } else {
            String::new()
        };
        told.push(format!(
            "Duration: {}, Total samples = {} {share}",
            label(profile.duration_ns, "nanoseconds", AUTO),
            label(total, &of.unit, unit),
        ));
    }
    told
}
