//! What the connections that a fault is about went through, from injection on.

use std::collections::{BTreeMap, HashMap};

use temblor_event::{Connection, TcpState, TcpStateChange};

use crate::human::duration;
use crate::log::{At, Log, seconds, seconds_between};
use crate::result::{ConnectionStory, Retransmission};
use crate::sides::{Sides, addresses};
use crate::tcp_names::{ended, kind_name, reset};

const RETRANSMISSIONS_MAX: usize = 40;

/// Sockets are told apart by their cookie; segments without a socket by their addresses.
type Key = (u64, Option<Connection>);

#[derive(Debug)]
struct Story<'a> {
    /// As last seen: the port is known only once the kernel has chosen it.
    connection: &'a Connection,
    first_sent_again_ns: Option<u64>,
    last_sent_again_ns: Option<u64>,
    retransmissions: Vec<Retransmission>,
    segments: u64,
    last_state: Option<At<'a, TcpStateChange>>,
    resets_sent: u64,
    resets_received: u64,
}

/// The connections on which the fault was seen: by segments sent again, then by time.
pub(crate) fn stories(log: &Log<'_>, sides: &Sides) -> Vec<ConnectionStory> {
    if log.injected.is_empty() {
        return Vec::new();
    }
    let mut stories: BTreeMap<u64, Story<'_>> = BTreeMap::new();
    let mut numbers: HashMap<Key, u64> = HashMap::new();
    let told =
        |t_ns: u64, connection: &Connection| t_ns >= log.signs_from_ns && sides.concern(connection);
    for segment in log.retransmits.iter().filter(|s| told(s.t_ns, &s.conn)) {
        let story = story(&mut stories, &mut numbers, &segment.get().conn);
        story.segments = story.segments.saturating_add(u64::from(segment.segments));
        if story.retransmissions.len() < RETRANSMISSIONS_MAX {
            let gap = story.last_sent_again_ns.map(|last| seconds_between(last, segment.t_ns));
            story.retransmissions.push(Retransmission {
                t_seconds: log.t_seconds(segment.t_ns),
                kind: kind_name(segment.kind).to_owned(),
                rto_seconds: seconds(segment.rto_ns),
                backoff: segment.backoff,
                gap_seconds: gap,
            });
        }
        story.first_sent_again_ns.get_or_insert(segment.t_ns);
        story.last_sent_again_ns = Some(segment.t_ns);
    }
    for reset in log.resets.iter().filter(|r| told(r.t_ns, &r.conn)) {
        let story = story(&mut stories, &mut numbers, &reset.get().conn);
        *(if reset.sent { &mut story.resets_sent } else { &mut story.resets_received }) += 1;
    }
    for state in log.states.iter().filter(|s| told(s.t_ns, &s.conn)) {
        story(&mut stories, &mut numbers, &state.get().conn).last_state = Some(*state);
    }
    let mut seen: Vec<Story<'_>> = stories.into_values().filter(Story::shows_the_fault).collect();
    seen.sort_by_key(|story| {
        let since_ns = story.first_sent_again_ns.or(story.last_state.map(|state| state.t_ns));
        (std::cmp::Reverse(story.segments), since_ns, story.connection.cookie)
    });
    seen.into_iter().map(Story::told).collect()
}

fn story<'s, 'a>(
    stories: &'s mut BTreeMap<u64, Story<'a>>,
    numbers: &mut HashMap<Key, u64>,
    connection: &'a Connection,
) -> &'s mut Story<'a> {
    let key = (connection.cookie, (connection.cookie == 0).then(|| connection.clone()));
    let next = numbers.len() as u64;
    let number = *numbers.entry(key).or_insert(next);
    let story = stories.entry(number).or_insert_with(|| Story {
        connection,
        first_sent_again_ns: None,
        last_sent_again_ns: None,
        retransmissions: Vec::new(),
        segments: 0,
        last_state: None,
        resets_sent: 0,
        resets_received: 0,
    });
    if story.connection.local.port() == 0 {
        story.connection = connection;
    }
    story
}

impl Story<'_> {
    fn shows_the_fault(&self) -> bool {
        let ended_badly = self.last_state.is_some_and(|state| {
            state.to == TcpState::Close && (state.errno != 0 || state.from == TcpState::SynSent)
        });
        self.segments > 0 || self.resets_sent > 0 || self.resets_received > 0 || ended_badly
    }

    fn told(self) -> ConnectionStory {
        ConnectionStory {
            cookie: self.connection.cookie,
            service: self.connection.service.clone(),
            peer: self.connection.peer.clone(),
            addresses: addresses(self.connection),
            end: self.end(),
            retransmissions: self.retransmissions,
            segments: self.segments,
        }
    }

    fn end(&self) -> String {
        let reset = if self.resets_received > 0 {
            Some(reset(false))
        } else {
            (self.resets_sent > 0).then_some(reset(true))
        };
        let Some(state) = self.last_state else {
            return reset.unwrap_or("as it was: its state did not change").to_owned();
        };
        match (state.from, state.to) {
            (TcpState::SynSent, TcpState::Close) => {
                format!("connect {}", ended(state.errno, state.connect_ns))
            }
            (_, TcpState::Close) if state.errno != 0 => {
                let sent_again = self.first_sent_again_ns.filter(|first| *first <= state.t_ns);
                let after = sent_again.map(|first| {
                    let waited = duration(seconds_between(first, state.t_ns));
                    format!(", {waited} after its first retransmission")
                });
                format!("{}{}", ended(state.errno, None), after.unwrap_or_default())
            }
            (_, TcpState::Close | TcpState::TimeWait) => match reset {
                Some(reset) => format!("closed, {reset}"),
                None => "closed".to_owned(),
            },
            (_, TcpState::Established) => "established at the end".to_owned(),
            (_, TcpState::SynSent) => "still connecting at the end".to_owned(),
            _ => "closing at the end".to_owned(),
        }
    }
}
