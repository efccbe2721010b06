//! What the kernel saw of TCP.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::Buckets;

/// One side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connection {
    /// The kernel's socket cookie: the same for all events of one socket, unique until reboot.
    /// 0 where the kernel had no socket for the segment.
    pub cookie: u64,
    /// The service whose side this is, found by the socket's network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The service at the other end, found by its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// This side's address. The port is 0 where the kernel had not chosen one yet.
    pub local: SocketAddr,
    /// The other side's address.
    pub remote: SocketAddr,
}

/// The kernel's TCP states, by the names of RFC 9293.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TcpState {
    /// Data flows.
    Established,
    /// Connecting: a SYN was sent.
    SynSent,
    /// Accepting: a SYN was received.
    SynRecv,
    /// Closed by us, our FIN is not acknowledged yet.
    FinWait1,
    /// Closed by us, our FIN is acknowledged.
    FinWait2,
    /// Waiting out old segments.
    TimeWait,
    /// No connection.
    Close,
    /// Closed by the peer, not by us yet.
    CloseWait,
    /// Closed by both, our FIN is not acknowledged yet.
    LastAck,
    /// Accepting connections.
    Listen,
    /// Closed by both at once.
    Closing,
    /// A connection request that has no full socket yet.
    NewSynRecv,
}

/// A connection changed its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpStateChange {
    /// Which.
    #[serde(flatten)]
    pub conn: Connection,
    /// Before.
    pub from: TcpState,
    /// After.
    pub to: TcpState,
    /// The socket's error at the change: 111 refused, 110 timed out, 104 reset; 0 none (at
    /// SYN_SENT → CLOSE: the application gave up).
    pub errno: i32,
    /// For a change away from SYN_SENT: how long the attempt had taken, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ns: Option<u64>,
    /// Smoothed round-trip time, microseconds; 0 where none was measured yet.
    pub srtt_us: u32,
    /// Segments this socket has sent again in its life.
    pub retransmitted: u32,
    /// The process that opened the connection, where it was seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// What made the kernel send a segment again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetransmitKind {
    /// The retransmission timer ran out.
    Timeout,
    /// A tail-loss probe: no acknowledgement for about two round trips.
    TailLossProbe,
    /// The peer's acknowledgements showed a gap.
    Fast,
    /// A connection attempt's SYN.
    Syn,
    /// An answer to a connection attempt.
    SynAck,
}

/// A segment was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRetransmit {
    /// Which connection.
    #[serde(flatten)]
    pub conn: Connection,
    /// Why.
    pub kind: RetransmitKind,
    /// Segments this event stands for: the growth of the socket's own count of retransmitted
    /// segments, so that the sum equals the namespace's `TcpRetransSegs`.
    pub segments: u32,
    /// The timer's value when it ran out, nanoseconds. `backoff` doublings are in it.
    pub rto_ns: u64,
    /// How often the timer has been doubled already.
    pub backoff: u8,
    /// The state of the connection.
    pub state: TcpState,
    /// The error with which the send failed, where it failed.
    pub errno: i32,
}

/// A reset was sent or received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpReset {
    /// Which connection.
    #[serde(flatten)]
    pub conn: Connection,
    /// Sent by this side; otherwise received.
    pub sent: bool,
    /// The state of the connection, where there was a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TcpState>,
}

/// Round-trip times between a service and a peer over a window, aggregated in the kernel. The
/// event's time is the window's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRtt {
    /// Whose side measured.
    pub service: String,
    /// The other end.
    pub peer: String,
    /// The window's length, nanoseconds.
    pub window_ns: u64,
    /// Measurements in the window.
    pub samples: u64,
    /// Median, microseconds: the upper bound of its bucket.
    pub p50_us: u64,
    /// 99th percentile, microseconds: the upper bound of its bucket.
    pub p99_us: u64,
    /// The greatest, microseconds.
    pub max_us: u64,
    /// All of them together, microseconds; 0 where that was not kept.
    #[serde(default)]
    pub sum_us: u64,
    /// How many of which length, microseconds; empty where that was not kept.
    #[serde(default, skip_serializing_if = "Buckets::is_empty")]
    pub buckets: Buckets,
}
