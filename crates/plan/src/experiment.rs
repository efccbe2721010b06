//! An experiment that can be run: every name resolves, every value is in range.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use temblor_event::{Condition, Expectation, PhaseRole};

/// A validated experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Short name: lower case, digits and dashes; part of the run directory's name.
    pub name: String,
    /// A sentence for people.
    pub title: String,
    /// What the author believes, and what is to be learnt.
    pub hypothesis: Option<String>,
    /// The built-in lab to start if it is down.
    pub lab: Option<String>,
    /// What is acted on or watched, by the name that the rest of the file uses.
    pub targets: BTreeMap<String, TargetSelector>,
    /// The traffic.
    pub load: Option<Load>,
    /// What "steady" means.
    pub steady_state: Vec<Expectation>,
    /// How long it must last to count.
    pub steady_hold: Duration,
    /// Questions asked over and over during the run.
    pub checks: Vec<Check>,
    /// Figures read over and over during the run.
    pub gauges: Vec<Gauge>,
    /// Counters read before and after, held against the load's own record.
    pub counters: Vec<Counter>,
    /// How the database is asked what it has.
    pub ledger: Option<Ledger>,
    /// In order; at least one baseline before the first fault.
    pub phases: Vec<Phase>,
    /// Probes to attach.
    pub observe: Vec<String>,
    /// When to stop early.
    pub abort: Vec<Abort>,
    /// What the run is judged by.
    pub expect: Vec<Expectation>,
}

/// How a target is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSelector {
    /// A service of the lab.
    Service(String),
    /// A process.
    Pid(u32),
}

/// The traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// One of [`crate::LOAD_PROFILES`].
    pub profile: String,
    /// Requests per second.
    pub rate_per_second: f64,
    /// Poisson arrivals; otherwise evenly spaced.
    pub poisson: bool,
    /// Where it goes.
    pub to: Side,
    /// From the planned send time.
    pub timeout: Duration,
}

/// A target's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The target's name in the experiment.
    pub target: String,
    /// The port.
    pub port: u16,
}

/// A phase of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// What it is to the judge.
    pub role: PhaseRole,
    /// Its length, or its greatest length.
    pub length: Duration,
    /// It ends as soon as the system is steady.
    pub until_steady: bool,
    /// Faults that are in place from its start to its end.
    pub inject: Vec<Fault>,
}

/// A fault with its dose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `network.partition`.
    Partition(Partition),
}

impl Fault {
    /// The fault's name in an experiment file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Partition(_) => "network.partition",
        }
    }
}

/// Traffic between two sides is dropped or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The target in whose namespace the packets are stopped.
    pub from: String,
    /// The other side: targets, by name.
    pub to_targets: Vec<String>,
    /// The other side: addresses.
    pub to_addresses: Vec<IpAddr>,
    /// Ports of the other side; empty: all traffic.
    pub ports: Vec<u16>,
    /// Which way.
    pub direction: Direction,
    /// How.
    pub action: Action,
}

/// Which way a partition goes, as `from` sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Neither way gets through.
    #[default]
    Both,
    /// What `from` sends is stopped.
    Out,
    /// What `from` would receive is stopped.
    In,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It vanishes: the sender learns by its timers.
    #[default]
    Drop,
    /// The sender is told: RST for TCP.
    Reject,
}

/// A question with a yes or no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique among the checks.
    pub name: String,
    /// What is asked.
    pub http: HttpQuestion,
    /// How often.
    pub every: Duration,
    /// No answer within this time is a no.
    pub timeout: Duration,
}

/// An HTTP GET whose answer is yes if the status is right and the JSON field, where one is named,
/// has the right value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpQuestion {
    /// Whom.
    pub of: Side,
    /// The path, beginning with a slash.
    pub path: String,
    /// The status that means yes.
    pub status: u16,
    /// The field that must have a value.
    pub json: Option<JsonField>,
}

/// A field of the answer's outermost JSON object and the text it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// The field's name.
    pub field: String,
    /// The value that means yes.
    pub equals: String,
}

/// A Prometheus metric of a target, summed over the series whose labels match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Whom to ask.
    pub of: Side,
    /// The path, beginning with a slash.
    pub path: String,
    /// The metric's name.
    pub metric: String,
    /// Labels that a series must have.
    pub labels: BTreeMap<String, String>,
}

/// A figure that goes up and down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// Unique among the gauges.
    pub name: String,
    /// Where it is read.
    pub metric: Metric,
    /// How often.
    pub every: Duration,
    /// It counts work that waits: steady means it is back where it was in the baseline, and the
    /// ledger is read once it is empty.
    pub backlog: bool,
}

/// A counter that grows by one for each order that the load had acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Unique among the counters.
    pub name: String,
    /// Where it is read.
    pub metric: Metric,
}

/// How the database is asked for the orders of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Where PostgreSQL listens.
    pub of: Side,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Gives two text columns: the client's key and the server's id. `$1` is the prefix that all
    /// keys of the run begin with.
    pub query: String,
    /// How long to wait, after the load has stopped, for the backlogs to become empty.
    pub settle: Duration,
}

/// A reason to stop early.
#[derive(Debug, Clone, PartialEq)]
pub struct Abort {
    /// What must not be; on the load's figures of one second.
    pub condition: Condition,
    /// How long it must last.
    pub lasting: Duration,
}
