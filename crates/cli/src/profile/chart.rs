//! `temblor profile svg --chart`: stacks in the order of time.

use temblor_profile::{CallTree, SvgOptions, chart_svg};

use super::args::{Source, Svg};
use super::files::{name_of, of_input, read, write};
use super::{described, titled};
use crate::exit::{Exit, Failure};

/// Draws it, as wide as calls lasted.
pub(super) fn draw(args: &Svg) -> Result<Exit, Failure> {
    let Source { profile: path, kind } = &args.source;
    let profile = read(path)?;
    let wrong = |error| of_input(path, error);
    let index = profile.type_index(kind.as_deref()).map_err(wrong)?;
    let what = described(&profile, kind.as_deref()).map_err(wrong)?;
    let what =
        SvgOptions { unit: "ns".to_owned(), subtitle: "in the order of time".to_owned(), ..what };
    let what = titled(what, &args.drawing, || name_of(path));
    let drawn = chart_svg(&CallTree::of(&profile), index, &what).map_err(wrong)?;
    write(args.output.output.as_deref(), &drawn)
}
