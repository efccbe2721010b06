//! Checks, readings of other people's counters, and the instrument's account of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A check's answer. The event's time is when the question was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name in the experiment.
    pub check: String,
    /// Yes or no.
    pub ok: bool,
    /// How long the answer took, nanoseconds.
    pub took_ns: u64,
    /// What was seen: `200, /status is "degraded"`, or the error.
    pub seen: String,
}

/// A figure of the target's that goes up and down, as the target itself gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// The gauge's name in the experiment.
    pub gauge: String,
    /// Its value. JSON has no word for what is not a finite number: it is written as `null`.
    #[serde(deserialize_with = "nan_if_null")]
    pub value: f64,
}

fn nan_if_null<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// When a counter was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CounterWhen {
    /// Before the first phase, with the probes attached.
    Before,
    /// After the last phase, before the probes are taken off.
    After,
}

/// A counter kept by somebody else: its growth is held against our own count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CounterRead {
    /// `TcpRetransSegs`, or the counter's name in the experiment.
    pub counter: String,
    /// The service it belongs to.
    pub service: String,
    /// Where it was read: `/proc/1234/net/snmp`.
    pub source: String,
    /// When.
    pub when: CounterWhen,
    /// Its value.
    #[serde(deserialize_with = "nan_if_null")]
    pub value: f64,
}

/// A counter that could not be read: the report names it, and holds nothing against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterUnread {
    /// `TcpRetransSegs`, or the counter's name in the experiment.
    pub counter: String,
    /// The service it belongs to.
    pub service: String,
    /// Where it should have been read: `/proc/1234/net/snmp`.
    pub source: String,
    /// When.
    pub when: CounterWhen,
    /// Why it could not be: `connection refused`.
    pub why: String,
}

/// A probe is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// `tcp`.
    pub probe: String,
    /// The hooks in use.
    pub hooks: Vec<Hook>,
    /// What this kernel does not let it see, with the reason.
    pub unseen: Vec<String>,
}

/// A place in the kernel that a probe is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hook {
    /// What is learnt there: `retransmissions`.
    pub sees: String,
    /// `tp_btf/tcp_retransmit_skb`.
    pub hook: String,
}

/// A probe lost events; the count is since the last such event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLost {
    /// The probe.
    pub probe: String,
    /// How many.
    pub events: u64,
}

/// What a probe's programs cost, over the whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeCost {
    /// The probe.
    pub probe: String,
    /// Each of its programs.
    pub programs: Vec<ProgramCost>,
    /// Events that reached user space.
    pub events: u64,
    /// What the kernel counts for a run of an empty program on this machine, nanoseconds: so much
    /// of each run's time is the counting itself. None: it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_ns: Option<u64>,
    /// Memory of the kernel's that the probe's maps hold, bytes, by the kernel's own account.
    #[serde(default)]
    pub map_bytes: u64,
}

impl ProbeCost {
    /// What the programs took, without what the counting took, nanoseconds.
    #[must_use]
    pub fn net_ns(&self) -> u64 {
        let floor_ns = self.floor_ns.unwrap_or(0);
        self.programs.iter().fold(0, |sum, program| sum.saturating_add(program.net_ns(floor_ns)))
    }
}

/// A probe cost more than it may, and does less from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeShed {
    /// The probe.
    pub probe: String,
    /// What it cost before, as a share of the machine's processors.
    pub cost_share: f64,
    /// What it may cost.
    pub budget_share: f64,
    /// What it does from now on: `round trips of one packet in 8`, `nothing: it is off`.
    pub now: String,
    /// It is off: what it would have seen from now on is missing.
    pub off: bool,
}

/// One eBPF program's run statistics, from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramCost {
    /// The program's name.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long it ran in all, nanoseconds, as the kernel counts it.
    pub run_ns: u64,
}

impl ProgramCost {
    /// How long it ran, without what the counting took, nanoseconds.
    #[must_use]
    pub fn net_ns(&self, floor_ns: u64) -> u64 {
        self.run_ns.saturating_sub(self.runs.saturating_mul(floor_ns))
    }
}

/// What the instrument itself cost, from its first event to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Processor time in user mode, nanoseconds (getrusage).
    pub user_ns: u64,
    /// Processor time in the kernel, nanoseconds (getrusage).
    pub system_ns: u64,
    /// Greatest resident memory, bytes (getrusage).
    pub memory_bytes_max: u64,
    /// Wall time this covers, nanoseconds.
    pub wall_ns: u64,
}
