//! The timeline's lines on connections: how the kernel tried, and how it gave up.

use std::collections::BTreeMap;

use temblor_event::{TcpState, TcpStateChange};

use crate::human::count;
use crate::log::{At, Log};
use crate::result::{ConnectionStory, Retransmission, TimelineEntry, TimelineKind};
use crate::sides::{Sides, addresses, services};
use crate::tcp_names::{ended, timer};
use crate::timeline::entry;

/// Connections whose retransmissions are told one by one.
const CONNECTIONS_MAX: usize = 5;
/// Lines on one connection's retransmissions.
const LINES_MAX: usize = 6;
/// Lines on connections that ended badly, for each pair of services and each way to end.
const ENDS_MAX: usize = 3;
/// Pairs and ways told at all.
const GROUPS_MAX: usize = 10;
/// Lines of this module, each group's last being a count.
pub(crate) const ENTRIES_MAX: usize = CONNECTIONS_MAX * LINES_MAX + 1 + GROUPS_MAX * (ENDS_MAX + 1);

/// Of each of the most telling connections its first retransmission, then each doubling of the
/// timer; of all others one line together.
pub(crate) fn retransmissions(log: &Log<'_>, stories: &[ConnectionStory]) -> Vec<TimelineEntry> {
    let source = log.hook("retrans");
    let line = |t_seconds: f64, what: String| TimelineEntry {
        t_seconds,
        what,
        source: source.clone(),
        kind: TimelineKind::Kernel,
    };
    let told: Vec<&ConnectionStory> =
        stories.iter().filter(|story| !story.retransmissions.is_empty()).collect();
    let mut entries = Vec::new();
    for story in told.iter().take(CONNECTIONS_MAX) {
        let mut backoff = None;
        let doublings = story.retransmissions.iter().enumerate().filter(|(_, sent)| {
            let doubled = backoff.is_none_or(|before| sent.backoff > before);
            if doubled {
                backoff = Some(sent.backoff);
            }
            doubled
        });
        for (i, sent) in doublings.take(LINES_MAX) {
            entries.push(line(sent.t_seconds, retransmission(story, i + 1, sent)));
        }
    }
    let rest = told.get(CONNECTIONS_MAX..).unwrap_or_default();
    let first = rest.iter().map(|story| story.retransmissions[0].t_seconds).reduce(f64::min);
    if let Some(t_seconds) = first {
        let segments = rest.iter().fold(0_u64, |sum, story| sum.saturating_add(story.segments));
        let (connections, segments) = (count(rest.len() as u64), count(segments));
        let what = format!("{connections} further connections sent {segments} segments again");
        entries.push(line(t_seconds, what));
    }
    entries
}

fn retransmission(story: &ConnectionStory, number: usize, sent: &Retransmission) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
    let timer = timer(sent.rto_seconds, sent.backoff);
    format!(
        "{} → {} ({}): retransmission {number} ({}{timer})",
        name(&story.service),
        name(&story.peer),
        story.addresses,
        sent.kind
    )
}

/// Connections and attempts that ended with an error, from injection on.
pub(crate) fn ends(log: &Log<'_>, sides: &Sides) -> Vec<TimelineEntry> {
    if log.injected.is_empty() {
        return Vec::new();
    }
    let mut groups: BTreeMap<(String, bool, i32), Vec<At<'_, TcpStateChange>>> = BTreeMap::new();
    for state in &log.states {
        let attempt = state.from == TcpState::SynSent;
        let bad = state.to == TcpState::Close && (attempt || state.errno != 0);
        if bad && state.t_ns >= log.signs_from_ns && sides.concern(&state.conn) {
            groups.entry((services(&state.conn), attempt, state.errno)).or_default().push(*state);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, states)| states[0].t_ns);
    let mut entries = Vec::new();
    for ((between, attempt, errno), states) in groups.into_iter().take(GROUPS_MAX) {
        let kernel = |t_ns, what| entry(log, t_ns, TimelineKind::Kernel, log.hook("state"), what);
        for state in states.iter().take(ENDS_MAX) {
            let what = if attempt {
                format!("{between}: connect {}", ended(errno, state.connect_ns))
            } else {
                format!("{between} ({}): {}", addresses(&state.conn), ended(errno, None))
            };
            entries.push(kernel(state.t_ns, what));
        }
        if let Some(rest) = states.get(ENDS_MAX..).filter(|rest| !rest.is_empty()) {
            let things = if attempt { "attempts to connect" } else { "connections" };
            let (more, how) = (count(rest.len() as u64), ended(errno, None));
            let what = format!("{between}: {more} further {things} {how} from here on");
            entries.push(kernel(rest[0].t_ns, what));
        }
    }
    entries
}
