//! Load and ledger: what the client sent, what it was told, what the database has.

use serde::{Deserialize, Serialize};

/// How an order ended, as far as its sender can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged: it must be in the database.
    Ok,
    /// Refused for certain (a complete answer that is a refusal, or no connection was made): it
    /// must not be in the database.
    Fail,
    /// Sent, and the answer never came or was cut off: either is right.
    Unsure,
    /// Planned, but never sent: it must not be in the database.
    Unsent,
}

/// One second of load. The event's time is the start of the second; every request belongs to
/// the second it was *planned* for, and the event is written once all of them have an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadSecond {
    /// Requests planned for this second. Equals `ok + failed + unsure + unsent`.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Timed out or cut off: the outcome is not known.
    pub unsure: u64,
    /// Never sent: the generator could not keep up, or the run ended first.
    pub unsent: u64,
    /// Latencies of the acknowledged requests in nanoseconds, from the planned send time to the
    /// answer's last byte: an HDR histogram, V2 with deflate, in base64.
    pub latency: String,
    /// The greatest delay between planned and actual send, nanoseconds: the generator's own lag.
    pub lag_ns_max: u64,
}

/// The load's closing account: `planned = ok + failed + unsure + unsent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadFinished {
    /// Requests planned between the start and the stop.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Timed out or cut off.
    pub unsure: u64,
    /// Of the unsure, those that ran into the time-out.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
}

/// One order and its outcome. The event's time is when the outcome was known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderOutcome {
    /// The client order id, unique in the run; the key of the audit.
    pub key: String,
    /// When it was to be sent, CLOCK_MONOTONIC nanoseconds.
    pub planned_ns: u64,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status, where there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The server's id for it, where it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Why not, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Some of the database's rows for this run; as many events as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRows {
    /// One per row of the database, duplicates included.
    pub rows: Vec<StoredRow>,
}

/// One order as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRow {
    /// The client order id.
    pub key: String,
    /// The server's id.
    pub order_id: String,
}

/// The database was read to the end, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRead {
    /// Who was asked what: `postgres at 10.0.0.5:5432: SELECT …`.
    pub source: String,
    /// Rows read.
    pub rows: u64,
    /// When the read began, CLOCK_MONOTONIC nanoseconds: outcomes known later are concurrent.
    pub began_ns: u64,
    /// Why the read is not complete; the audit is then unknown, not passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
