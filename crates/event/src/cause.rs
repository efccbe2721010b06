//! Why something went wrong, from what the kernel says: one list of causes for all who name them.

use std::fmt;

use crate::tcp_names::{errno_name, peer, service};
use crate::{
    Body, ExitCause, RetransmitKind, SchedWindow, SignalSender, TcpState, TcpStateChange,
    signal_name,
};

/// Threads that could run waited for at least this share of a window, all together…
const HELD_UP_SHARE: f64 = 0.1;
/// …and some of them this long, nanoseconds: then the target was held up.
const HELD_UP_NS: u64 = 5_000_000;
/// Where its quota ran out in at least this share of the periods it was the quota that held it up.
const THROTTLED_SHARE: f64 = 0.1;

/// Why something went wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Nobody listened: the attempt to connect was refused.
    Refused,
    /// Nobody answered the attempt to connect within the kernel's patience.
    SynTimedOut,
    /// The application gave an attempt to connect up before the kernel did.
    GaveUp,
    /// The attempt to connect failed otherwise.
    ConnectFailed(i32),
    /// An established connection ended because nothing was acknowledged any more.
    TimedOut,
    /// The peer cut the connection.
    ResetIn,
    /// This side cut the connection, or refused one.
    ResetOut,
    /// The retransmission timer ran out.
    RetransmitTimeout,
    /// The last of what was sent was not acknowledged in about two round trips.
    TailLossProbe,
    /// Acknowledgements showed a gap.
    FastRetransmit,
    /// A SYN, or its answer, was sent again.
    SynAgain,
    /// The kernel killed the process for want of memory; whether a cgroup's limit was the reason,
    /// where it says.
    OutOfMemory(Option<bool>),
    /// A signal killed the process; who sent it, where it is known.
    Killed(u8, Option<String>),
    /// The process did what cannot be done, and a signal of the kernel's ended it.
    Fault(u8),
    /// The process ended by itself, with a code other than 0.
    ExitCode(u8),
    /// Threads that could run did not, because the group's quota was used up.
    Throttled,
    /// Threads that could run did not, because others had the processors.
    Starved,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connect refused"),
            Self::SynTimedOut => f.write_str("connect timed out"),
            Self::GaveUp => f.write_str("connect given up by the application"),
            Self::ConnectFailed(errno) => write!(f, "connect failed ({})", errno_name(*errno)),
            Self::TimedOut => f.write_str("connection timed out"),
            Self::ResetIn => f.write_str("reset received"),
            Self::ResetOut => f.write_str("reset sent"),
            Self::RetransmitTimeout => f.write_str("sent again after a time-out"),
            Self::TailLossProbe => f.write_str("sent again as a tail-loss probe"),
            Self::FastRetransmit => f.write_str("sent again because of a gap"),
            Self::SynAgain => f.write_str("SYN or its answer sent again"),
            Self::OutOfMemory(None) => f.write_str("killed for want of memory"),
            Self::OutOfMemory(Some(true)) => {
                f.write_str("killed for want of memory: its cgroup's limit")
            }
            Self::OutOfMemory(Some(false)) => {
                f.write_str("killed for want of memory: the machine's")
            }
            Self::Killed(signal, by) => {
                let signal = signal_name((*signal).into());
                match by {
                    Some(by) => write!(f, "killed by {signal} from {by}"),
                    None => write!(f, "killed by {signal}, nobody knows whose"),
                }
            }
            Self::Fault(signal) => {
                write!(f, "ended by its own fault ({})", signal_name((*signal).into()))
            }
            Self::ExitCode(code) => write!(f, "ended with code {code}"),
            Self::Throttled => f.write_str("throttled: its quota was used up"),
            Self::Starved => f.write_str("starved: others had the processors"),
        }
    }
}

/// A cause and whom it befell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caused {
    /// Whom.
    pub service: String,
    /// The other end, of what happens on a connection.
    pub peer: Option<String>,
    /// Why.
    pub cause: Cause,
    /// How often: of segments how many, of a window once.
    pub times: u64,
}

/// What went wrong by an event, and why. None: nothing did.
#[must_use]
pub fn caused(body: &Body) -> Option<Caused> {
    let (service, peer, cause, times) = match body {
        Body::TcpState(change) => {
            (service(&change.conn), Some(peer(&change.conn)), of_change(change)?, 1)
        }
        Body::TcpRetransmit(again) => {
            let cause = match again.kind {
                RetransmitKind::Timeout => Cause::RetransmitTimeout,
                RetransmitKind::TailLossProbe => Cause::TailLossProbe,
                RetransmitKind::Fast => Cause::FastRetransmit,
                RetransmitKind::Syn | RetransmitKind::SynAck => Cause::SynAgain,
            };
            let times = again.segments.into();
            (service(&again.conn), Some(peer(&again.conn)), cause, times)
        }
        // The refusal of an attempt to connect is told by the attempt's end.
        Body::TcpReset(reset) if !reset.sent && reset.state == Some(TcpState::SynSent) => {
            return None;
        }
        Body::TcpReset(reset) => {
            let cause = if reset.sent { Cause::ResetOut } else { Cause::ResetIn };
            (service(&reset.conn), Some(peer(&reset.conn)), cause, 1)
        }
        Body::ProcessExit(exit) => {
            let cause = match &exit.cause {
                ExitCause::Code { code: 0 } => return None,
                ExitCause::Code { code } => Cause::ExitCode(*code),
                ExitCause::Signal { signal, sender } => {
                    Cause::Killed(*signal, sender.as_ref().map(sender_name))
                }
                ExitCause::Fault { signal } => Cause::Fault(*signal),
                ExitCause::OutOfMemory { cgroup_limit } => Cause::OutOfMemory(*cgroup_limit),
            };
            (exit.service.clone(), None, cause, 1)
        }
        Body::SchedWindow(window) => (window.service.clone(), None, held_up(window)?, 1),
        _ => return None,
    };
    Some(Caused { service, peer, cause, times })
}

fn sender_name(sender: &SignalSender) -> String {
    match sender {
        SignalSender::Process { name, .. } => name.clone(),
        SignalSender::Kernel | SignalSender::Fault => "the kernel".to_owned(),
    }
}

/// A reset ends a connection with an error, too: it is told by the reset.
fn of_change(change: &TcpStateChange) -> Option<Cause> {
    match (change.from, change.to, change.errno) {
        (TcpState::SynSent, TcpState::Close, 0) => Some(Cause::GaveUp),
        (TcpState::SynSent, TcpState::Close, 110) => Some(Cause::SynTimedOut),
        (TcpState::SynSent, TcpState::Close, 111) => Some(Cause::Refused),
        (TcpState::SynSent, TcpState::Close, errno) => Some(Cause::ConnectFailed(errno)),
        (_, TcpState::Close, 110) => Some(Cause::TimedOut),
        _ => None,
    }
}

fn held_up(window: &SchedWindow) -> Option<Cause> {
    #[expect(clippy::cast_precision_loss, reason = "shares")]
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let waited = share(window.waited_ns.unwrap_or(window.wait.sum_ns), window.window_ns);
    if waited < HELD_UP_SHARE || window.longest_wait_ns() < HELD_UP_NS {
        return None;
    }
    let throttled = window.throttled.unwrap_or_default();
    let used_up = share(throttled.periods_throttled, throttled.periods);
    Some(if used_up >= THROTTLED_SHARE { Cause::Throttled } else { Cause::Starved })
}
