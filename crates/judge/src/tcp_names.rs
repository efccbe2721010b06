//! Words for what the kernel says of TCP.

pub use temblor_event::tcp_names::{errno_name, failure_name, kind_name, peer, service};
use temblor_event::{TcpState, TcpStateChange};

use crate::human::duration;
use crate::log::seconds;
pub use crate::sides::{addresses, services};

/// `timed out (ETIMEDOUT) after 3.1 s`.
#[must_use]
pub fn ended(errno: i32, after_ns: Option<u64>) -> String {
    let how = match errno {
        0 => "given up".to_owned(),
        110 => "timed out (ETIMEDOUT)".to_owned(),
        111 => "refused (ECONNREFUSED)".to_owned(),
        104 => "reset (ECONNRESET)".to_owned(),
        other => format!("failed ({})", errno_name(other)),
    };
    match after_ns {
        Some(ns) => format!("{how} after {}", duration(seconds(ns))),
        None => how,
    }
}

/// What the retransmission timer stood at when it ran out: `, timer 204 ms, doubled 0 times`.
/// Nothing where it did not.
#[must_use]
pub fn timer(rto_seconds: f64, backoff: u8) -> String {
    if rto_seconds > 0.0 {
        format!(", timer {}, doubled {backoff} times", duration(rto_seconds))
    } else {
        String::new()
    }
}

/// `reset sent`, `reset received`.
#[must_use]
pub fn reset(sent: bool) -> &'static str {
    if sent { "reset sent" } else { "reset received" }
}

/// What a change of state means to who uses the connection: `connected after 120 µs`. None: it is
/// a step on the way.
#[must_use]
pub fn change(change: &TcpStateChange) -> Option<String> {
    Some(match (change.from, change.to) {
        (TcpState::SynSent, TcpState::Established) => match change.connect_ns {
            Some(ns) => format!("connected after {}", duration(seconds(ns))),
            None => "connected".to_owned(),
        },
        (TcpState::SynSent, TcpState::Close) => {
            format!("connect {}", ended(change.errno, change.connect_ns))
        }
        (TcpState::SynRecv, TcpState::Established) => "accepted".to_owned(),
        (_, TcpState::Listen) => "listens".to_owned(),
        (TcpState::Listen, TcpState::Close) => "listens no more".to_owned(),
        (_, TcpState::Close) if change.errno != 0 => ended(change.errno, None),
        (_, TcpState::Close | TcpState::TimeWait) => "closed".to_owned(),
        _ => return None,
    })
}
