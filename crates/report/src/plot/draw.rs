//! One panel as SVG.
//!
//! The backend places everything on whole pixels, so the drawing is made at twice its size and
//! shown at half of it.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use temblor_event::PhaseRole;

use super::{Content, DrawError, Frame, Line, Panel, RowOfMarks, axis, palette};
use crate::number;

/// The measures of a drawing, in pixels of twice the size.
pub(super) struct Format {
    width: u32,
    height: u32,
    left: u32,
    right: u32,
    font: i32,
    ticks_x: u32,
}

pub(super) const WIDE: Format =
    Format { width: 2000, height: 420, left: 132, right: 24, font: 23, ticks_x: 9 };
pub(super) const NARROW: Format =
    Format { width: 760, height: 400, left: 116, right: 16, font: 23, ticks_x: 4 };

const ROW_HEIGHT: u32 = 70;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A vertical axis: its range in drawing units, and its ticks with their labels.
struct Vertical {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

pub(super) fn draw(panel: &Panel, frame: &Frame, format: &Format) -> Result<String, DrawError> {
    let line = format.font + 8;
    let (top, bottom) = (2 * line + 8, 2 * line + 10);
    let height = match &panel.content {
        Content::Rows(rows) => {
            u32::try_from(rows.len()).unwrap_or(1) * ROW_HEIGHT
                + u32::try_from(top + bottom).unwrap_or(0)
                + 12
        }
        _ => format.height,
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (format.width, height)).into_drawing_area();
        let vertical = vertical(&panel.content);
        let mut chart = ChartBuilder::on(&root)
            .margin_top(top)
            .margin_right(format.right)
            .set_label_area_size(LabelAreaPosition::Left, format.left)
            .set_label_area_size(LabelAreaPosition::Bottom, bottom)
            .build_cartesian_2d(frame.from..frame.to, vertical.from..vertical.to)?;
        let (xs, ys) = chart.plotting_area().get_pixel_range();
        let canvas = Canvas { root: &root, xs: (xs.start, xs.end), ys: (ys.start, ys.end), format };
        canvas.phases(frame, line)?;
        canvas.vertical_axis(&chart, frame, &vertical)?;
        match &panel.content {
            Content::Lines { lines, log, .. } => draw_lines(&mut chart, frame, lines, *log)?,
            Content::Stack { layers, starts, width } => {
                draw_stack(&mut chart, frame, layers, starts, *width)?;
            }
            // Rows have labels within the frame, which the moments' lines must not cross.
            Content::Rows(_) => {}
        }
        canvas.moments(&chart, frame, vertical.from)?;
        if let Content::Rows(rows) = &panel.content {
            canvas.rows(&chart, frame, rows)?;
        }
        canvas.horizontal_axis(&chart, frame, vertical.from, line)?;
        root.present()?;
    }
    Ok(svg)
}

fn vertical(content: &Content) -> Vertical {
    match content {
        Content::Lines { lines, log: true, write } => {
            let values = || lines.iter().flat_map(|l| l.points.iter().filter_map(|p| p.1));
            let least = values().filter(|v| drawable(*v) && *v > 0.0).fold(f64::INFINITY, f64::min);
            let greatest = values().filter(|v| drawable(*v)).fold(least, f64::max);
            let (low, high) = axis::decades(least, greatest);
            let ticks = (low..=high).map(|e| (f64::from(e), write(10_f64.powi(e)))).collect();
            Vertical { from: f64::from(low), to: f64::from(high), ticks }
        }
        Content::Lines { lines, log: false, write } => {
            let values = lines.iter().flat_map(|l| l.points.iter().filter_map(|p| p.1));
            linear(values, *write)
        }
        Content::Stack { layers, starts, .. } => {
            let sums = (0..starts.len())
                .map(|i| layers.iter().map(|l| l.1.get(i).copied().unwrap_or(0.0)).sum());
            linear(sums, number::plain)
        }
        Content::Rows(rows) => {
            #[expect(clippy::cast_precision_loss, reason = "there are few rows")]
            let to = rows.len() as f64;
            Vertical { from: 0.0, to, ticks: Vec::new() }
        }
    }
}

