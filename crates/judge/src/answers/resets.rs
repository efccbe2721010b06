//! Answers by resets and refusals, by service, peer and port, from injection on.

use std::collections::BTreeMap;

use temblor_event::{Connection, TcpState};

use super::{NOT_OBSERVED, Sources};
use crate::human::count;
use crate::tcp_names::{peer, service};

/// Lines told.
const LINES_MAX: usize = 20;
const ECONNREFUSED: i32 = 111;

#[derive(Debug, Default)]
struct Sum {
    sent: u64,
    received: u64,
    refused: u64,
}

/// Every service's, not only those that a fault names: who is refused is often somebody else.
pub(super) fn answer(from: &Sources<'_>) -> Vec<String> {
    let log = from.log;
    if log.probe_status.is_empty() && log.states.is_empty() && log.resets.is_empty() {
        return vec![format!("resets: {NOT_OBSERVED}, no probe watched TCP")];
    }
    let mut sums: BTreeMap<(String, String, u16), Sum> = BTreeMap::new();
    let key = |conn: &Connection| (service(conn), peer(conn), port(conn));
    for reset in log.resets.iter().filter(|reset| reset.t_ns >= log.signs_from_ns) {
        let sum = sums.entry(key(&reset.get().conn)).or_default();
        *(if reset.sent { &mut sum.sent } else { &mut sum.received }) += 1;
    }
    for state in log.states.iter().filter(|state| state.t_ns >= log.signs_from_ns) {
        let refused = state.from == TcpState::SynSent && state.to == TcpState::Close;
        if refused && state.errno == ECONNREFUSED {
            sums.entry(key(&state.get().conn)).or_default().refused += 1;
        }
    }
    if sums.is_empty() {
        return vec![
            "no reset was sent or received, and nobody was refused, after the injection".to_owned(),
        ];
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.sent + sum.received + sum.refused));
    let left_out = sums.len().saturating_sub(LINES_MAX);
    let mut found: Vec<String> = sums
        .into_iter()
        .take(LINES_MAX)
        .map(|((service, peer, port), sum)| {
            format!(
                "{service} → {peer}, port {port}: resets: {} sent, {} received; attempts refused: {}",
                count(sum.sent),
                count(sum.received),
                count(sum.refused)
            )
        })
        .collect();
    if left_out > 0 {
        found.push(format!("and {left_out} more pairs and ports"));
    }
    found
}

/// The port that is served: of the two the lower, as those of clients are drawn from high ones. A
/// port that the kernel had not chosen yet is 0.
fn port(conn: &Connection) -> u16 {
    let ports = [conn.local.port(), conn.remote.port()];
    ports.into_iter().filter(|port| *port > 0).min().unwrap_or(0)
}
