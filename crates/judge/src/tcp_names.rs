//! Words for the kernel's numbers.

use temblor_event::RetransmitKind;

/// The name that the event has in the log.
pub(crate) fn kind_name(kind: RetransmitKind) -> &'static str {
    match kind {
        RetransmitKind::Timeout => "timeout",
        RetransmitKind::TailLossProbe => "tail_loss_probe",
        RetransmitKind::Fast => "fast",
        RetransmitKind::Syn => "syn",
        RetransmitKind::SynAck => "syn_ack",
    }
}

/// `ECONNREFUSED`; the errors that a TCP socket can have, the rest by number.
pub(crate) fn errno_name(errno: i32) -> String {
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
