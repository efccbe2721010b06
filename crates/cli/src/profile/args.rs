//! The command line of `temblor profile`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Debug, clap::Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Print the functions that weigh most, as `go tool pprof -top` does
    Top(Top),
    /// Draw a flamegraph that can be searched and zoomed in a browser
    Svg(Svg),
    /// Print, or draw, what a profile has more than another, and less
    Diff(Diff),
    /// Add profiles up
    Merge(Merge),
    /// Write a profile in another format
    Convert(Convert),
}

/// A profile in a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// A pprof profile, folded stacks, or what `perf script` printed; - is standard input
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: PathBuf,
    /// The type of value, such as inuse_space [default: the profile's own choice]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Lines {
    /// Cut nothing off
    #[arg(long)]
    pub(crate) all: bool,
    /// At most so many functions
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) count: Option<usize>,
    /// Order by what a function weighs with all that it called
    #[arg(long)]
    pub(crate) cum: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) lines: Lines,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Where to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drawing {
    /// Over the picture [default: what it is of]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// With the threads' roots at the top
    #[arg(long)]
    pub(crate) icicle: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Svg {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// What is compared with
    #[arg(value_name = "BASE")]
    pub(crate) base: PathBuf,
    #[command(flatten)]
    pub(crate) new: Source,
    #[command(flatten)]
    pub(crate) lines: Lines,
    /// Draw it instead: red where there is more, blue where there is less
    #[arg(long)]
    pub(crate) svg: bool,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Merge {
    /// Profiles that count the same
    #[arg(value_name = "PROFILE", required = true, num_args = 1..)]
    pub(crate) profiles: Vec<PathBuf>,
    /// Where to write, in pprof's format
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The format to write
    #[arg(long = "to", value_name = "FORMAT", value_enum)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// pprof's, compressed
    Pprof,
    /// Folded stacks
    Folded,
    /// A flamegraph
    Svg,
    /// For speedscope.app
    Speedscope,
    /// The heaviest functions, as text
    Top,
}
