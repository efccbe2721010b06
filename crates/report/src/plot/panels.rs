//! From series to panels: which plots there are and what each of them shows.

use plotters::style::RGBColor;
use temblor_judge::{LoadPoint, RunResult, Series};

use super::{Content, Line, Mark, Panel, RowOfMarks, palette};
use crate::content::tcp::words;
use crate::number;

/// More points than a wide page has pixels are drawn together.
const POINTS_MAX: usize = 900;
/// More gauges than this are left to the phases' table.
const GAUGES_MAX: usize = 6;
/// More rows than this are left to the tables.
const ROWS_MAX: usize = 12;
/// A check's or a connection's marks; a run of an hour asks a check 3600 times.
const MARKS_MAX: usize = 4000;

pub(super) fn panels(result: &RunResult, series: &Series) -> Vec<Panel> {
    let mut panels = Vec::new();
    panels.extend(faults(result));
    panels.extend(levels(result));
    panels.extend(services(result));
    if !series.load.is_empty() {
        let group = series.load.len().div_ceil(POINTS_MAX);
        panels.push(latency(&series.load, group));
        panels.push(requests(&series.load, group));
    }
    for (name, readings) in series.gauges.iter().take(GAUGES_MAX) {
        panels.push(gauge(name, readings));
    }
    // A probe that watched and saw nothing sent again is worth a plot too; no probe is not.
    let watched = result.phases.iter().any(|p| p.retransmitted_segments.is_some());
    if watched || !series.retransmitted.is_empty() {
        panels.push(retransmitted(&series.retransmitted));
    }
    panels.extend(connections(result));
    panels.extend(checks(series));
    panels
}

fn named<'a>(legend: impl IntoIterator<Item = (&'a str, RGBColor)>) -> Vec<(String, RGBColor)> {
    legend.into_iter().map(|(label, colour)| (label.to_owned(), colour)).collect()
}

fn grouped_title(title: &str, group: usize, how: &str) -> String {
    if group > 1 { format!("{title}; {how} of each {group} s") } else { title.to_owned() }
}

fn latency(seconds: &[LoadPoint], group: usize) -> Panel {
    let line = |figure: fn(&LoadPoint) -> Option<f64>, colour, dots| Line {
        colour,
        dots,
        points: seconds
            .chunks(group)
            .map(|chunk| {
                let greatest = chunk.iter().filter_map(figure).reduce(f64::max);
                (middle(chunk), greatest)
            })
            .collect(),
    };
    let lines = vec![
        line(|s| s.max_seconds, palette::SKY, true),
        line(|s| s.p50_seconds, palette::BLUE, false),
        line(|s| s.p99_seconds, palette::VERMILLION, false),
    ];
    let values = || lines.iter().flat_map(|l| l.points.iter().filter_map(|p| p.1));
    let greatest = values().fold(0.0, f64::max);
    let least = values().filter(|v| v.is_finite() && *v > 0.0).fold(f64::INFINITY, f64::min);
    // Over more than a decade and a half, a linear axis would press one of the curves flat.
    let log = least.is_finite() && greatest / least > 30.0;
    let scale = if log { ", logarithmic scale" } else { "" };
    Panel {
        title: grouped_title(&format!("Latency of acknowledged orders{scale}"), group, "greatest"),
        source: "Load generator, per second of the planned send time. A gap: no order of that \
                 second was acknowledged."
            .to_owned(),
        legend: named([
            ("median", palette::BLUE),
            ("99th percentile", palette::VERMILLION),
            ("greatest", palette::SKY),
        ]),
        content: Content::Lines { lines, log, write: number::seconds },
    }
}

fn requests(seconds: &[LoadPoint], group: usize) -> Panel {
    type Count = fn(&LoadPoint) -> u64;
    let kinds: [(&str, RGBColor, Count); 4] = [
        ("acknowledged", palette::BLUE, |s| s.ok),
        ("failed", palette::VERMILLION, |s| s.failed),
        ("unsure", palette::AMBER, |s| s.unsure),
        ("unsent", palette::GREY, |s| s.unsent),
    ];
    let mean = |figure: Count| {
        #[expect(clippy::cast_precision_loss, reason = "a plot has no 2^53 pixels")]
        let of_chunk = move |chunk: &[LoadPoint]| {
            chunk.iter().map(|s| figure(s) as f64).sum::<f64>() / chunk.len() as f64
        };
        seconds.chunks(group).map(of_chunk).collect::<Vec<f64>>()
    };
    #[expect(clippy::cast_precision_loss, reason = "a group has few seconds")]
    let width = group as f64;
    Panel {
        title: grouped_title("Orders per second, by outcome", group, "mean"),
        source: "Load generator: orders planned in that second, whenever they were answered."
            .to_owned(),
        legend: named(kinds.map(|(label, colour, _)| (label, colour))),
        content: Content::Stack {
            layers: kinds.iter().map(|(_, colour, figure)| (*colour, mean(*figure))).collect(),
            starts: seconds.chunks(group).map(|chunk| chunk[0].t_seconds).collect(),
            width,
        },
    }
}

