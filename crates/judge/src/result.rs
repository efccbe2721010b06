//! What the judge says of a run: the stable, versioned document `result.json`.
//!
//! A figure that was not observed is `null`, never 0. Times in `*_seconds` of the timeline and
//! the phases count from the injection of the first fault (negative before it); in a run in
//! which nothing was injected, from its first event.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temblor_event::{Condition, Effect, Hook, HostFacts, LoadPlan, PhaseRole, ProgramCost};

use crate::profiles::ProfileResult;
use crate::scripts::ScriptResult;
use crate::services_result::ServicesResult;

/// The version of this document. Fields may be added within a version; none changes its meaning.
pub const RESULT_VERSION: u32 = 1;

/// What is to be thought of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything expected was observed.
    Pass,
    /// Something expected was not.
    Fail,
    /// The run proves nothing: no effect, the load not delivered, or no steady state to begin with.
    Invalid,
    /// Cut short.
    Aborted,
    /// Something of ours was left behind on the machine.
    Leak,
}

/// The whole of `result.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// [`RESULT_VERSION`].
    pub version: u32,
    /// Version of the program that wrote the run.
    pub temblor: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in sentences with their figures; the weightiest first. Never empty.
    pub reasons: Vec<String>,
    /// The experiment.
    pub experiment: ExperimentName,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// From the first to the last event.
    pub duration_seconds: f64,
    /// Seeds every random choice of the run.
    pub seed: u64,
    /// The machine.
    pub host: HostFacts,
    /// The load as planned.
    pub load: Option<LoadPlan>,
    /// The load's closing account.
    pub load_account: Option<LoadAccount>,
    /// The phases with their figures, in order.
    pub phases: Vec<PhaseResult>,
    /// What happened, in order of time.
    pub timeline: Vec<TimelineEntry>,
    /// The client's record against the database.
    pub ledger: Option<LedgerResult>,
    /// From injection to the first sign that the application itself gave: a failed request, or a
    /// check that had passed throughout the baseline and now fails.
    pub detection_seconds: Option<f64>,
    /// From injection to the first sign that the kernel gave.
    pub kernel_detection_seconds: Option<f64>,
    /// From healing on.
    pub recovery_seconds: RecoveryResult,
    /// The faults: dose and effect.
    pub faults: Vec<FaultResult>,
    /// Everything the run was judged by.
    pub expectations: Vec<ExpectationResult>,
    /// The steady state's conditions over the baseline.
    pub steady_state: Vec<ExpectationResult>,
    /// Kernel evidence.
    pub evidence: Evidence,
    /// Figures that two independent sources give.
    pub cross_checks: Vec<CrossCheck>,
    /// What the instrument itself cost.
    pub cost: CostResult,
    /// What the experiment's author believes.
    #[serde(default)]
    pub hypothesis: Option<String>,
    /// What was to be learnt, and what was found.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// What became of the services.
    #[serde(default)]
    pub services: ServicesResult,
    /// Counters that could have been a second source, and could not be used.
    #[serde(default)]
    pub uncompared: Vec<Uncompared>,
    /// The user's own bpftrace scripts that ran along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptResult>,
    /// Profiles of the phases, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileResult>,
}

/// A question of the experiment with what the evidence says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The question, in the author's words.
    pub question: String,
    /// What was found, a sentence each; what was not observed is said to be so.
    pub found: Vec<String>,
}

/// A counter kept by somebody else that our figure could not be held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uncompared {
    /// The counter, and whose it is.
    pub what: String,
    /// Where it is kept.
    pub source: String,
    /// Why: `not read after the run: connection refused`.
    pub why: String,
}

/// The experiment's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentName {
    /// Short, for scripts.
    pub name: String,
    /// For people.
    pub title: String,
}

