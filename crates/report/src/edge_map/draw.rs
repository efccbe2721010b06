//! The map as SVG, in the colours that the page's style sheet knows.

use std::fmt::Write as _;

use super::layout::Place;
use super::{Edge, Map, Mark};

const INK: &str = "#5A6470";
const LINE: &str = "#A3ABB5";
const CARD: &str = "#FFFFFF";
const BLUE: &str = "#0072B2";
const STRUCK: &str = "#D55E00";

/// A letter's width as a share of the font's size; generous, for any font.
const LETTER: f64 = 0.58;
const FONT: f64 = 13.0;
const LINE_HEIGHT: f64 = 16.0;
const BOX_HEIGHT: f64 = 40.0;
const MARGIN: f64 = 14.0;
/// Room for what stands beside an edge.
const BETWEEN: f64 = 190.0;
const ROW: f64 = 104.0;
/// Where along an edge its words may stand, the best place first.
const ALONG: [f64; 7] = [0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8];

/// How far above or below it, where there is no place on it.
const ASIDE: [f64; 5] = [0.0, -22.0, 22.0, -40.0, 40.0];

#[derive(Debug, Clone, Copy)]
struct Rect {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Rect {
    fn centre(self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    fn covers(self, other: Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// A curve from one point to another with two that bend it.
#[derive(Debug, Clone, Copy)]
struct Curve([(f64, f64); 4]);

impl Curve {
    fn at(self, t: f64) -> (f64, f64) {
        let u = 1.0 - t;
        let of = |read: fn((f64, f64)) -> f64| {
            let [a, b, c, d] = self.0.map(read);
            u * u * u * a + 3.0 * u * u * t * b + 3.0 * u * t * t * c + t * t * t * d
        };
        (of(|point| point.0), of(|point| point.1))
    }
}

pub(super) fn draw(map: &Map, wide: bool) -> String {
    let boxes = Boxes::of(map, wide);
    let mut svg = String::new();
    let (width, height) = (boxes.width, boxes.height);
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 {width:.0} {height:.0}" xmlns="http://www.w3.org/2000/svg" font-size="{FONT}" style="max-width:{width:.0}px">"#
    );
    let mut taken: Vec<Rect> = boxes.all.iter().map(|(_, of)| *of).collect();
    let mut words = String::new();
    let mut unmarked: Vec<&Mark> = map.marks.iter().collect();
    for edge in &map.edges {
        let (Some(from), Some(to)) = (boxes.of_name(&edge.from), boxes.of_name(&edge.to)) else {
            continue;
        };
        let curve = curve(from, to, wide);
        let is_of = |mark: &&Mark| is_between(mark, edge);
        let struck: Vec<&str> = map.marks.iter().filter(is_of).map(|m| m.what.as_str()).collect();
        unmarked.retain(|mark| !is_between(mark, edge));
        line(&mut svg, curve, edge.is_quiet, !struck.is_empty(), wide);
        // What goes back over a way that is drawn already needs no words of its own.
        let is_answered = map
            .edges
            .iter()
            .any(|other| !other.is_quiet && other.from == edge.to && other.to == edge.from);
        if !edge.is_quiet || (!struck.is_empty() && !is_answered) {
            beside(&mut words, curve, edge, &struck, &mut taken);
        }
    }
    for (name, of) in &boxes.all {
        let marked = unmarked.iter().filter(|mark| mark.services.contains(name));
        let marked: Vec<&str> = marked.map(|mark| mark.what.as_str()).collect();
        service(&mut svg, name, *of, &marked);
    }
    svg.push_str(&words);
    svg.push_str("</svg>");
    svg
}

fn is_between(mark: &Mark, edge: &Edge) -> bool {
    mark.services.len() == 2
        && edge.from != edge.to
        && mark.services.contains(&edge.from)
        && mark.services.contains(&edge.to)
}

/// The services' boxes, and how large it all is.
struct Boxes {
    all: Vec<(String, Rect)>,
    width: f64,
    height: f64,
}

impl Boxes {
    #[expect(clippy::cast_precision_loss, reason = "a few services")]
    fn of(map: &Map, wide: bool) -> Self {
        let longest = map.places.keys().map(|name| letters(name)).fold(80.0, f64::max) + 24.0;
        let ranks = map.places.values().map(|place| place.rank + 1).max().unwrap_or(1) as f64;
        let rows = map.places.values().map(|place| place.of).max().unwrap_or(1) as f64;
        let (width, height) = if wide {
            (ranks * longest + (ranks - 1.0) * BETWEEN, rows * ROW)
        } else {
            (
                rows * (longest + MARGIN),
                ranks * BOX_HEIGHT + (ranks - 1.0) * ROW * 1.2 + LINE_HEIGHT,
            )
        };
        let at = |place: &Place| {
            let share = (place.at as f64 + 0.5) / place.of as f64;
            let rank = place.rank as f64;
            let (x, y) = if wide {
                (rank * (longest + BETWEEN), share * height - BOX_HEIGHT / 2.0)
            } else {
                (share * width - longest / 2.0, rank * (BOX_HEIGHT + ROW * 1.2))
            };
            Rect { x: x + MARGIN, y: y + MARGIN, width: longest, height: BOX_HEIGHT }
        };
        let all = map.places.iter().map(|(name, place)| (name.clone(), at(place))).collect();
        Self { all, width: width + 2.0 * MARGIN, height: height + 2.0 * MARGIN }
    }

    fn of_name(&self, name: &str) -> Option<Rect> {
        self.all.iter().find(|(one, _)| one == name).map(|(_, of)| *of)
    }
}

fn letters(text: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a line of text")]
    let count = text.chars().count() as f64;
    count * FONT * LETTER
}

/// From the side that looks forward to the side that looks back; those that lead back bulge.
fn curve(from: Rect, to: Rect, wide: bool) -> Curve {
    let ((fx, fy), (tx, ty)) = (from.centre(), to.centre());
    if wide {
        let (start, end) = if from.x < to.x {
            ((from.x + from.width, fy), (to.x, ty))
        } else {
            ((from.x, fy + 8.0), (to.x + to.width, ty + 8.0))
        };
        let bend = ((end.0 - start.0) / 2.0).clamp(-90.0, 90.0);
        let bulge = if from.x < to.x { 0.0 } else { ROW * 0.6 };
        Curve([start, (start.0 + bend, start.1 + bulge), (end.0 - bend, end.1 + bulge), end])
    } else {
        let (start, end) = if from.y < to.y {
            ((fx, from.y + from.height), (tx, to.y))
        } else {
            ((fx + 8.0, from.y), (tx + 8.0, to.y + to.height))
        };
        let bend = ((end.1 - start.1) / 2.0).clamp(-60.0, 60.0);
        let bulge = if from.y < to.y { 0.0 } else { from.width * 0.6 };
        Curve([start, (start.0 + bulge, start.1 + bend), (end.0 + bulge, end.1 - bend), end])
    }
}

fn line(svg: &mut String, curve: Curve, is_quiet: bool, is_struck: bool, wide: bool) {
    let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = curve.0;
    let colour = if is_struck { STRUCK } else { LINE };
    let width = if is_struck { 2.5 } else { 1.5 };
    let class = if is_struck { r#" class="struck""# } else { "" };
    let dashes = if is_quiet { r#" stroke-dasharray="3 4""# } else { "" };
    let _ = write!(
        svg,
        r#"<path{class} d="M{x0:.1} {y0:.1}C{x1:.1} {y1:.1} {x2:.1} {y2:.1} {x3:.1} {y3:.1}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>"#
    );
    // The head, along the last of the curve.
    let (dx, dy) = (x3 - x2, y3 - y2);
    let long = dx.hypot(dy);
    let fallback = if wide { (1.0, 0.0) } else { (0.0, 1.0) };
    let (ux, uy) = if long > 0.0 { (dx / long, dy / long) } else { fallback };
    let corner = |side: f64| (x3 - 9.0 * ux - side * 4.5 * uy, y3 - 9.0 * uy + side * 4.5 * ux);
    let ((ax, ay), (bx, by)) = (corner(1.0), corner(-1.0));
    let _ = write!(
        svg,
        r#"<path d="M{x3:.1} {y3:.1}L{ax:.1} {ay:.1}L{bx:.1} {by:.1}Z" fill="{colour}"/>"#
    );
}

/// What stands beside an edge, where it covers nothing else, if there is such a place.
fn beside(svg: &mut String, curve: Curve, edge: &Edge, struck: &[&str], taken: &mut Vec<Rect>) {
    let faults = struck.iter().map(|what| (format!("✕ {what}"), STRUCK));
    let lines: Vec<(String, &str)> =
        faults.chain(edge.lines.iter().map(|line| (line.clone(), INK))).collect();
    let width = lines.iter().map(|(text, _)| letters(text)).fold(0.0, f64::max) + 8.0;
    #[expect(clippy::cast_precision_loss, reason = "a few lines")]
    let height = lines.len() as f64 * LINE_HEIGHT + 4.0;
    let at = |t: f64| {
        let (x, y) = curve.at(t);
        Rect { x: (x - width / 2.0).max(0.0), y: (y - height / 2.0).max(0.0), width, height }
    };
    let places = ASIDE.iter().flat_map(|aside| {
        ALONG.iter().map(move |t| {
            let place = at(*t);
            Rect { y: (place.y + aside).max(0.0), ..place }
        })
    });
    let free = places.into_iter().find(|one| taken.iter().all(|of| !one.covers(*of)));
    let place = free.unwrap_or_else(|| at(0.5));
    taken.push(place);
    let Rect { x, y, .. } = place;
    let _ = write!(
        svg,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="4" fill="{CARD}" fill-opacity="0.88"/>"#
    );
    let mut line_y = y + LINE_HEIGHT - 2.0;
    for (text, colour) in lines {
        let middle = x + width / 2.0;
        let text = escaped(&text);
        let _ = write!(
            svg,
            r#"<text x="{middle:.1}" y="{line_y:.1}" text-anchor="middle" fill="{colour}">{text}</text>"#
        );
        line_y += LINE_HEIGHT;
    }
}

fn service(svg: &mut String, name: &str, of: Rect, marked: &[&str]) {
    let Rect { x, y, width, height } = of;
    let (colour, stroke) = if marked.is_empty() { (BLUE, 1.5) } else { (STRUCK, 2.5) };
    let (middle, base) = (x + width / 2.0, y + height / 2.0 + FONT * 0.35);
    let name = escaped(name);
    let _ = write!(
        svg,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="7" fill="{CARD}" stroke="{colour}" stroke-width="{stroke}"/><text x="{middle:.1}" y="{base:.1}" text-anchor="middle" font-weight="600" fill="{INK}">{name}</text>"#
    );
    if !marked.is_empty() {
        let below = y + height + LINE_HEIGHT - 1.0;
        let text = escaped(&format!("✕ {}", marked.join(", ")));
        let _ = write!(
            svg,
            r#"<text x="{middle:.1}" y="{below:.1}" text-anchor="middle" fill="{STRUCK}">{text}</text>"#
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
