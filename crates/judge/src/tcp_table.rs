//! TCP by service and peer, counted as the events come.

use std::collections::BTreeMap;

use temblor_event::{Connection, TcpReset, TcpRetransmit, TcpState, TcpStateChange};

use crate::result::TcpPeerFigures;
use crate::tcp_names::{failure_name, kind_name, peer, service};

/// Pairs of service and peer beyond this are counted together, as `others`.
const PAIRS_MAX: usize = 200;
const OTHERS: &str = "others";
const ETIMEDOUT: i32 = 110;

/// TCP figures by service and peer, of a bounded number of them.
#[derive(Debug, Default)]
pub struct TcpTable(BTreeMap<(String, String), TcpPeerFigures>);

impl TcpTable {
    /// Counts a change of state.
    pub fn state(&mut self, state: &TcpStateChange) {
        let row = self.of(&state.conn);
        match (state.from, state.to) {
            (_, TcpState::SynSent) => row.connects += 1,
            (TcpState::SynSent, TcpState::Established) => row.connected += 1,
            (TcpState::SynSent, TcpState::Close) => {
                *row.connect_failures.entry(failure_name(state.errno)).or_default() += 1;
            }
            (_, TcpState::Close) if state.errno == ETIMEDOUT => row.timed_out += 1,
            _ => {}
        }
    }

    /// Counts segments that were sent again.
    pub fn retransmit(&mut self, segment: &TcpRetransmit) {
        let by_kind = &mut self.of(&segment.conn).retransmitted;
        *by_kind.entry(kind_name(segment.kind).to_owned()).or_default() +=
            u64::from(segment.segments);
    }

    /// Counts a reset.
    pub fn reset(&mut self, reset: &TcpReset) {
        let row = self.of(&reset.conn);
        *(if reset.sent { &mut row.resets_sent } else { &mut row.resets_received }) += 1;
    }

    /// The row of a pair, or of all others where there are too many.
    pub(crate) fn row(&mut self, service: &str, peer: &str) -> &mut TcpPeerFigures {
        let key = (service.to_owned(), peer.to_owned());
        let full = self.0.len() >= PAIRS_MAX && !self.0.contains_key(&key);
        let key = if full { (OTHERS.to_owned(), OTHERS.to_owned()) } else { key };
        self.0.entry(key).or_insert_with_key(|(service, peer)| TcpPeerFigures {
            service: service.clone(),
            peer: peer.clone(),
            connects: 0,
            connected: 0,
            connect_failures: BTreeMap::new(),
            timed_out: 0,
            retransmitted: BTreeMap::new(),
            resets_sent: 0,
            resets_received: 0,
            rtt: BTreeMap::new(),
        })
    }

    /// The pairs of which there is something to tell. A socket that only listens has a peer of
    /// zeros, and nothing to tell.
    pub fn rows(&self) -> impl Iterator<Item = &TcpPeerFigures> {
        self.0.values().filter(|row| says_something(row))
    }

    fn of(&mut self, connection: &Connection) -> &mut TcpPeerFigures {
        self.row(&service(connection), &peer(connection))
    }
}

fn says_something(row: &TcpPeerFigures) -> bool {
    row.connects > 0
        || row.connected > 0
        || row.timed_out > 0
        || row.resets_sent > 0
        || row.resets_received > 0
        || !row.connect_failures.is_empty()
        || !row.retransmitted.is_empty()
        || !row.rtt.is_empty()
}