/// The load's account over the whole run: `planned = ok + failed + unsure + unsent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadAccount {
    /// Requests planned.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Sent, outcome not known; those that timed out are among them.
    pub unsure: u64,
    /// Of the unsure, those that ran into the time-out.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
    /// The equation holds, and the seconds add up to the same.
    pub balanced: bool,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseResult {
    /// Its name.
    pub name: String,
    /// What it is to the judge.
    pub role: PhaseRole,
    /// Start, RFC 3339 in UTC: to lay beside other systems' records.
    pub start: String,
    /// End, the same.
    pub end: String,
    /// Start, seconds from injection.
    pub start_seconds: f64,
    /// End, seconds from injection.
    pub end_seconds: f64,
    /// Load figures over the requests planned within the phase.
    pub load: Option<LoadFigures>,
    /// Gauges over the phase.
    pub gauges: BTreeMap<String, GaugeFigures>,
    /// Checks over the phase.
    pub checks: BTreeMap<String, CheckFigures>,
    /// Segments sent again within the phase, all services.
    pub retransmitted_segments: Option<u64>,
}

/// Load figures over a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadFigures {
    /// Requests planned.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Sent, outcome not known.
    pub unsure: u64,
    /// Never sent.
    pub unsent: u64,
    /// `ok / planned`, 0 to 1; null where nothing was planned.
    pub success: Option<f64>,
    /// `1 - success`.
    pub errors: Option<f64>,
    /// Acknowledged per second of the window.
    pub throughput_per_second: f64,
    /// Latency of acknowledged requests from the planned send time, seconds.
    pub p50_seconds: Option<f64>,
    /// 90th percentile.
    pub p90_seconds: Option<f64>,
    /// 99th percentile.
    pub p99_seconds: Option<f64>,
    /// Greatest.
    pub max_seconds: Option<f64>,
}

/// A gauge over a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GaugeFigures {
    /// Readings.
    pub readings: u64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// The last one in the phase.
    pub last: f64,
}

/// A check over a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckFigures {
    /// Times asked.
    pub asked: u64,
    /// Times the answer was yes.
    pub passed: u64,
}

/// What an entry of the timeline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// A phase begins, the run is aborted.
    Run,
    /// A fault goes in or out.
    Fault,
    /// A sign from the kernel that something is wrong.
    Kernel,
    /// A sign from the application, or from the load, that something is wrong.
    Application,
    /// A sign that it gets better.
    Recovery,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// Seconds from injection.
    pub t_seconds: f64,
    /// What happened, with its figures.
    pub what: String,
    /// Who saw it: `tp_btf/tcp_retransmit_skb`, `check "the API is ready"`, `load`.
    pub source: String,
    /// What it is about.
    pub kind: TimelineKind,
}

/// The client's own record held against the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerResult {
    /// Orders planned.
    pub attempted: u64,
    /// Orders acknowledged.
    pub acknowledged: u64,
    /// Different orders of this run that the database has.
    pub stored: Option<u64>,
    /// Acknowledged before the read began, and absent.
    pub lost: Option<u64>,
    /// Present more than once (each order counted once).
    pub duplicated: Option<u64>,
    /// Present although refused or never sent, or under a key that nobody planned.
    pub unexpected: Option<u64>,
    /// Sent, with no answer.
    pub unsure: u64,
    /// Of the unsure, those that are in the database.
    pub recovered: Option<u64>,
    /// Refused for certain.
    pub refused: u64,
    /// Never sent.
    pub unsent: u64,
    /// Who was asked what.
    pub source: String,
    /// Why the database could not be read to the end; the figures that need it are then null.
    pub error: Option<String>,
    /// At most 20 keys each of `lost`, `duplicated` and `unexpected`.
    pub examples: BTreeMap<String, Vec<String>>,
}

/// From healing on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryResult {
    /// To the first connection that works between the separated sides.
    pub first: Option<f64>,
    /// To the backlogs' return to the baseline's greatest value.
    pub backlog_drained: Option<f64>,
    /// To steady again: the start of the first stretch, as long as the experiment asks, in which
    /// every steady-state condition held, every check passed and every backlog was drained.
    pub full: Option<f64>,
    /// To all services well again; 0 where none was unwell. Null where nobody watched them, or
    /// one was not well again before the run ended.
    #[serde(default)]
    pub services: Option<f64>,
}