fn middle(chunk: &[LoadPoint]) -> f64 {
    let first = chunk[0].t_seconds;
    let last = chunk[chunk.len() - 1].t_seconds;
    f64::midpoint(first, last + 1.0)
}

fn gauge(name: &str, readings: &[(f64, f64)]) -> Panel {
    let group = readings.len().div_ceil(POINTS_MAX).max(1);
    let points = readings
        .chunks(group)
        .map(|chunk| {
            let greatest = chunk.iter().map(|r| r.1).reduce(f64::max);
            (chunk[0].0, greatest)
        })
        .collect();
    let name = super::draw::shortened(name, 60);
    Panel {
        title: if group > 1 {
            format!("Gauge {name}; greatest of each {group} readings")
        } else {
            format!("Gauge {name}")
        },
        source: "Read from the target itself.".to_owned(),
        legend: Vec::new(),
        content: Content::Lines {
            lines: vec![Line { colour: palette::PURPLE, dots: false, points }],
            log: false,
            write: number::plain,
        },
    }
}

/// Seconds without any are not in the series, so grouping goes by time and not by position.
fn retransmitted(seconds: &[(f64, u64)]) -> Panel {
    let span = match (seconds.first(), seconds.last()) {
        (Some(first), Some(last)) => (last.0 - first.0).clamp(0.0, 1e9),
        _ => 0.0,
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the span is clamped above, and a plot has no 2^53 pixels"
    )]
    let group = ((span / POINTS_MAX as f64).ceil() as usize).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a group has few seconds")]
    let width = group as f64;
    let mut means: Vec<(f64, f64)> = Vec::new();
    for (t, segments) in seconds {
        let start = if group == 1 { *t } else { (t / width).floor() * width };
        #[expect(clippy::cast_precision_loss, reason = "a plot has no 2^53 pixels")]
        let mean = *segments as f64 / width;
        match means.last_mut() {
            Some(last) if start - last.0 < width / 2.0 => last.1 += mean,
            _ => means.push((start, mean)),
        }
    }
    Panel {
        title: grouped_title("TCP segments sent again per second, all services", group, "mean"),
        source: "Kernel: tp_btf/tcp_retransmit_skb.".to_owned(),
        legend: Vec::new(),
        content: Content::Stack {
            layers: vec![(palette::PURPLE, means.iter().map(|m| m.1).collect())],
            starts: means.iter().map(|m| m.0).collect(),
            width,
        },
    }
}

/// Each retransmission of the most telling connections: the growing gaps are the back-off.
fn connections(result: &RunResult) -> Option<Panel> {
    const KINDS: [(&str, RGBColor); 5] = [
        ("timeout", palette::VERMILLION),
        ("tail_loss_probe", palette::BLUE),
        ("fast", palette::GREEN),
        ("syn", palette::PURPLE),
        ("syn_ack", palette::AMBER),
    ];
    let stories = &result.evidence.connections;
    let rows: Vec<RowOfMarks> = stories
        .iter()
        .filter(|s| !s.retransmissions.is_empty())
        .take(ROWS_MAX)
        .map(|s| RowOfMarks {
            label: format!(
                "{} → {}  {}",
                s.service.as_deref().unwrap_or("?"),
                s.peer.as_deref().unwrap_or("?"),
                s.addresses
            ),
            marks: s
                .retransmissions
                .iter()
                .take(MARKS_MAX)
                .map(|r| Mark {
                    from: r.t_seconds,
                    to: r.t_seconds,
                    colour: KINDS
                        .iter()
                        .find(|k| k.0 == r.kind)
                        .map_or(palette::GREY, |(_, colour)| *colour),
                    full: true,
                })
                .collect(),
        })
        .collect();
    let seen = |kind: &str| {
        stories.iter().flat_map(|s| &s.retransmissions).any(|r| r.kind.as_str() == kind)
    };
    (!rows.is_empty()).then(|| Panel {
        title: "Back-off of single connections: each segment sent again".to_owned(),
        source: "Kernel: tp_btf/tcp_retransmit_skb. The most telling connections; more of them, \
                 with their timers, under TCP below."
            .to_owned(),
        legend: named(KINDS.into_iter().filter(|k| seen(k.0)).map(|(kind, c)| (words(kind), c))),
        content: Content::Rows(rows),
    })
}

/// The end of the last phase: what has no end of its own is drawn up to there.
fn end_seconds(result: &RunResult) -> f64 {
    result.phases.iter().map(|phase| phase.end_seconds).fold(0.0, f64::max)
}

