//! `temblor profile`: profiles of processes, and those that are in files.

mod analyze;
mod analyze_args;
pub(crate) mod args;
mod chart;
mod collect;
mod collect_args;
mod fetch;
mod files;
mod view;

use std::path::Path;

use temblor_profile::{
    Profile, Shape, SvgOptions, TopOptions, Tree, difference, firefox, folded, merge, pprof,
    speedscope, svg, top,
};
use temblor_runner::Wanted;

use self::args::{
    Convert, Diff, Drawing, Format, Lines, Merge, Profile as Args, ProfileCommand, Source, Svg, Top,
};
use self::files::{name_of, of_input, read, write};
use crate::exit::{Exit, Failure};
use crate::terminal::say;

/// Shows and changes profiles.
pub(crate) fn profile(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        ProfileCommand::Cpu(args) => collect::cpu(args),
        ProfileCommand::OffCpu(args) => collect::waits(&args.waits, Wanted::OffCpu),
        ProfileCommand::Lock(args) => collect::waits(&args.waits, Wanted::Lock),
        ProfileCommand::Threads(args) => collect::threads(args),
        ProfileCommand::Heap(args) => collect::heap(args, "inuse_space"),
        ProfileCommand::Allocs(args) => collect::heap(args, "alloc_space"),
        ProfileCommand::Fetch(args) => fetch::fetch(args),
        ProfileCommand::Top(top) => show_top(top),
        ProfileCommand::Svg(svg) => draw(svg),
        ProfileCommand::Diff(diff) => compare(diff),
        ProfileCommand::Analyze(args) => analyze::analyze(args),
        ProfileCommand::Merge(merge) => add_up(merge),
        ProfileCommand::Convert(convert) => rewrite(convert),
        ProfileCommand::View(args) => view::view(args),
    }
}

fn options(lines: &Lines, kind: Option<&str>) -> TopOptions {
    let shown = if lines.all { TopOptions::all() } else { TopOptions::default() };
    TopOptions { kind: kind.map(str::to_owned), count: lines.count, by_cum: lines.cum, ..shown }
}

fn show_top(args: &Top) -> Result<Exit, Failure> {
    let Source { profile: path, kind } = &args.source;
    let profile = read(path)?;
    let wrong = |error| of_input(path, error);
    let text = top(&profile, &options(&args.lines, kind.as_deref())).map_err(wrong)?;
    let index = profile.type_index(kind.as_deref()).map_err(wrong)?;
    if let Some(remedy) = profile.remedy_if_empty(index) {
        say(&format!("{}: the profile is empty: {remedy}", path.display()));
    }
    write(None, text.as_bytes())
}

fn draw(args: &Svg) -> Result<Exit, Failure> {
    let Source { profile: path, kind } = &args.source;
    if args.chart {
        return chart::draw(args);
    }
    // Stacks that are folded already need not be held one by one.
    let (tree, what) = match files::folded_tree(path)? {
        Some(tree) => (tree, SvgOptions { unit: "samples".to_owned(), ..SvgOptions::default() }),
        None => {
            let profile = read(path)?;
            let kind = kind.as_deref();
            let tree = Tree::of(&profile, kind).map_err(|error| of_input(path, error))?;
            (tree, described(&profile, kind).map_err(|error| of_input(path, error))?)
        }
    };
    if tree.negative() > 0 {
        say(&format!("{}: stacks of negative weight are not drawn", path.display()));
    }
    let what = titled(what, &args.drawing, || name_of(path));
    let drawn = svg(&tree, &what).map_err(|error| of_input(path, error))?;
    write(args.output.output.as_deref(), &drawn)
}

fn compare(args: &Diff) -> Result<Exit, Failure> {
    let Source { profile: path, kind } = &args.new;
    let (base, new) = (read(&args.base)?, read(path)?);
    let kind = kind.as_deref();
    let wrong = |error| of_input(path, error);
    let written = if args.svg {
        let tree = Tree::difference(&base, &new, kind).map_err(wrong)?;
        let what = described(&new, kind).map_err(wrong)?;
        let title = || format!("{} compared with {}", name_of(path), name_of(&args.base));
        svg(&tree, &titled(what, &args.drawing, title)).map_err(wrong)?
    } else {
        let change = difference(&base, &new).map_err(wrong)?;
        top(&change, &options(&args.lines, kind)).map_err(wrong)?.into_bytes()
    };
    write(args.output.output.as_deref(), &written)
}

