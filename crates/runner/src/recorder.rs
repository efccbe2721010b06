//! Where every producer's events go: into the run directory, and past a small live view that the
//! progress display, the abort conditions and `until: steady` look at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use temblor_event::{Body, Event, LoadSecond};
use temblor_judge::SteadyWatch;
use temblor_runs::Sink;

use crate::stop::Stop;

/// A handle for producers; as many as there are.
#[derive(Clone)]
pub(crate) struct Recorder {
    sink: Sink,
    live: Arc<Mutex<Live>>,
    stop: Stop,
}

/// What the run itself needs to know while it goes on.
pub(crate) struct Live {
    /// The last reading of each gauge.
    pub(crate) gauges: BTreeMap<String, GaugeSeen>,
    /// The last answer of each check and what was seen.
    pub(crate) checks: BTreeMap<String, (bool, String)>,
    /// TCP segments sent again so far.
    pub(crate) retransmitted: u64,
    /// Complete seconds of load that nobody has taken yet.
    pub(crate) seconds: Vec<(u64, LoadSecond)>,
    /// Tells when the system is steady; there from the run's first event on.
    pub(crate) steady: Option<SteadyWatch>,
}

/// A gauge's last reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GaugeSeen {
    pub(crate) value: f64,
    /// When the reading before it came; 0 where there was none. A gauge is asked for again only
    /// after that, so what this reading says was so at this time or later. When its own answer
    /// came says less: it may have been on its way for long.
    pub(crate) asked_after_ns: u64,
    t_ns: u64,
}

/// Seconds of load that wait to be taken; the run takes them several times a second.
const SECONDS_MAX: usize = 4096;

impl Recorder {
    pub(crate) fn new(sink: Sink, stop: Stop) -> Self {
        let live = Live {
            gauges: BTreeMap::new(),
            checks: BTreeMap::new(),
            retransmitted: 0,
            seconds: Vec::new(),
            steady: None,
        };
        Self { sink, live: Arc::new(Mutex::new(live)), stop }
    }

    /// Records an event. A log that cannot be written ends the run: what is not on record has not
    /// been observed.
    pub(crate) fn record(&self, event: Event) {
        if let Err(error) = self.sink.append(&event) {
            self.stop.request(format!("the run can no longer be recorded: {error}"));
        }
        let mut live = self.live();
        if let Some(steady) = &mut live.steady {
            steady.push(&event);
        }
        match event.body {
            Body::RunStarted(started) => live.steady = Some(SteadyWatch::new(&started)),
            Body::Gauge(gauge) => {
                let before = live.gauges.get(&gauge.gauge).map_or(0, |before| before.t_ns);
                let seen =
                    GaugeSeen { value: gauge.value, asked_after_ns: before, t_ns: event.t_ns };
                live.gauges.insert(gauge.gauge, seen);
            }
            Body::Check(check) => {
                live.checks.insert(check.check, (check.ok, check.seen));
            }
            Body::TcpRetransmit(retransmit) => {
                live.retransmitted += u64::from(retransmit.segments);
            }
            Body::LoadSecond(second) if live.seconds.len() < SECONDS_MAX => {
                live.seconds.push((event.t_ns, second));
            }
            _ => {}
        }
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use temblor_event::Gauge;
    use temblor_runs::Writer;

    use super::*;

    #[test]
    fn a_reading_is_as_new_as_the_one_before_it_and_not_as_its_answer() {
        let parent = tempfile::tempdir().unwrap();
        let writer = Writer::create(parent.path(), "gauges", "").unwrap();
        let recorder = Recorder::new(writer.sink(), Stop::default());
        let read = |t_ns, value| {
            recorder.record(Event::at(t_ns, Gauge { gauge: "backlog".into(), value }));
            let seen = recorder.live().gauges["backlog"];
            (seen.asked_after_ns, seen.value)
        };
        // An answer at 10 to a question that may have been asked before a load that ended at 5.
        assert_eq!(read(10, 0.0), (0, 0.0));
        assert_eq!(read(20, 3.0), (10, 3.0));
        assert_eq!(read(30, 0.0), (20, 0.0));
    }
}
