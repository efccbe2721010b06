//! Flamegraphs as a part of a page: without a script, without an id, without a style of their own.

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};

use crate::error::Error;
use crate::svg::{Drawn, drawn};
use crate::tree::Tree;

/// What is left free at each side of a drawing by who draws.
const MARGIN: f64 = 10.0;
const FONT: usize = 11;

/// How a part of a page is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureOptions {
    /// How wide the page is that it is meant for: letters are as high as there.
    pub width: usize,
    /// What weighs less of the whole, 0 to 1, is not drawn: with all that it called it is its
    /// caller's.
    pub share_min: f64,
    /// What the figures count: `samples`, `ns`, `bytes`.
    pub unit: String,
    /// What to do where there is nothing to draw.
    pub remedy: Option<&'static str>,
}

/// Draws it for a page of HTML: frames with their names, and with their figures where the pointer
/// rests. Colours are those of [`crate::svg()`].
///
/// # Errors
///
/// Where nothing weighs anything.
pub fn picture(tree: &Tree, options: &PictureOptions) -> Result<String, Error> {
    let file = drawn(
        tree,
        &Drawn {
            width: Some(options.width),
            font: FONT,
            share_min: options.share_min,
            unit: &options.unit,
            remedy: options.remedy,
            ..Drawn::default()
        },
    )?;
    frames_alone(&file, options.width)
}

/// Of the file, only what is within its inner drawing: the frames.
fn frames_alone(file: &[u8], width: usize) -> Result<String, Error> {
    let wrong = |source: quick_xml::Error| Error::Draw(std::io::Error::other(source));
    let mut reader = Reader::from_reader(file);
    let mut frames = Writer::new(Vec::new());
    // How deep it is within the inner drawing; 0: not in it.
    let mut depth = 0_usize;
    let (mut top, mut bottom) = (f64::MAX, 0.0_f64);
    let mut text: Vec<Event<'_>> = Vec::new();
    loop {
        let event = reader.read_event().map_err(wrong)?;
        match &event {
            Event::Eof => break,
            Event::Start(tag) if depth == 0 => {
                let is_frames = tag.name().as_ref() == b"svg" && has(tag, b"id", b"frames");
                depth = usize::from(is_frames);
                continue;
            }
            _ if depth == 0 => continue,
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            continue;
        }
        match event {
            Event::Empty(tag) if tag.name().as_ref() == b"rect" => {
                let rect = without_foreign(&tag);
                let figure = |name: &[u8]| figure(&tag, name).unwrap_or(0.0);
                (top, bottom) =
                    (top.min(figure(b"y")), bottom.max(figure(b"y") + figure(b"height")));
                frames.write_event(Event::Empty(rect)).map_err(wrong_io)?;
            }
            // A frame that is too narrow for its name has an empty one.
            Event::Start(tag) if tag.name().as_ref() == b"text" => {
                text.push(Event::Start(without_foreign(&tag).into_owned()));
            }
            Event::End(tag) if tag.name().as_ref() == b"text" => {
                if text.len() > 1 {
                    text.push(Event::End(tag));
                    for event in text.drain(..) {
                        frames.write_event(event).map_err(wrong_io)?;
                    }
                }
                text.clear();
            }
            event if !text.is_empty() => text.push(event),
            event => frames.write_event(event).map_err(wrong_io)?,
        }
    }
    let inner = String::from_utf8_lossy(&frames.into_inner()).into_owned();
    let (height, width) = ((bottom - top).max(1.0), width as f64);
    Ok(format!(
        "<svg viewBox=\"{MARGIN:.0} {top:.0} {:.0} {height:.0}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-size=\"{FONT}\"><svg x=\"{MARGIN:.0}\" \
         width=\"{:.0}\">{inner}</svg></svg>",
        width - 2.0 * MARGIN,
        width - 2.0 * MARGIN,
    ))
}

fn wrong_io(source: std::io::Error) -> Error {
    Error::Draw(source)
}

fn has(tag: &BytesStart<'_>, name: &[u8], value: &[u8]) -> bool {
    tag.attributes().flatten().any(|one| one.key.as_ref() == name && &*one.value == value)
}

fn figure(tag: &BytesStart<'_>, name: &[u8]) -> Option<f64> {
    let one = tag.attributes().flatten().find(|one| one.key.as_ref() == name)?;
    std::str::from_utf8(&one.value).ok()?.parse().ok()
}

/// Without attributes of a namespace that only the file's own script knows.
fn without_foreign<'of>(tag: &BytesStart<'of>) -> BytesStart<'of> {
    let mut own = tag.clone();
    own.clear_attributes();
    let is_own = |one: &Attribute<'_>| !one.key.as_ref().contains(&b':');
    own.extend_attributes(tag.attributes().flatten().filter(is_own));
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ValueType, folded};

    fn options() -> PictureOptions {
        PictureOptions { width: 1000, share_min: 0.01, unit: "samples".into(), remedy: None }
    }

    #[test]
    fn a_picture_is_frames_and_nothing_else() {
        let text = b"main;<b>&work;leaf 90\nmain;other 10\nmain;other;rare 1\n";
        let profile = folded::read(text, ValueType::new("samples", "count")).unwrap();
        let tree = Tree::of(&profile, None).unwrap();
        let drawn = picture(&tree, &options()).unwrap();
        for there in ["main", "&lt;b&gt;&amp;work", "leaf (90 samples, 89.11%)", "other"] {
            assert!(drawn.contains(there), "{there}: {drawn}");
        }
        for not_there in ["<script", "<style", " id=", "onload", "fg:", "xlink", "rare", "Search"] {
            assert!(!drawn.contains(not_there), "{not_there}: {drawn}");
        }
        // All that is opened is closed, in order.
        let mut reader = Reader::from_str(&drawn);
        while !matches!(reader.read_event().unwrap(), Event::Eof) {}
        assert_eq!(drawn.matches("<rect").count(), 5, "all, main, work, leaf, other: {drawn}");
        assert_eq!(drawn, picture(&tree, &options()).unwrap());
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(matches!(picture(&Tree::default(), &options()), Err(Error::Empty { .. })));
    }
}
