//! Flamegraphs for the report's page: drawn for wide pages and for narrow ones.

use std::borrow::Cow;

use temblor_profile::{Error, PictureOptions, Profile, Tree, picture, rooted_in};

/// Letters are as high as in the text around where the page is so wide, pixels.
const WIDE: usize = 1060;
const NARROW: usize = 380;
/// Of the whole. A report is one file that is sent about: what could not be read is left out.
const SHARE_MIN_WIDE: f64 = 0.01;
const SHARE_MIN_NARROW: f64 = 0.02;

/// The label by which samples say whose they are.
pub(super) const TARGET: &str = "service";

/// A flamegraph, drawn twice.
pub(crate) struct Drawing {
    pub(crate) wide: String,
    pub(crate) narrow: String,
}

/// A phase's profile, targets side by side.
pub(crate) fn drawing(profile: &Profile) -> Result<Drawing, Error> {
    let (shown, unit) = shown(profile, 1.0)?;
    drawn(&Tree::of(&rooted_in(&shown, TARGET), None)?, unit)
}

/// As wide as what is new, and coloured by what each took more of in a second than before, or less.
pub(crate) fn difference(base: &Profile, new: &Profile) -> Result<Drawing, Error> {
    // What came in the time of the base, as if it had lasted as long as what is new.
    let factor = match (base.duration_ns, new.duration_ns) {
        #[expect(clippy::cast_precision_loss, reason = "durations of phases")]
        (base_ns @ 1.., new_ns @ 1..) => new_ns as f64 / base_ns as f64,
        _ => 1.0,
    };
    let ((base, _), (new, unit)) = (shown(base, factor)?, shown(new, 1.0)?);
    let (base, new) = (rooted_in(&base, TARGET), rooted_in(&new, TARGET));
    drawn(&Tree::difference(&base, &new, None)?, unit)
}

fn drawn(tree: &Tree, unit: &str) -> Result<Drawing, Error> {
    let at = |width, share_min| {
        picture(tree, &PictureOptions { width, share_min, unit: unit.to_owned(), remedy: None })
    };
    Ok(Drawing { wide: at(WIDE, SHARE_MIN_WIDE)?, narrow: at(NARROW, SHARE_MIN_NARROW)? })
}

/// The profile in a unit whose figures can be read, times a factor, and that unit.
fn shown(profile: &Profile, factor: f64) -> Result<(Cow<'_, Profile>, &str), Error> {
    let index = profile.type_index(None)?;
    let unit = profile.types[index].unit.as_str();
    let (unit, factor) = match unit {
        "nanoseconds" => ("ms", factor / 1e6),
        "bytes" => ("KiB", factor / 1024.0),
        unit => (unit, factor),
    };
    #[expect(clippy::float_cmp, reason = "only what was not changed is as it was")]
    if factor == 1.0 {
        return Ok((Cow::Borrowed(profile), unit));
    }
    let mut scaled = profile.clone();
    for sample in &mut scaled.samples {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "figures to be looked at"
        )]
        let value = (sample.values[index] as f64 * factor).round() as i64;
        sample.values[index] = value;
    }
    Ok((Cow::Owned(scaled), unit))
}