/// Several faults, one row each: when each of them was in place. One alone has its lines.
fn faults(result: &RunResult) -> Option<Panel> {
    if result.faults.len() < 2 {
        return None;
    }
    let rows: Vec<RowOfMarks> = result
        .faults
        .iter()
        .take(ROWS_MAX)
        .map(|fault| RowOfMarks {
            label: format!("{}  {}  {}", fault.id, fault.name, fault.services.join(", ")),
            marks: vec![Mark {
                from: fault.injected_seconds,
                to: fault.reverted_seconds.unwrap_or_else(|| end_seconds(result)),
                colour: palette::VERMILLION,
                full: true,
            }],
        })
        .collect();
    Some(Panel {
        title: "Faults in place".to_owned(),
        source: "When the change had been made, and when it had been undone. A mark without \
                 length: over as soon as it was done."
            .to_owned(),
        legend: Vec::new(),
        content: Content::Rows(rows),
    })
}

/// The share of each changed dose, as steps.
fn levels(result: &RunResult) -> Option<Panel> {
    const COLOURS: [RGBColor; 6] = [
        palette::VERMILLION,
        palette::BLUE,
        palette::GREEN,
        palette::PURPLE,
        palette::AMBER,
        palette::SKY,
    ];
    let changed: Vec<_> =
        result.faults.iter().filter(|fault| !fault.levels.is_empty()).zip(COLOURS).collect();
    let lines: Vec<Line> = changed
        .iter()
        .map(|(fault, colour)| {
            // A ramp begins with its first step; that the whole dose was there for a moment before
            // is how it is put in place, and nothing to draw.
            let first = &fault.levels[0];
            let at_once = first.t_seconds - fault.injected_seconds < 0.1;
            let mut share = if at_once { first.level } else { 1.0 };
            let mut points = vec![(fault.injected_seconds, 0.0), (fault.injected_seconds, share)];
            for level in &fault.levels {
                points.push((level.t_seconds, share));
                share = level.level;
                points.push((level.t_seconds, share));
            }
            let end = fault.reverted_seconds.unwrap_or_else(|| end_seconds(result));
            points.push((end, share));
            points.push((end, 0.0));
            let points = points.into_iter().map(|(t, share)| (t, Some(share))).collect();
            Line { colour: *colour, dots: false, points }
        })
        .collect();
    (!lines.is_empty()).then(|| Panel {
        title: "Share of the dose in place".to_owned(),
        source: "The changes of the dose as they were made, of the whole dose of each fault."
            .to_owned(),
        legend: changed
            .iter()
            .map(|(fault, colour)| (format!("{} {}", fault.id, fault.name), *colour))
            .collect(),
        content: Content::Lines { lines, log: false, write: number::share },
    })
}

/// When services were away, one row each.
fn services(result: &RunResult) -> Option<Panel> {
    let rows: Vec<RowOfMarks> = result
        .services
        .stories
        .iter()
        .take(ROWS_MAX)
        .map(|story| RowOfMarks {
            label: story.service.clone(),
            marks: story
                .outages
                .iter()
                .flat_map(|away| {
                    let to = away.to_seconds.unwrap_or_else(|| end_seconds(result));
                    let started = away.started_seconds.map(|from| Mark {
                        from,
                        to,
                        colour: palette::AMBER,
                        full: true,
                    });
                    let from = away.from_seconds;
                    let gone = Mark { from, to, colour: palette::VERMILLION, full: true };
                    // What is drawn later lies above.
                    std::iter::once(gone).chain(started)
                })
                .collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Panel {
        title: "Services away".to_owned(),
        source:
            "Processes and health checks: from a service's exit until it was well and stayed so."
                .to_owned(),
        legend: named([
            ("gone, or not well", palette::VERMILLION),
            ("started again, not well yet", palette::AMBER),
        ]),
        content: Content::Rows(rows),
    })
}

/// Each check's answers: a thin line while it says yes, a block while it says no.
fn checks(series: &Series) -> Option<Panel> {
    let rows: Vec<RowOfMarks> = series
        .checks
        .iter()
        .filter(|(_, answers)| !answers.is_empty())
        .take(ROWS_MAX)
        .map(|(name, answers)| RowOfMarks { label: name.clone(), marks: stretches(answers) })
        .collect();
    (!rows.is_empty()).then(|| Panel {
        title: "Checks".to_owned(),
        source: "The answers to the experiment's checks; an answer stands until the next one."
            .to_owned(),
        legend: named([("yes", palette::GREEN), ("no", palette::VERMILLION)]),
        content: Content::Rows(rows),
    })
}

/// Equal answers in a row become one stretch.
fn stretches(answers: &[(f64, bool)]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for (i, (from, ok)) in answers.iter().enumerate() {
        let to = answers.get(i + 1).map_or(*from, |next| next.0);
        let colour = if *ok { palette::GREEN } else { palette::VERMILLION };
        let changed = marks.last().is_none_or(|last| last.full == *ok);
        if changed && marks.len() < MARKS_MAX {
            marks.push(Mark { from: *from, to, colour, full: !ok });
        } else if let Some(last) = marks.last_mut() {
            // Past the bound a row has more changes than pixels, and is one block anyway.
            last.to = to;
        }
    }
    marks
}
