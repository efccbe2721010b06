//! Answers by the kernel's record of TCP connections that the faults are about, from injection on.

use std::collections::BTreeMap;

use temblor_event::{TcpState, TcpStateChange};

use super::{NOT_OBSERVED, Sources};
use crate::human::{count, duration, moment};
use crate::log::{At, seconds_between};
use crate::result::ConnectionStory;
use crate::tcp_names::{errno_name, failure_name, kind_name, peer, service};

/// Pairs of service and peer told of.
const PAIRS_MAX: usize = 8;
/// Gaps of a connection's back-off that are listed.
const GAPS_MAX: usize = 8;

/// What one service did towards one peer.
#[derive(Debug, Default)]
struct Pair<'a> {
    attempts_ns: Vec<u64>,
    succeeded: Vec<At<'a, TcpStateChange>>,
    failed_ns: Option<u64>,
    failures: BTreeMap<String, u64>,
    broken: BTreeMap<String, u64>,
    segments: BTreeMap<&'static str, u64>,
    doublings: u8,
}

pub(super) fn answer(from: &Sources<'_>) -> Vec<String> {
    let log = from.log;
    if log.probe_status.is_empty() && log.states.is_empty() && log.retransmits.is_empty() {
        return vec![format!("connections: {NOT_OBSERVED}, no probe watched TCP")];
    }
    let mut pairs: BTreeMap<(String, String), Pair<'_>> = BTreeMap::new();
    let concerned = |t_ns, conn| t_ns >= log.signs_from_ns && from.sides.concern(conn);
    for state in log.states.iter().filter(|state| concerned(state.t_ns, &state.get().conn)) {
        let pair = pairs.entry((service(&state.conn), peer(&state.conn))).or_default();
        match (state.from, state.to) {
            (_, TcpState::SynSent) => pair.attempts_ns.push(state.t_ns),
            (TcpState::SynSent, TcpState::Established) => pair.succeeded.push(*state),
            (TcpState::SynSent, TcpState::Close) => {
                pair.failed_ns.get_or_insert(state.t_ns);
                *pair.failures.entry(failure_name(state.errno)).or_default() += 1;
            }
            (_, TcpState::Close) if state.errno != 0 => {
                pair.failed_ns.get_or_insert(state.t_ns);
                *pair.broken.entry(errno_name(state.errno)).or_default() += 1;
            }
            _ => {}
        }
    }
    for segment in log.retransmits.iter().filter(|s| concerned(s.t_ns, &s.get().conn)) {
        let pair = pairs.entry((service(&segment.conn), peer(&segment.conn))).or_default();
        let sum = pair.segments.entry(kind_name(segment.kind)).or_default();
        *sum = sum.saturating_add(u64::from(segment.segments));
        pair.doublings = pair.doublings.max(segment.backoff);
    }
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, pair)| pair.says_something()).collect();
    if pairs.is_empty() {
        return vec!["the connections that the fault is about: none was attempted, broken or sent a segment again after the injection".to_owned()];
    }
    // What failed is asked about before what went well.
    pairs.sort_by_key(|(_, pair)| std::cmp::Reverse(pair.troubles()));
    let left_out = pairs.len().saturating_sub(PAIRS_MAX);
    let mut found: Vec<String> = pairs
        .iter()
        .take(PAIRS_MAX)
        .flat_map(|((service, peer), pair)| pair.told(from, service, peer))
        .collect();
    if left_out > 0 {
        found.push(format!("and {left_out} more pairs of service and peer"));
    }
    found
}

impl Pair<'_> {
    fn says_something(&self) -> bool {
        !self.attempts_ns.is_empty() || self.troubles() > 0
    }

    fn troubles(&self) -> u64 {
        let sums = [self.failures.values().sum(), self.broken.values().sum()];
        sums.into_iter().chain(self.segments.values().copied()).fold(0, u64::saturating_add)
    }

    fn told(&self, from: &Sources<'_>, service: &str, peer: &str) -> Vec<String> {
        let between = format!("{service} → {peer}");
        let mut found = Vec::new();
        if !self.attempts_ns.is_empty() || !self.failures.is_empty() {
            let mut words = format!(
                "{between}: {} attempts to connect, {} succeeded",
                count(self.attempts_ns.len() as u64),
                count(self.succeeded.len() as u64)
            );
            for (how, n) in &self.failures {
                words.push_str(&format!(", {} {how}", count(*n)));
            }
            words.push_str(&self.between_attempts());
            found.push(words);
            found.push(format!("{between}: {}", self.first_success(from)));
        }
        if !self.broken.is_empty() {
            let how: Vec<String> =
                self.broken.iter().map(|(how, n)| format!("{} {how}", count(*n))).collect();
            found
                .push(format!("{between}: established connections that broke: {}", how.join(", ")));
        }
        if !self.segments.is_empty() {
            let kinds: Vec<String> = self
                .segments
                .iter()
                .map(|(kind, n)| format!("{} {}", count(*n), kind.replace('_', " ")))
                .collect();
            let doublings = match self.doublings {
                0 => String::new(),
                1 => ", the timer doubled once".to_owned(),
                n => format!(", the timer doubled up to {n} times"),
            };
            let gaps = gaps(from.stories, service, peer);
            found.push(format!(
                "{between}: segments sent again: {}{doublings}{gaps}",
                kinds.join(", ")
            ));
        }
        found
    }

    fn between_attempts(&self) -> String {
        let mut gaps: Vec<f64> =
            self.attempts_ns.windows(2).map(|two| seconds_between(two[0], two[1])).collect();
        gaps.sort_by(f64::total_cmp);
        match (gaps.first(), gaps.get(gaps.len() / 2), gaps.last()) {
            (Some(least), Some(median), Some(greatest)) if gaps.len() > 1 => format!(
                "; between two attempts {} to {}, median {}",
                duration(*least),
                duration(*greatest),
                duration(*median)
            ),
            (Some(only), ..) => format!("; {} between the two attempts", duration(*only)),
            _ => String::new(),
        }
    }

    /// The first success after the first failure; with none that failed, the first at all.
    fn first_success(&self, from: &Sources<'_>) -> String {
        let after_ns = self.failed_ns.unwrap_or(0);
        let Some(first) = self.succeeded.iter().find(|state| state.t_ns >= after_ns) else {
            return "no attempt succeeded after the first failure".to_owned();
        };
        let healed = from.recovery.healed_ns.filter(|healed_ns| first.t_ns >= *healed_ns);
        let after = healed
            .map(|healed_ns| {
                format!(", {} after healing", duration(seconds_between(healed_ns, first.t_ns)))
            })
            .unwrap_or_default();
        let which = if self.failed_ns.is_some() {
            "first success after a failure"
        } else {
            "first success"
        };
        format!("{which} at {}{after}", moment(from.log.t_seconds(first.t_ns)))
    }
}

/// The back-off of the pair's most telling connection, as it was observed.
fn gaps(stories: &[ConnectionStory], service: &str, peer: &str) -> String {
    let story = stories.iter().find(|story| {
        story.service.as_deref() == Some(service) && story.peer.as_deref() == Some(peer)
    });
    let gaps: Vec<String> = story
        .into_iter()
        .flat_map(|story| &story.retransmissions)
        .filter_map(|sent| sent.gap_seconds)
        .take(GAPS_MAX)
        .map(duration)
        .collect();
    if gaps.is_empty() {
        String::new()
    } else {
        format!("; on one connection {} apart", gaps.join(", "))
    }
}
