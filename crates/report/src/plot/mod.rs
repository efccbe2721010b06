//! Plots over time, one above the other on one time axis, drawn as SVG.

mod axis;
mod draw;
mod palette;
mod panels;

use plotters::style::RGBColor;
use serde::Serialize;
use temblor_event::PhaseRole;
use temblor_judge::{FaultResult, RunResult, Series};

/// A plot, drawn twice: for wide and for narrow pages.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) legend: Vec<Legend>,
    pub(crate) source: String,
    pub(crate) wide: String,
    pub(crate) narrow: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Legend {
    pub(crate) label: String,
    pub(crate) colour: &'static str,
}

/// What is drawn within the frame.
struct Panel {
    title: String,
    source: String,
    legend: Vec<(String, RGBColor)>,
    content: Content,
}

enum Content {
    /// Lines and dots. Values that are not there leave a gap.
    Lines { lines: Vec<Line>, log: bool, write: fn(f64) -> String },
    /// Counts per second, one upon the other.
    Stack { layers: Vec<(RGBColor, Vec<f64>)>, starts: Vec<f64>, width: f64 },
    /// One row for each thing, with marks along it.
    Rows(Vec<RowOfMarks>),
}

struct Line {
    colour: RGBColor,
    dots: bool,
    points: Vec<(f64, Option<f64>)>,
}

struct RowOfMarks {
    label: String,
    marks: Vec<Mark>,
}

/// A stretch of time; where it has no length, a moment.
struct Mark {
    from: f64,
    to: f64,
    colour: RGBColor,
    /// Fills the row's height, to be seen first.
    full: bool,
}

/// What all plots share: the axis, the phases, the moments.
struct Frame {
    from: f64,
    to: f64,
    phases: Vec<Shade>,
    moments: Vec<Moment>,
}

struct Shade {
    name: String,
    role: PhaseRole,
    from: f64,
    to: f64,
}

struct Moment {
    label: String,
    at: f64,
    colour: RGBColor,
}

/// A drawing that failed; the target is a string, so that nothing outside can make it fail.
pub(crate) type DrawError = plotters::drawing::DrawingAreaErrorKind<std::io::Error>;

/// All plots of a run.
pub(crate) fn figures(result: &RunResult, series: &Series) -> Result<Vec<Figure>, DrawError> {
    let frame = frame(result, series);
    panels::panels(result, series)
        .into_iter()
        .map(|panel| {
            Ok(Figure {
                wide: draw::draw(&panel, &frame, &draw::WIDE)?,
                narrow: draw::draw(&panel, &frame, &draw::NARROW)?,
                legend: panel
                    .legend
                    .iter()
                    .map(|(label, colour)| Legend {
                        label: label.clone(),
                        colour: palette::class(*colour),
                    })
                    .collect(),
                title: panel.title,
                source: panel.source,
            })
        })
        .collect()
}

/// A time within thirty years of the injection.
fn sound(t_seconds: f64) -> bool {
    t_seconds.abs() < 1e9
}

fn frame(result: &RunResult, series: &Series) -> Frame {
    /// More lines than this would hide the curves.
    const MOMENTS_MAX: usize = 12;
    let phases: Vec<Shade> = result
        .phases
        .iter()
        .filter(|p| sound(p.start_seconds) && sound(p.end_seconds))
        .map(|p| Shade {
            name: p.name.clone(),
            role: p.role,
            from: p.start_seconds,
            to: p.end_seconds,
        })
        .collect();
    let times = phases
        .iter()
        .flat_map(|p| [p.from, p.to])
        .chain(series.load.iter().map(|s| s.t_seconds))
        .filter(|t| sound(*t));
    let (mut from, mut to) =
        times.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), t| (a.min(t), b.max(t)));
    if !from.is_finite() {
        (from, to) = (0.0, 1.0);
    }
    if to - from < 1e-3 {
        (from, to) = (from - 0.5, to + 0.5);
    }
    let inside = |m: &Moment| m.at.is_finite() && m.at >= from && m.at <= to;
    let mut moments = faults(&result.faults);
    moments.retain(inside);
    moments.sort_by(|a, b| a.at.total_cmp(&b.at));
    // The rows of the panel on faults have them all.
    moments.truncate(MOMENTS_MAX - 1);
    let healed = result.faults.iter().filter_map(|f| f.reverted_seconds).reduce(f64::max);
    if let (Some(healed), Some(full)) = (healed, result.recovery_seconds.full) {
        let (label, at) = ("steady again".to_owned(), healed + full);
        moments.extend(Some(Moment { label, at, colour: palette::GREEN }).filter(inside));
    }
    moments.sort_by(|a, b| a.at.total_cmp(&b.at));
    Frame { from, to, phases, moments }
}

/// When faults came and went. One that was over at once has one moment; among several each is
/// called by its own name, and by its number too where two share one.
fn faults(faults: &[FaultResult]) -> Vec<Moment> {
    let mut moments = Vec::new();
    for fault in faults {
        let name = called(fault, faults);
        let mut add = |label: String, at| {
            moments.push(Moment { label, at, colour: palette::VERMILLION });
        };
        if over_at_once(fault) {
            add(name, fault.injected_seconds);
            continue;
        }
        add(format!("{name} in"), fault.injected_seconds);
        if let Some(at) = fault.reverted_seconds {
            add(format!("{name} out"), at);
        }
    }
    moments
}

/// What a fault is called where there is little room.
fn called(fault: &FaultResult, faults: &[FaultResult]) -> String {
    if faults.len() < 2 {
        return "fault".to_owned();
    }
    let short = fault.name.rsplit('.').next().unwrap_or_default();
    let short = draw::shortened(short, 16);
    if faults.iter().filter(|other| other.name == fault.name).count() > 1 {
        format!("{short} {}", fault.id)
    } else {
        short
    }
}

/// Whether a fault was over as soon as it was done, as the killing of a process is.
fn over_at_once(fault: &FaultResult) -> bool {
    fault.reverted_seconds.is_some_and(|reverted| reverted - fault.injected_seconds < 1.0)
}
