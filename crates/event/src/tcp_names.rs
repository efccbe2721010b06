//! Names for what the kernel says of TCP.

use crate::{Connection, RetransmitKind};

/// The name that the event has in the log.
#[must_use]
pub fn kind_name(kind: RetransmitKind) -> &'static str {
    match kind {
        RetransmitKind::Timeout => "timeout",
        RetransmitKind::TailLossProbe => "tail_loss_probe",
        RetransmitKind::Fast => "fast",
        RetransmitKind::Syn => "syn",
        RetransmitKind::SynAck => "syn_ack",
    }
}

/// `ECONNREFUSED`; the errors that a TCP socket can have, the rest by number.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        1 => "EPERM",
        13 => "EACCES",
        32 => "EPIPE",
        71 => "EPROTO",
        92 => "ENOPROTOOPT",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        102 => "ENETRESET",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

/// How an attempt to connect failed, by its errno: `ECONNREFUSED`, `given up`.
#[must_use]
pub fn failure_name(errno: i32) -> String {
    if errno == 0 { "given up".to_owned() } else { errno_name(errno) }
}

/// Whose side it is.
#[must_use]
pub fn service(connection: &Connection) -> String {
    connection.service.clone().unwrap_or_else(|| connection.local.ip().to_string())
}

/// Who is at the other end.
#[must_use]
pub fn peer(connection: &Connection) -> String {
    connection.peer.clone().unwrap_or_else(|| connection.remote.ip().to_string())
}
