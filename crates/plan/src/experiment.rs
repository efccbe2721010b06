//! An experiment that can be run: every name resolves, every value is in range.

use std::collections::BTreeMap;
use std::time::Duration;

use temblor_event::{Condition, Expectation, PhaseRole, Question};

use crate::fault::Fault;
use crate::profile::Profiled;

/// A validated experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Short name: lower case, digits and dashes; part of the run directory's name.
    pub name: String,
    /// A sentence for people.
    pub title: String,
    /// What the author believes, and what is to be learnt.
    pub hypothesis: Option<String>,
    /// What is to be learnt.
    pub learn: Vec<Question>,
    /// What is allowed that is refused otherwise.
    pub safety: Safety,
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
    /// The user's own bpftrace scripts that run along.
    pub scripts: Vec<Script>,
    /// What is profiled, each kind once.
    pub profile: Vec<Profiled>,
    /// When to stop early.
    pub abort: Vec<Abort>,
    /// What the run is judged by.
    pub expect: Vec<Expectation>,
}

/// How a target is found, and which of several that are found.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetSelector {
    /// How.
    pub find: Find,
    /// Which.
    pub pick: Pick,
}

/// How a target is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// A service of the lab.
    Service(String),
    /// A process, with those it started.
    Pid(u32),
    /// Processes by name.
    Process(String),
    /// A cgroup.
    Cgroup(String),
    /// A systemd unit.
    Unit(String),
    /// A container by name or id.
    Container(String),
    /// Containers by label: `key=value`.
    Label(String),
    /// The containers of a compose service.
    Compose {
        /// The service.
        service: String,
        /// Its project; any unless said.
        project: Option<String>,
    },
}

/// Which of several instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pick {
    /// Every one.
    All,
    /// So many, drawn by the run's seed.
    Count(u32),
    /// A share of them (0 to 1, rounded up), drawn by the run's seed.
    Share(f64),
}

/// What is allowed that is refused otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Safety {
    /// Words of [`crate::ALLOWED`].
    pub allow: Vec<String>,
    /// The greatest share of the instances of a target that may be acted on, 0 to 1.
    pub share: f64,
    /// The longest time that a fault may be in place.
    pub fault_max: Duration,
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

/// A bpftrace script of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Of letters, digits, dashes and underscores; no other script of the experiment has it. Made
    /// of the file's name.
    pub name: String,
    /// As it is written: relative to the experiment's file unless it begins with a slash.
    pub path: String,
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

/// A question with a yes or no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique among the checks.
    pub name: String,
    /// What is asked.
    pub ask: Ask,
    /// How often.
    pub every: Duration,
    /// No answer within this time is a no.
    pub timeout: Duration,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Whether an HTTP GET is answered right.
    Http(HttpQuestion),
    /// Whether a TCP connection is accepted.
    Tcp(Side),
}

impl Ask {
    /// Whom.
    #[must_use]
    pub fn of(&self) -> &Side {
        match self {
            Self::Http(http) => &http.of,
            Self::Tcp(of) => of,
        }
    }
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
    /// What must not be.
    pub when: AbortWhen,
    /// How long it must last.
    pub lasting: Duration,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq)]
pub enum AbortWhen {
    /// On the load's figures of one second.
    Load(Condition),
    /// A check whose answer is no.
    Check(String),
}
