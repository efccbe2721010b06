//! Which of its hooks this kernel has.

use temblor_event::Hook;
use temblor_host::{Capability, State};

use super::probe::{Settings, load};
use crate::Error;
use crate::kernel::{KernelTypes, log_libbpf};
use crate::tracepoints::{self, Tracepoint, Tracepoints};

const OF: &str = "probe tcp";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "inet_sock_set_state",
        program: "tcp_state",
        sees: "connects and state changes",
        essential: true,
    },
    Tracepoint {
        name: "tcp_retransmit_skb",
        program: "tcp_retransmit",
        sees: "retransmissions",
        essential: true,
    },
    Tracepoint {
        name: "tcp_retransmit_synack",
        program: "tcp_synack",
        sees: "retransmitted SYN-ACKs",
        essential: false,
    },
    Tracepoint {
        name: "tcp_send_reset",
        program: "tcp_reset_out",
        sees: "resets sent",
        essential: false,
    },
    Tracepoint {
        name: "tcp_receive_reset",
        program: "tcp_reset_in",
        sees: "resets received",
        essential: false,
    },
    Tracepoint {
        name: "tcp_probe",
        program: "tcp_rtt",
        sees: "round-trip times",
        essential: false,
    },
];

/// The program that looks at the connections that are there already.
pub(super) const SEED: &str = "tcp_seed";

/// The program that looks at whose connections and listeners are there already, where namespaces are
/// shared.
pub(super) const SEED_OWNERS: &str = "tcp_seed_owners";

/// What of all this the running kernel has.
pub(super) struct Support {
    tracepoints: Tracepoints,
    /// The tracepoint tells of failed sends too, and why they failed.
    pub(super) retransmit_has_error: bool,
    /// The tracepoint tells of resets that no connection sends. It gained the reset's reason in the
    /// same release.
    reset_without_socket: bool,
    /// A connection request holds its timer.
    has_request_timer: bool,
    /// Tracepoints may ask for a socket's cookie.
    pub(super) has_cookie_helper: bool,
    /// Connections that are there already can be looked at.
    pub(super) has_iterator: bool,
    /// And by who has them open.
    pub(super) has_file_iterator: bool,
}

impl Support {
    pub(super) fn look() -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        Ok(Self {
            tracepoints,
            retransmit_has_error: types
                .tracepoint_arguments("tcp_retransmit_skb")
                .is_some_and(|arguments| arguments > 2),
            reset_without_socket: types
                .tracepoint_arguments("tcp_send_reset")
                .is_some_and(|arguments| arguments > 2),
            has_request_timer: types.has_field("request_sock", "timeout"),
            has_cookie_helper: types.has_function("bpf_get_socket_ptr_cookie"),
            has_iterator: types.has_struct("bpf_iter__tcp"),
            has_file_iterator: types.has_struct("bpf_iter__task_file"),
        })
    }

    pub(super) fn wants(&self, program: &str) -> bool {
        match program {
            SEED => self.has_iterator,
            SEED_OWNERS => self.has_file_iterator,
            other => self.tracepoints.wants(other),
        }
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let seed = Hook {
            sees: "retransmission counts of connections that were there before".into(),
            hook: "iter/tcp".into(),
        };
        let mut hooks = self.tracepoints.hooks();
        hooks.extend(self.has_iterator.then_some(seed));
        hooks
    }

    /// What stays unseen, with the reason.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut unseen = self.tracepoints.unseen();
        unseen.extend(
            [LATE_FAILURES, SILENT_REFUSALS, NO_REQUEST_TIMER, WEAK_COOKIES, NO_SEED]
                .into_iter()
                .zip([
                    self.retransmit_has_error,
                    self.reset_without_socket,
                    self.has_request_timer,
                    self.has_cookie_helper,
                    self.has_iterator,
                ])
                .filter(|(_, there)| !there)
                .map(|(text, _)| text.to_owned()),
        );
        unseen
    }
}

const LATE_FAILURES: &str = "retransmissions that this machine itself fails to send: this kernel's \
    tracepoint is silent then; they are counted, without a time of their own, at the \
    connection's next event";
const SILENT_REFUSALS: &str = "resets that no connection sends, such as a closed port's refusal: \
    before Linux 6.10 the tracepoint is silent then; whoever receives one is seen";
const NO_REQUEST_TIMER: &str = "the timers of retransmitted SYN-ACKs: before Linux 5.17 a connection \
    request does not hold its own; they read 0";
const WEAK_COOKIES: &str = "socket cookies: before Linux 5.12 tracepoints may not ask for them; \
    the socket's address stands in, which a later socket may get again";
const NO_SEED: &str = "retransmissions before the first that is seen, on connections that were \
    there already: this kernel has no iterator over TCP sockets (Linux 5.9)";

/// Whether this kernel takes the probe: loads its programs and lets them go. Nothing is attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    log_libbpf();
    let support = Support::look()?;
    load(&support, &Settings::default(), None).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let support = match Support::look() {
        Ok(support) => support,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let entry = |name, state| Capability { name, of: OF, state };
    let mut table = support.tracepoints.capabilities(OF);
    let or_lacks = |there: bool, via: &str, instead: &str, lacks: &str| {
        if there {
            State::Available { via: via.into() }
        } else {
            State::Fallback { via: instead.into(), lacks: lacks.into() }
        }
    };
    table.push(entry(
        "errors of failed retransmissions",
        or_lacks(
            support.retransmit_has_error,
            "the third argument of tp_btf/tcp_retransmit_skb",
            "the socket's own count, read at its next event",
            LATE_FAILURES,
        ),
    ));
    table.push(entry(
        "resets sent by closed ports",
        or_lacks(
            support.reset_without_socket,
            "tp_btf/tcp_send_reset without a socket",
            "tp_btf/tcp_receive_reset on the other side",
            SILENT_REFUSALS,
        ),
    ));
    table.push(entry(
        "timers of SYN-ACKs",
        or_lacks(
            support.has_request_timer,
            "request_sock.timeout",
            "the number of doublings alone",
            NO_REQUEST_TIMER,
        ),
    ));
    table.push(entry(
        "socket cookies",
        or_lacks(
            support.has_cookie_helper,
            "bpf_get_socket_cookie",
            "the socket's address",
            WEAK_COOKIES,
        ),
    ));
    table.push(entry(
        "connections that are there already",
        or_lacks(support.has_iterator, "iter/tcp", "each connection's first event", NO_SEED),
    ));
    table.push(tracepoints::loading(OF, trial()));
    table
}
