//! The command line of `temblor profile`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::analyze_args::Analyze;
use super::collect_args::{Cpu, Heap, Lock, OffCpu, Threads};

#[derive(Debug, clap::Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Collect where processor time goes, of any process and with no change to it
    Cpu(Cpu),
    /// Collect where threads wait, weighted by how long, of any process
    #[command(alias = "block")]
    OffCpu(OffCpu),
    /// Collect where threads wait for locks, weighted by how long, of any process
    #[command(alias = "mutex")]
    Lock(Lock),
    /// Collect every thread's state and stack, once, of any process
    Threads(Threads),
    /// Collect what is allocated and still in use, of processes that run
    Heap(Heap),
    /// Collect all that is allocated, of processes that run
    Allocs(Heap),
    /// Fetch a profile that a program collects of itself, as Go's net/http/pprof hands them out
    Fetch(Fetch),
    /// Print the functions that weigh most, as `go tool pprof -top` does
    Top(Top),
    /// Draw a flamegraph that can be searched and zoomed in a browser
    Svg(Svg),
    /// Print, or draw, what a profile has more than another, and less
    Diff(Diff),
    /// Say where time or memory goes, what stands out, what changed, and whether a budget was kept
    Analyze(Analyze),
    /// Add profiles up
    Merge(Merge),
    /// Write a profile in another format
    Convert(Convert),
    /// Look around in profiles with a browser
    View(super::view::View),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Without -o the heaviest functions are printed.\n\nExample: temblor \
    profile fetch heap http://127.0.0.1:9090 -o heap.pb.gz")]
pub(crate) struct Fetch {
    /// What is collected
    #[arg(value_name = "KIND", value_enum)]
    pub(crate) kind: Kind,
    /// The program's address, with the path of its profiles where that is not /debug/pprof
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// How long it collects; of all but cpu, what came on top meanwhile [default: 30s for cpu, and
    /// for the others what there is now]
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasting: Option<String>,
    #[command(flatten)]
    pub(crate) written: Written,
}

/// What a program collects of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Processor time
    Cpu,
    /// Memory in use
    Heap,
    /// All memory that was allocated
    Allocs,
    /// Time spent waiting
    Block,
    /// Time that others had to wait for locks
    Mutex,
    /// What each goroutine is at
    Goroutine,
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

/// What is written of what was collected, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Written {
    /// The format to write [default: what the file's name ends in says, else text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) output: Output,
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
    /// In the order of time, which goes from left to right; of profiles whose samples have times
    #[arg(long)]
    pub(crate) chart: bool,
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
    /// The format to write [default: what the file's name ends in says]
    #[arg(long = "to", visible_alias = "format", value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
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
    /// For profiler.firefox.com
    Firefox,
    /// The heaviest functions, as text
    Top,
}

impl Format {
    /// What a file's name ends in.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        let ends = [
            (".pb.gz", Self::Pprof),
            (".pprof", Self::Pprof),
            (".folded", Self::Folded),
            (".svg", Self::Svg),
            (".speedscope.json", Self::Speedscope),
            (".firefox.json", Self::Firefox),
            (".txt", Self::Top),
        ];
        ends.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| format)
    }
}