/// A fault's dose and effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultResult {
    /// `network.partition`.
    pub name: String,
    /// What was asked.
    pub dose: BTreeMap<String, String>,
    /// How it was done.
    pub mechanism: String,
    /// Who would have undone it.
    pub undone_by: String,
    /// What the kernel counted.
    pub effect: Effect,
    /// When it was in place, seconds from the first injection.
    pub injected_seconds: f64,
    /// When it was gone.
    pub reverted_seconds: Option<f64>,
    /// How long putting it in place took.
    pub apply_seconds: f64,
    /// How long undoing it took.
    pub revert_seconds: Option<f64>,
    /// The kernel was asked afterwards, and nothing of it was there.
    pub verified_gone: bool,
    /// Its number in the run.
    #[serde(default)]
    pub id: u32,
    /// The services it is about, as far as the run knows them.
    #[serde(default)]
    pub services: Vec<String>,
    /// Changes of the dose while it was in place, in order; before the first it was whole.
    #[serde(default)]
    pub levels: Vec<DoseLevel>,
}

/// A change of a fault's dose: a step or a part of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoseLevel {
    /// Seconds from the first injection.
    pub t_seconds: f64,
    /// The share of the whole dose from then on, 0 to 1.
    pub level: f64,
}

/// A condition and what was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationResult {
    /// The author's words.
    pub name: String,
    /// The phase whose figures are meant; null: the whole run.
    pub during: Option<String>,
    /// What must hold.
    pub condition: Condition,
    /// The figure, in its own unit; null: not observed.
    pub observed: Option<f64>,
    /// Whether it held. A figure that was not observed does not hold.
    pub held: bool,
}

/// Kernel evidence.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Each probe.
    pub probes: Vec<ProbeResult>,
    /// TCP figures per service and peer over the run.
    pub tcp: Vec<TcpPeerFigures>,
    /// The connections on which the fault was seen, the most telling first; at most 50.
    pub connections: Vec<ConnectionStory>,
    /// What the kernel aggregated of each target, phase by phase: what changed most comes first.
    #[serde(default)]
    pub figures: Vec<KernelFigure>,
    /// Who talked to whom; the busiest first, at most 200.
    #[serde(default)]
    pub edges: Vec<EdgeResult>,
    /// What went wrong, by its cause; the most frequent first, at most 200.
    #[serde(default)]
    pub causes: Vec<CauseCount>,
}

/// Something that went wrong, by its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CauseCount {
    /// Whom it befell.
    pub service: String,
    /// The other end, of what happens on a connection.
    pub peer: Option<String>,
    /// `connect refused`.
    pub cause: String,
    /// How often, by phase: of segments sent again how many, of being held up how many seconds.
    pub phases: BTreeMap<String, u64>,
}

/// Somebody asks, somebody answers, over TCP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgeResult {
    /// Who asks: a service, or what is known of who is none.
    pub from: String,
    /// Who answers.
    pub to: String,
    /// At which end the figures were counted.
    pub seen_at: EdgeEnd,
    /// By phase; one in which that end was not watched is absent.
    pub phases: BTreeMap<String, EdgePhase>,
}

/// An end of an edge.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum EdgeEnd {
    /// Who opened the connections.
    Asks,
    /// Who accepted them.
    Answers,
}

/// What went over an edge in a phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EdgePhase {
    /// Turns a second: a request and the beginning of its answer.
    pub turns_per_second: f64,
    /// From a request to the beginning of its answer, median, seconds; null where there was none.
    pub p50_seconds: Option<f64>,
    /// The 99th percentile of the same.
    pub p99_seconds: Option<f64>,
    /// Bytes a second, both ways together.
    pub bytes_per_second: f64,
    /// Connections that were opened.
    pub connections_opened: u64,
}

/// The unit of a figure of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FigureUnit {
    /// Seconds.
    Seconds,
    /// Processors: 1 is one of them, all the time.
    Processors,
    /// Times a second.
    PerSecond,
    /// 0 to 1.
    Share,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// How many at a time.
    Number,
}

/// One figure of one target, phase by phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelFigure {
    /// The probe that counted it.
    pub probe: String,
    /// Whose.
    pub service: String,
    /// `run-queue wait, 99th percentile`.
    pub figure: String,
    /// In what its values are.
    pub unit: FigureUnit,
    /// By phase; one in which nothing was observed is absent.
    pub phases: BTreeMap<String, f64>,
    /// The phase with a fault that differs most, as a multiple of the baseline; null where either
    /// is nothing.
    pub factor: Option<f64>,
    /// It at least doubled or was halved, and by so much that it can be felt.
    pub changed: bool,
    /// Where it was read.
    pub source: String,
}