fn add_up(args: &Merge) -> Result<Exit, Failure> {
    let profiles: Vec<Profile> =
        args.profiles.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let sum = merge(&profiles).map_err(Failure::input)?;
    write(Some(&args.output), &pprof::write(&sum))
}

fn rewrite(args: &Convert) -> Result<Exit, Failure> {
    let Source { profile: path, kind } = &args.source;
    let output = args.output.output.as_deref();
    let Some(format) = asked_format("--to", args.format, output)? else {
        return Err(Failure::input(anyhow::anyhow!("say with --to what to write")));
    };
    let profile = read(path)?;
    let written = formatted(&profile, format, kind.as_deref(), &name_of(path))
        .map_err(|error| of_input(path, error))?;
    write(output, &written)
}

/// Functions that are printed where no file is asked for.
const SHOWN: usize = 30;

/// What a file that is to be written has for a format, by the option or by its name. None: there is no
/// file.
fn asked_format(
    option: &str,
    format: Option<Format>,
    output: Option<&Path>,
) -> Result<Option<Format>, Failure> {
    match (format.or_else(|| output.and_then(Format::of)), output) {
        (None, Some(path)) => Err(Failure::input(anyhow::anyhow!(
            "{}: say with {option} what to write, or end the name in .pb.gz, .svg, .folded, \
             .speedscope.json, .firefox.json or .txt",
            path.display()
        ))),
        (format, _) => Ok(format),
    }
}

/// Writes what was collected, or prints its heaviest functions.
fn hand_over(
    profile: &Profile,
    format: Option<Format>,
    name: &str,
    output: Option<&Path>,
) -> Result<Exit, Failure> {
    let written = match format {
        Some(format) => formatted(profile, format, None, name),
        None => {
            let shown = TopOptions { count: Some(SHOWN), ..TopOptions::all() };
            top(profile, &shown).map(String::into_bytes)
        }
    };
    write(output, &written.map_err(Failure::other)?)
}

/// A profile in a format, and under a name where the format has room for one.
fn formatted(
    profile: &Profile,
    format: Format,
    kind: Option<&str>,
    name: &str,
) -> Result<Vec<u8>, temblor_profile::Error> {
    Ok(match format {
        Format::Pprof => pprof::write(profile),
        Format::Folded => folded::write(profile, kind)?.into_bytes(),
        Format::Speedscope => speedscope::write(profile, name).into_bytes(),
        Format::Firefox => firefox::write(profile, kind, name)?,
        Format::Top => {
            let all = TopOptions { kind: kind.map(str::to_owned), ..TopOptions::all() };
            top(profile, &all)?.into_bytes()
        }
        Format::Svg => {
            let what = SvgOptions { title: name.to_owned(), ..described(profile, kind)? };
            svg(&Tree::of(profile, kind)?, &what)?
        }
    })
}

fn titled(what: SvgOptions, drawing: &Drawing, title: impl FnOnce() -> String) -> SvgOptions {
    SvgOptions {
        title: drawing.title.clone().unwrap_or_else(title),
        shape: if drawing.icicle { Shape::Icicle } else { Shape::Flame },
        ..what
    }
}

/// What the picture's figures are.
fn described(profile: &Profile, kind: Option<&str>) -> Result<SvgOptions, temblor_profile::Error> {
    let index = profile.type_index(kind)?;
    let of = &profile.types[index];
    let unit = match of.unit.as_str() {
        "count" | "" => of.kind.clone(),
        unit => unit.to_owned(),
    };
    let remedy = profile.remedy_if_empty(index);
    Ok(SvgOptions { subtitle: of.kind.clone(), unit, remedy, ..SvgOptions::default() })
}
