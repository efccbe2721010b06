//! Flamegraphs as one file of SVG that can be searched and zoomed in any browser.

use inferno::flamegraph::{self, Direction, Options, TextTruncateDirection};

use crate::calls::CallTree;
use crate::error::Error;
use crate::tree::{ROOT, Tree};

/// Of the whole: what is narrower than a fraction of a pixel is not drawn.
const SHARE_MIN: f64 = 0.0001;

/// In which direction stacks grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// The thread's root at the bottom.
    #[default]
    Flame,
    /// The thread's root at the top.
    Icicle,
}

/// How a flamegraph is drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SvgOptions {
    /// Over it.
    pub title: String,
    /// Under the title; nothing where it is empty.
    pub subtitle: String,
    /// What the figures count: `samples`, `ns`, `bytes`.
    pub unit: String,
    /// In which direction stacks grow.
    pub shape: Shape,
    /// What to do where there is nothing to draw.
    pub remedy: Option<&'static str>,
}

/// Draws it. A difference is drawn as wide as what is new, red where there is more of it than in what
/// it is compared with, and blue where there is less.
///
/// # Errors
///
/// Where nothing weighs anything.
pub fn svg(tree: &Tree, options: &SvgOptions) -> Result<Vec<u8>, Error> {
    drawn(tree, &options.drawn())
}

impl SvgOptions {
    fn drawn(&self) -> Drawn<'_> {
        let Self { title, subtitle, unit, shape, remedy } = self;
        Drawn { title, subtitle, unit, shape: *shape, remedy: *remedy, ..Drawn::default() }
    }
}

/// Everything that can be said of how it is drawn.
pub(crate) struct Drawn<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) shape: Shape,
    pub(crate) remedy: Option<&'static str>,
    /// None: as wide as the window.
    pub(crate) width: Option<usize>,
    pub(crate) font: usize,
    /// Of the whole: what weighs less is its caller's.
    pub(crate) share_min: f64,
}

impl Default for Drawn<'_> {
    fn default() -> Self {
        Self {
            title: "",
            subtitle: "",
            unit: "",
            shape: Shape::default(),
            remedy: None,
            width: None,
            font: 12,
            share_min: SHARE_MIN,
        }
    }
}

pub(crate) fn drawn(tree: &Tree, options: &Drawn<'_>) -> Result<Vec<u8>, Error> {
    let total = tree.total();
    if total == 0 {
        return Err(Error::Empty { remedy: options.remedy });
    }
    let mut lines: Vec<String> = tree
        .stacks((total as f64 * options.share_min) as u64)
        .iter()
        .map(|stack| {
            let frames = stack.frames.iter().map(|frame| String::from_utf8_lossy(frame));
            // They divide frames for whoever draws.
            let frames: Vec<String> = frames.map(|frame| frame.replace(';', ":")).collect();
            let base = stack.base.map_or_else(String::new, |base| format!(" {base}"));
            format!("{}{base} {}", frames.join(";"), stack.weight)
        })
        .collect();
    lines.sort_unstable();
    draw(&lines, options, false)
}

/// What stands where nothing was seen.
const NOTHING: &str = "[nothing was seen]";

/// Draws calls in the order of time, which goes from left to right: as wide as they lasted, not as
/// they weigh.
///
/// # Errors
///
/// Where there is no such type, or no sample of it has a time.
pub fn chart_svg(tree: &CallTree, index: usize, options: &SvgOptions) -> Result<Vec<u8>, Error> {
    let calls = tree.calls();
    let mut lines = Vec::new();
    let mut last_ns = 0;
    for seen in tree.seen(index, None)? {
        if seen.to_ns <= seen.from_ns {
            continue;
        }
        if seen.from_ns > last_ns {
            lines.push(format!("{NOTHING} {}", seen.from_ns - last_ns));
        }
        last_ns = seen.to_ns;
        let mut frames = Vec::new();
        let mut node = seen.leaf;
        while node != ROOT {
            let call = calls.nodes[node as usize];
            frames.push(calls.names[call.name as usize].replace(';', ":"));
            node = call.parent;
        }
        frames.reverse();
        lines.push(format!("{} {}", frames.join(";"), seen.to_ns - seen.from_ns));
    }
    if lines.is_empty() {
        return Err(Error::Empty { remedy: options.remedy });
    }
    // It takes them from the last one on.
    lines.reverse();
    draw(&lines, &options.drawn(), true)
}

fn draw(lines: &[String], options: &Drawn<'_>, is_chart: bool) -> Result<Vec<u8>, Error> {
    let mut drawn = Options::default();
    options.title.clone_into(&mut drawn.title);
    drawn.subtitle = Some(options.subtitle.to_owned()).filter(|subtitle| !subtitle.is_empty());
    options.unit.clone_into(&mut drawn.count_name);
    drawn.min_width = options.share_min * 100.0;
    drawn.image_width = options.width;
    drawn.font_size = options.font;
    drawn.text_truncate_direction = TextTruncateDirection::Right;
    // The same profile is the same picture.
    drawn.hash = true;
    drawn.flame_chart = is_chart;
    drawn.direction = match options.shape {
        Shape::Flame => Direction::Straight,
        Shape::Icicle => Direction::Inverted,
    };
    let mut file = Vec::new();
    flamegraph::from_lines(&mut drawn, lines.iter().map(String::as_str), &mut file)
        .map_err(Error::Draw)?;
    Ok(file)
}