/// A probe's account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeResult {
    /// `tcp`.
    pub probe: String,
    /// The hooks it used.
    pub hooks: Vec<Hook>,
    /// What this kernel did not let it see.
    pub unseen: Vec<String>,
    /// Events received.
    pub events: u64,
    /// Events lost between the kernel and us.
    pub events_lost: u64,
    /// The programs' run statistics.
    pub programs: Vec<ProgramCost>,
}

/// TCP between one service and one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpPeerFigures {
    /// Whose side.
    pub service: String,
    /// The other end.
    pub peer: String,
    /// Connections attempted from this side.
    pub connects: u64,
    /// Attempts that succeeded.
    pub connected: u64,
    /// Attempts that failed, by errno's name (`ECONNREFUSED`, `ETIMEDOUT`, `given up`).
    pub connect_failures: BTreeMap<String, u64>,
    /// Established connections that ended with a time-out.
    pub timed_out: u64,
    /// Segments sent again, by cause.
    pub retransmitted: BTreeMap<String, u64>,
    /// Resets sent.
    pub resets_sent: u64,
    /// Resets received.
    pub resets_received: u64,
    /// Round-trip times by phase.
    pub rtt: BTreeMap<String, RttFigures>,
}

/// Round-trip times over a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RttFigures {
    /// Measurements.
    pub samples: u64,
    /// The greatest of the windows' medians, microseconds.
    pub p50_us_max: u64,
    /// The greatest of the windows' 99th percentiles, microseconds.
    pub p99_us_max: u64,
}

/// What one connection went through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionStory {
    /// The kernel's socket cookie.
    pub cookie: u64,
    /// Whose side.
    pub service: Option<String>,
    /// The other end.
    pub peer: Option<String>,
    /// `10.0.0.4:40112 → 10.0.0.2:5432`.
    pub addresses: String,
    /// Its retransmissions, in order; at most 40.
    pub retransmissions: Vec<Retransmission>,
    /// Segments sent again in all.
    pub segments: u64,
    /// How it ended or stood at the end: `timed out (ETIMEDOUT) after 5.02 s`.
    pub end: String,
}

/// One retransmission of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retransmission {
    /// Seconds from injection.
    pub t_seconds: f64,
    /// `timeout`, `tail_loss_probe`, `fast`, `syn`, `syn_ack`.
    pub kind: String,
    /// The timer's value, seconds.
    pub rto_seconds: f64,
    /// How often it had been doubled.
    pub backoff: u8,
    /// Since the same connection's previous retransmission, as observed; null for the first.
    pub gap_seconds: Option<f64>,
}

/// A figure that two independent sources give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossCheck {
    /// What is counted.
    pub what: String,
    /// Our figure.
    pub ours: f64,
    /// Where ours comes from.
    pub our_source: String,
    /// The other's figure.
    pub theirs: f64,
    /// Where the other's comes from.
    pub their_source: String,
    /// They are equal (where some outcomes are unsure: within what those allow).
    pub agrees: bool,
}

/// What the instrument itself cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CostResult {
    /// Processor time of the eBPF programs, seconds, as the kernel counts it, without what the
    /// counting itself takes.
    pub bpf_seconds: Option<f64>,
    /// What of a program's every run is the counting, nanoseconds: the run time that the kernel
    /// counts for an empty program. Null: it was not measured, and nothing was taken off.
    pub bpf_floor_ns: Option<u64>,
    /// Memory of the kernel's that the probes' maps hold, bytes, by the kernel's own account.
    pub map_bytes: Option<u64>,
    /// Processor time of this program in user mode and in the kernel, load generation included,
    /// seconds.
    pub cpu_seconds: Option<f64>,
    /// The same as a share of the machine's processors over the run, 0 to 1.
    pub cpu_share: Option<f64>,
    /// Greatest resident memory, bytes.
    pub memory_bytes_max: Option<u64>,
    /// Events lost, all probes.
    pub events_lost: u64,
}
