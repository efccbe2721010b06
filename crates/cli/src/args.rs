//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, value_parser};
use temblor_lab::Range;

/// Shakes a running system on purpose, and shows from the kernel's own evidence whether it
/// survived.
#[derive(Debug, Parser)]
#[command(name = "temblor", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 pass, 1 fail, 2 wrong input, 3 invalid (the run proves \
    nothing), 4 aborted, 5 something was left behind, 6 the machine lacks something.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Carry out an experiment: load, fault, kernel evidence, audit, report
    Run(Run),
    /// Put one fault in place, hold it for a while, and undo it
    Inject(Inject),
    /// Show live what the kernel sees of processes: connections, processor time, ends
    Trace(Trace),
    /// Keep watching processes, and serve the figures to Prometheus
    Agent(Agent),
    /// Show, compare and convert profiles: where time, memory and waiting go
    Profile(crate::profile::args::Profile),
    /// Render the reports of recorded runs again, or sum them up
    Report(Report),
    /// Check experiment files without running anything
    Check(Check),
    /// Start, stop and look at the built-in lab
    Lab(Lab),
    /// Undo what a run that died has left, also after a reboot
    Heal(Heal),
    /// Tell what this machine can do, and what is missing
    Doctor(Doctor),
    /// Undo what a run leaves when it dies (started by the run)
    #[command(hide = true)]
    Guardian(Guardian),
    /// Use processor time or memory (started by a fault)
    #[command(hide = true)]
    Stressor(Worker),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A built-in experiment's name (such as network-partition), or a file
    #[arg(value_name = "EXPERIMENT")]
    pub(crate) experiment: String,
    /// The run's own directory [default: runs/<UTC time>-<name> under the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Seed of every random choice [default: drawn, and recorded]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Say only the verdict
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Say what would be changed on this machine and how it would be undone, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Targets are written as WAY:NAME, the way being one of service (of the lab), \
    pid, process, cgroup, unit, container, label, compose. docs/faults.md lists every fault with \
    its values.\n\nExample: temblor inject network.latency from=service:trading-api \
    to=service:postgres delay=100ms --for 30s"
)]
pub(crate) struct Inject {
    /// The fault, such as cpu.quota
    #[arg(value_name = "FAULT")]
    pub(crate) fault: String,
    /// Its values, such as target=process:nginx to=10%
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) values: Vec<String>,
    /// How long it is held
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasting: String,
    /// Let its dose grow evenly over this time
    #[arg(long, value_name = "DURATION")]
    pub(crate) ramp: Option<String>,
    /// Let its dose go through these shares, such as 25%,50%,100%
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub(crate) steps: Vec<String>,
    /// Allow what is refused otherwise: pid1, session, sshd, temblor, engine, share, duration
    /// (longer than 10 minutes)
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Seed of every random choice [default: drawn]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Say what would be changed and how it would be undone, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Targets can be given several times and in several \
    ways together. docs/observing.md says what each figure means.\n\nExample: temblor trace tcp \
    sched --process postgres --for 10s")]
pub(crate) struct Trace {
    /// What to watch: tcp, sched, process, edges, memory, block, syscall
    #[arg(value_name = "PROBE", required = true)]
    pub(crate) probes: Vec<String>,
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// What each probe may cost, as a share of all processors; over it, it sees a sample, then
    /// nothing, and says so [default: 1%]
    #[arg(long, value_name = "SHARE")]
    pub(crate) budget: Option<String>,
    /// How long, at most 24h [default: until Ctrl-C, which sums up]
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasting: Option<String>,
    /// Print every event as one line of JSON, as in a run's events.ndjson, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the figures, at the end and in the text format of Prometheus
    #[arg(long, conflicts_with = "json")]
    pub(crate) prometheus: bool,
    /// Draw the figures of the last second on the full screen instead, until q; then sum up
    #[arg(long, conflicts_with_all = ["json", "prometheus"])]
    pub(crate) top: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Targets can be given several times and in several ways together; those \
    that are not there, or not any more, are looked for every few seconds. docs/observing.md says \
    what each figure means, and how to run it as a service.\n\nExample: temblor agent tcp sched \
    --process postgres --unit nginx")]
pub(crate) struct Agent {
    /// What to watch: tcp, sched, process, edges, memory, block, syscall [default: all but syscall,
    /// which makes every system call of the machine dearer]
    #[arg(value_name = "PROBE")]
    pub(crate) probes: Vec<String>,
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// What each probe may cost, as a share of all processors; over it, it sees a sample, then
    /// nothing, and says so [default: 1%]
    #[arg(long, value_name = "SHARE")]
    pub(crate) budget: Option<String>,
    /// Where to serve the figures; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9464")]
    pub(crate) listen: SocketAddr,
    /// Lines of one metric on the page; what there is no room for is counted as "other"
    #[arg(long, value_name = "NUMBER", default_value = "2000", value_parser = value_parser!(u32).range(100..=100_000))]
    pub(crate) series_max: u32,
    /// Peers that go by their address; the rest are counted as "other"
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = value_parser!(u32).range(0..=10_000))]
    pub(crate) peers_max: u32,
}

/// Whom to watch.
#[derive(Debug, clap::Args)]
#[group(id = "whom", required = true, multiple = true)]
pub(crate) struct Targets {
    /// A service of the lab, which must be up
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    /// A process, by its number, with its descendants
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<u32>,
    /// Every process of this name, with its descendants
    #[arg(long, value_name = "NAME")]
    pub(crate) process: Vec<String>,
    /// A cgroup, by its path
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<String>,
    /// A systemd unit
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Vec<String>,
    /// A container, by its name or id
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Vec<String>,
    /// The containers with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// The containers of a compose service
    #[arg(long, value_name = "SERVICE")]
    pub(crate) compose: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// The runs' directories
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Only one table of all runs: verdict, effect, times and losses; as Markdown into a pipe
    #[arg(long)]
    pub(crate) summary: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Experiments: names of built-in ones, or files
    #[arg(value_name = "EXPERIMENT", required_unless_present = "schema")]
    pub(crate) experiments: Vec<String>,
    /// Print the JSON Schema of experiment files
    #[arg(long, conflicts_with = "experiments")]
    pub(crate) schema: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Start the lab and wait until every service is healthy
    Up {
        /// The lab's address range, such as 10.99.0.0/24 [default: the first that is free]
        #[arg(long, value_name = "CIDR")]
        network: Option<Range>,
        /// Print the lab's state as JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop the lab and remove everything of it
    Down,
    /// Show the lab's services
    Status {
        /// Print the lab's state as JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep the lab running (started by `up`)
    #[command(hide = true)]
    Supervise,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print the table as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Heal {
    /// Change nothing: list what is open, also of runs that go on, and exit 5 if there is anything
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    /// What the fault wants of it
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Guardian {
    /// The journal of the process to stand guard for
    #[arg(value_name = "JOURNAL")]
    pub(crate) journal: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_probe_is_in_the_help() {
        let mut all = Args::command();
        for command in ["trace", "agent"] {
            let help = all.find_subcommand_mut(command).unwrap().render_long_help().to_string();
            for probe in temblor_plan::PROBES {
                assert!(help.contains(probe), "{command} {probe}: {help}");
            }
        }
    }
}
