//! Colours that people with any colour vision tell apart (Okabe and Ito's set).
//!
//! The values are those of the light page. The style sheet knows them by their value and puts
//! others in their place on a dark one, so the drawing code knows nothing of themes.

use plotters::style::RGBColor;

pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(super) const SKY: RGBColor = RGBColor(0x56, 0xB4, 0xE9);
pub(super) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
pub(super) const AMBER: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
pub(super) const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
pub(super) const PURPLE: RGBColor = RGBColor(0xAA, 0x4D, 0x8C);
pub(super) const GREY: RGBColor = RGBColor(0x8C, 0x8C, 0x8C);

pub(super) const TEXT: RGBColor = RGBColor(0x5A, 0x64, 0x70);
pub(super) const GRID: RGBColor = RGBColor(0xE1, 0xE4, 0xE8);
/// What the drawing lies on.
pub(super) const CARD: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(super) const AXIS: RGBColor = RGBColor(0xA3, 0xAB, 0xB5);

/// The name under which the style sheet knows a colour, for legends.
pub(super) fn class(colour: RGBColor) -> &'static str {
    match colour {
        BLUE => "blue",
        SKY => "sky",
        VERMILLION => "vermillion",
        AMBER => "amber",
        GREEN => "green",
        PURPLE => "purple",
        _ => "grey",
    }
}