fn linear(values: impl Iterator<Item = f64>, write: fn(f64) -> String) -> Vertical {
    let (least, greatest) =
        values.filter(|v| v.is_finite()).fold((0.0_f64, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
    let span = greatest - least;
    // Nothing but zeros: an axis to 1 shows a line at its foot.
    let step = if span > 0.0 { axis::round_step(span / 4.0) } else { 0.5 };
    let from = (least / step).floor() * step;
    let to = ((greatest / step - 1e-9).ceil() * step).max(from + 2.0 * step);
    let ticks = axis::round_ticks(from, to, 4).into_iter().map(|t| (t, write(t))).collect();
    Vertical { from, to, ticks }
}

fn draw_lines(
    chart: &mut Chart<'_, '_>,
    frame: &Frame,
    lines: &[Line],
    log: bool,
) -> Result<(), DrawError> {
    for line in lines {
        let mut stretch: Vec<(f64, f64)> = Vec::new();
        let ends = std::iter::once((0.0, None));
        for (t, value) in line.points.iter().copied().chain(ends) {
            // What lies outside of the frame has no pixel.
            let inside = t >= frame.from && t <= frame.to;
            let shown = value.filter(|v| inside && drawable(*v) && (!log || *v > 0.0));
            if let Some(v) = shown {
                stretch.push((t, if log { v.log10() } else { v }));
                if !line.dots {
                    continue;
                }
            }
            let points = std::mem::take(&mut stretch);
            // A second alone between two gaps would be a line without length.
            if line.dots || points.len() == 1 {
                let dot = |p: (f64, f64)| Circle::new(p, 4, line.colour.filled());
                chart.draw_series(points.into_iter().map(dot))?;
            } else if points.len() > 1 {
                let style = line.colour.stroke_width(4);
                chart.draw_series(std::iter::once(PathElement::new(points, style)))?;
            }
        }
    }
    Ok(())
}

/// No figure of a run is beyond this; what is cannot be put on an axis beside others.
fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < 1e20
}

fn draw_stack(
    chart: &mut Chart<'_, '_>,
    frame: &Frame,
    layers: &[(RGBColor, Vec<f64>)],
    starts: &[f64],
    width: f64,
) -> Result<(), DrawError> {
    let mut floor = vec![0.0; starts.len()];
    for (colour, values) in layers {
        // One polygon for each stretch in which the layer is there at all.
        let mut stretch: Vec<usize> = Vec::new();
        for i in 0..=starts.len() {
            let there =
                values.get(i).is_some_and(|v| *v > 0.0 && drawable(*v)) && drawable(starts[i]);
            let joined = stretch
                .last()
                .is_none_or(|&j| i < starts.len() && starts[i] - starts[j] < 1.5 * width);
            if there && joined {
                stretch.push(i);
                continue;
            }
            if !stretch.is_empty() {
                let clip = |t: f64| t.clamp(frame.from, frame.to);
                let edges = |i: usize| [clip(starts[i]), clip(starts[i] + width)];
                let mut outline: Vec<(f64, f64)> = stretch
                    .iter()
                    .flat_map(|&i| edges(i).map(|t| (t, floor[i] + values[i])))
                    .collect();
                outline.extend(stretch.iter().rev().flat_map(|&i| {
                    let [from, to] = edges(i);
                    [(to, floor[i]), (from, floor[i])]
                }));
                let area = Polygon::new(outline, colour.mix(0.75).filled());
                chart.draw_series(std::iter::once(area))?;
            }
            stretch.clear();
            if there {
                stretch.push(i);
            }
        }
        for (f, v) in floor.iter_mut().zip(values) {
            *f += v;
        }
    }
    Ok(())
}

/// The whole drawing, for what lies outside of the chart's own area too.
struct Canvas<'c, 'a> {
    root: &'c Area<'a>,
    xs: (i32, i32),
    ys: (i32, i32),
    format: &'c Format,
}

impl Canvas<'_, '_> {
    fn text(
        &self,
        text: &str,
        at: (i32, i32),
        h: HPos,
        v: VPos,
        colour: RGBColor,
    ) -> Result<(), DrawError> {
        // The backend divides a font's size by 1.24.
        let size = f64::from(self.format.font) * 1.24;
        let style =
            TextStyle::from(("sans-serif", size).into_font()).color(&colour).pos(Pos::new(h, v));
        self.root.draw_text(text, &style, at)
    }

    /// How wide a text will be, about: the reader's font is not known here.
    fn width(&self, text: &str) -> i32 {
        let chars = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 100);
        chars.saturating_mul(self.format.font) * 56 / 100
    }

    fn x(&self, frame: &Frame, t: f64) -> i32 {
        let share = ((t - frame.from) / (frame.to - frame.from)).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "a pixel of this drawing")]
        let offset = (share * f64::from(self.xs.1 - self.xs.0)).round() as i32;
        self.xs.0 + offset
    }

    /// Shades the phases, and names them above the plot.
    fn phases(&self, frame: &Frame, line: i32) -> Result<(), DrawError> {
        for phase in &frame.phases {
            let (from, to) = (self.x(frame, phase.from), self.x(frame, phase.to));
            let colour = match phase.role {
                PhaseRole::Baseline => palette::GREY.mix(0.05),
                PhaseRole::Fault => palette::VERMILLION.mix(0.10),
                PhaseRole::Recovery => palette::GREEN.mix(0.08),
            };
            let top = self.ys.0 - line - 4;
            self.root.draw(&Rectangle::new([(from, top), (to, self.ys.1)], colour.filled()))?;
            let room = to - from - 16;
            let name = shortened(
                &phase.name,
                usize::try_from(room.max(0) * 100 / (56 * self.format.font)).unwrap_or(0),
            );
            if name.chars().count() >= 3.min(phase.name.chars().count()) && !name.is_empty() {
                let at = (from + 8, self.ys.0 - line / 2 - 4);
                self.text(&name, at, HPos::Left, VPos::Center, palette::TEXT)?;
            }
        }
        Ok(())
    }

    fn vertical_axis(
        &self,
        chart: &Chart<'_, '_>,
        frame: &Frame,
        vertical: &Vertical,
    ) -> Result<(), DrawError> {
        for (value, label) in &vertical.ticks {
            let (_, y) = chart.backend_coord(&(frame.from, *value));
            let line = PathElement::new(
                vec![(self.xs.0, y), (self.xs.1, y)],
                palette::GRID.stroke_width(2),
            );
            self.root.draw(&line)?;
            self.text(label, (self.xs.0 - 12, y), HPos::Right, VPos::Center, palette::TEXT)?;
        }
        Ok(())
    }

    fn horizontal_axis(
        &self,
        chart: &Chart<'_, '_>,
        frame: &Frame,
        foot: f64,
        line: i32,
    ) -> Result<(), DrawError> {
        let (_, y) = chart.backend_coord(&(frame.from, foot));
        let style = palette::AXIS.stroke_width(2);
        self.root.draw(&PathElement::new(vec![(self.xs.0, y), (self.xs.1, y)], style))?;
        for t in axis::round_ticks(frame.from, frame.to, self.format.ticks_x) {
            let x = self.x(frame, t);
            self.root.draw(&PathElement::new(vec![(x, y), (x, y + 8)], style))?;
            self.text(&number::plain(t), (x, y + 12), HPos::Center, VPos::Top, palette::TEXT)?;
        }
        let at = (i32::midpoint(self.xs.0, self.xs.1), y + 12 + line);
        self.text("seconds from injection", at, HPos::Center, VPos::Top, palette::TEXT)
    }

    /// Marks the moments by lines, and names them where there is room.
    fn moments(&self, chart: &Chart<'_, '_>, frame: &Frame, foot: f64) -> Result<(), DrawError> {
        const GAP: i32 = 8;
        let (_, bottom) = chart.backend_coord(&(frame.from, foot));
        let mut taken = 0;
        for (i, moment) in frame.moments.iter().enumerate() {
            let x = self.x(frame, moment.at);
            let width = self.width(&moment.label);
            let next = frame.moments.get(i + 1).map_or(i32::MAX, |m| self.x(frame, m.at));
            let right_end = i32::try_from(self.format.width).unwrap_or(i32::MAX).min(next) - GAP;
            let y = 4 + self.format.font / 2 + 2;
            let (at, anchor, ends, top) = if x >= taken && x + GAP + width <= right_end {
                (x + GAP, HPos::Left, x + GAP + width, 6)
            } else if x - GAP - width >= taken {
                (x - GAP, HPos::Right, x, 6)
            } else if right_end - width >= taken + GAP {
                // Too near the edge for its name on either side: the name goes above the line.
                (right_end, HPos::Right, right_end, self.ys.0)
            } else {
                // Without its name the line keeps clear of the phases' names.
                let line = vec![(x, self.ys.0), (x, bottom)];
                self.root.draw(&PathElement::new(line, moment.colour.stroke_width(3)))?;
                continue;
            };
            let line = vec![(x, top), (x, bottom)];
            self.root.draw(&PathElement::new(line, moment.colour.stroke_width(3)))?;
            self.text(&moment.label, (at, y), anchor, VPos::Center, moment.colour)?;
            taken = ends;
        }
        Ok(())
    }

    fn rows(
        &self,
        chart: &Chart<'_, '_>,
        frame: &Frame,
        rows: &[RowOfMarks],
    ) -> Result<(), DrawError> {
        let room = usize::try_from((self.xs.1 - self.xs.0) * 100 / (56 * self.format.font));
        for (i, row) in rows.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "there are few rows")]
            let (_, bottom) = chart.backend_coord(&(frame.from, (rows.len() - i - 1) as f64));
            let foot = bottom - 8;
            let label = shortened(&row.label, room.unwrap_or(20));
            let middle = foot - 42;
            // Lines of the plot end at the label instead of running through it.
            let half = self.format.font / 2 + 2;
            let backing = [
                (self.xs.0 + 4, middle - half),
                ((self.xs.0 + 12 + self.width(&label)).min(self.xs.1), middle + half),
            ];
            self.root.draw(&Rectangle::new(backing, palette::CARD.mix(0.8).filled()))?;
            self.text(&label, (self.xs.0 + 8, middle), HPos::Left, VPos::Center, palette::TEXT)?;
            let rule = PathElement::new(
                vec![(self.xs.0, bottom), (self.xs.1, bottom)],
                palette::GRID.stroke_width(2),
            );
            self.root.draw(&rule)?;
            for mark in &row.marks {
                if mark.to < frame.from || mark.from > frame.to {
                    continue;
                }
                let from = self.x(frame, mark.from);
                // A moment is shown as wide as the eye needs it.
                let to = self.x(frame, mark.to).max(from + 6);
                let top = if mark.full { foot - 24 } else { foot - 8 };
                self.root.draw(&Rectangle::new([(from, top), (to, foot)], mark.colour.filled()))?;
            }
        }
        Ok(())
    }
}

/// At most `chars` characters; what is cut off is replaced by an ellipsis.
pub(super) fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    if chars > 0 {
        short.push('…');
    }
    short
}
