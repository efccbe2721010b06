//! `network.reset`: the connections between a target and some addresses are reset.
//!
//! **How.** The kernel is asked for its list of established TCP connections (sock_diag) in the
//! target's network namespace, and told to end each that matches (`SOCK_DESTROY`, a kernel with
//! `CONFIG_INET_DIAG_DESTROY`, which the distributions' have). No traffic is needed for it: idle
//! connections end too. The target's program reads ECONNABORTED at its next call, or at once if
//! it waits in one; the peer gets a reset with the right sequence number and reads ECONNRESET.
//! A connection is named to the kernel with its cookie, so that no later one with the same
//! addresses can be hit.
//!
//! Turned down: a reset crafted for a raw socket (nobody outside the kernel knows the sequence
//! number that RFC 5961 asks for), and nftables' `reject with tcp reset` (it wants traffic, each
//! end is only reset by the packet that *it* sends, and what is idle stays).
//!
//! **Which.** Those to and from the peers' addresses; with ports, those of which the *peer's* port
//! is one of them. Loopback is allowed. In a namespace of its own all connections are the
//! target's. In one that it shares, only those whose sockets its processes hold: the rest of the
//! host is not touched.
//!
//! **When.** Once, and the fault is over; or, with [`Reset::every`], again and again until it is
//! reverted. There is nothing to undo: what was reset stays reset, and whoever wants a connection
//! makes a new one.

mod counters;
pub(in crate::network) mod diag;
mod round;

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use self::round::{Tally, round};
use super::partition::{is_shared, ports as listed, who};
use super::{MAX_PEERS, MAX_PORTS, Peer};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Refusal, Result, Reverted};

const NAME: &str = "network.reset";

/// How soon one round may follow another: one takes some milliseconds itself.
pub const EVERY_MIN: Duration = Duration::from_millis(50);
/// How late: past this it is an experiment of its own.
pub const EVERY_MAX: Duration = Duration::from_secs(3600);

/// A reset of the connections between a target and its peers.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Whose connections.
    pub target: Target,
    /// With whom.
    pub peers: Vec<Peer>,
    /// On which of the peers' TCP ports. None: on all of them.
    pub ports: Vec<u16>,
    /// Again and again, at this distance, while the fault is in place. None: once.
    pub every: Option<Duration>,
}

impl Fault for Reset {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.check_words()?;
        round::trial(&self.target)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let ports = listed(&self.ports).map(|ports| format!(", port {ports}")).unwrap_or_default();
        let again = self
            .every
            .map(|every| format!(", and again every {} ms", every.as_millis()))
            .unwrap_or_default();
        let whose = if is_shared(&self.target.netns) {
            format!("that the processes of {} hold", self.target.service)
        } else {
            format!(
                "in the network namespace of {} (inode {})",
                self.target.service,
                self.target.netns.inode()
            )
        };
        self.peers
            .iter()
            .map(|peer| PlannedChange {
                what: format!(
                    "reset the established TCP connections with {}{ports} {whose}{again}",
                    who(peer)
                ),
                undo: "nothing to undo: new connections can be made at once".into(),
            })
            .collect()
    }

    /// Nothing stays in place that would have to be on record.
    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let mut tally = Tally::of(self.peers.len());
        let began_ns = now_ns();
        round(self, &mut tally)?;
        let ended_ns = now_ns();
        let described = Described {
            name: NAME.into(),
            dose: self.dose(),
            mechanism: format!(
                "SOCK_DESTROY through sock_diag in the network namespace of {}",
                self.target.service
            ),
            undone_by: match self.every {
                None => "nobody: it is over as soon as it is done".into(),
                Some(_) => "nobody: it ends with this program".into(),
            },
            began_ns,
            ended_ns,
        };
        let state = Arc::new(Mutex::new(State { tally, failed: None }));
        let repeat = self
            .every
            .map(|every| Repeat::start(self.clone(), every, began_ns, Arc::clone(&state)))
            .transpose()?;
        Ok(Box::new(InPlace { reset: self.clone(), described, state, repeat }))
    }
}

impl Reset {
    /// What can be said without asking the machine.
    fn check_words(&self) -> Result<(), Refusal> {
        let service = || self.target.service.clone();
        if self.peers.is_empty() {
            return Err(Refusal::NobodyNamed { fault: NAME, service: service() });
        }
        for (what, given, max) in
            [("peers", self.peers.len(), MAX_PEERS), ("ports", self.ports.len(), MAX_PORTS)]
        {
            if given > max {
                return Err(Refusal::TooMany { what, given, max });
            }
        }
        if self.ports.contains(&0) {
            return Err(Refusal::PortZero);
        }
        for peer in self.peers.iter().map(|peer| peer.address) {
            if let std::net::IpAddr::V6(v6) = peer.address()
                && let Some(v4) = v6.to_ipv4_mapped()
            {
                return Err(Refusal::Mapped { peer, v4 });
            }
            if peer.len_bits() > 0 && peer.address().is_multicast() {
                return Err(Refusal::NotAPeer { peer, what: "multicast" });
            }
        }
        if let Some(every) = self.every.filter(|e| !(EVERY_MIN..=EVERY_MAX).contains(e)) {
            return Err(Refusal::BadDose {
                fault: NAME,
                what: "distance",
                given: format!("{} ms", every.as_millis()),
                why: format!(
                    "cannot be kept: give {} ms to {} s",
                    EVERY_MIN.as_millis(),
                    EVERY_MAX.as_secs()
                ),
            });
        }
        if is_shared(&self.target.netns) && self.target.processes_now().is_empty() {
            return Err(Refusal::SharedNamespace { service: service() });
        }
        Ok(())
    }

    fn dose(&self) -> BTreeMap<String, String> {
        let peers: Vec<String> = self.peers.iter().map(who).collect();
        let every = self.every.map_or_else(|| "once".into(), |e| format!("{} ms", e.as_millis()));
        BTreeMap::from([
            ("target".into(), self.target.service.clone()),
            ("peers".into(), peers.join(", ")),
            ("ports".into(), listed(&self.ports).unwrap_or_else(|| "all".into())),
            ("every".into(), every),
        ])
    }

    fn effect(&self, tally: &Tally) -> Effect {
        let found: u64 = tally.found.iter().sum();
        Effect {
            measure: "connections reset".into(),
            count: tally.gone.iter().sum(),
            source: format!(
                "the kernel's list of TCP connections (sock_diag) in the network namespace of {}: \
                 those that were there before and are not after",
                self.target.service
            ),
            parts: self
                .peers
                .iter()
                .zip(&tally.gone)
                .map(|(peer, &count)| EffectPart {
                    name: format!("with {}", who(peer)),
                    count,
                    bytes: 0,
                })
                .collect(),
            doses: vec![DoseSeen {
                what: "connections that TCP aborted".into(),
                unit: "connections".into(),
                asked: found as f64,
                observed: Some(tally.counted.aborted as f64),
                // Others in the namespace may end theirs in the same moment.
                within: (found as f64 * 0.05).max(1.0),
                samples: tally.rounds,
                source: format!(
                    "EstabResets in /proc/net/snmp of the namespace, read before and after each \
                     round (OutRsts rose by {})",
                    tally.counted.resets_sent
                ),
            }],
        }
    }
}

/// What the rounds have come to, shared with the thread that makes them.
struct State {
    tally: Tally,
    /// The last round's failure; the ones before it stay counted.
    failed: Option<Error>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that makes the rounds after the first. Dropping it ends it.
struct Repeat {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Repeat {
    fn start(
        reset: Reset,
        every: Duration,
        began_ns: u64,
        state: Arc<Mutex<State>>,
    ) -> Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let work = move || {
            let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
            let mut due_ns = began_ns;
            loop {
                // A round that came late is not made up for.
                due_ns = due_ns.saturating_add(every_ns).max(now_ns());
                let wait = Duration::from_nanos(due_ns.saturating_sub(now_ns()));
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let mut tally = locked(&state).tally.clone();
                let failed = round(&reset, &mut tally).err();
                *locked(&state) = State { tally, failed };
            }
        };
        let thread = std::thread::Builder::new()
            .name("tcp-reset".into())
            .spawn(work)
            .map_err(|e| Error::system("start a thread that resets connections", e))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct InPlace {
    reset: Reset,
    described: Described,
    state: Arc<Mutex<State>>,
    repeat: Option<Repeat>,
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let mut state = locked(&self.state);
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.reset.effect(&state.tally)),
        }
    }

    fn is_over(&self) -> bool {
        self.repeat.is_none()
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let began_ns = now_ns();
        drop(self.repeat.take());
        let ended_ns = now_ns();
        let state = locked(&self.state);
        Ok(Reverted {
            began_ns,
            ended_ns,
            effect: self.reset.effect(&state.tally),
            effect_unread: state.failed.as_ref().map(ToString::to_string),
            // The thread has been waited for, and nothing else was ever in place.
            verified: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use temblor_host::netns::Netns;

    use super::*;

    fn reset(peers: &[&str], ports: &[u16], every_ms: Option<u64>) -> Reset {
        // A namespace that is nobody's: only its inode is ever looked at here.
        let netns = Netns::open(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        Reset {
            target: Target::of_namespace("api", netns, Vec::new()),
            peers: peers
                .iter()
                .map(|a| Peer { name: "db".into(), address: a.parse().unwrap() })
                .collect(),
            ports: ports.into(),
            every: every_ms.map(Duration::from_millis),
        }
    }

    #[test]
    fn what_cannot_be_reset_is_refused_with_the_reason() {
        for (peers, ports, every_ms, says) in [
            (&[][..], &[][..], None, "the network.reset of api names no peer"),
            (&["10.0.0.2"], &[5432, 0], None, "port 0 is not a port"),
            (&["10.0.0.2"], &[1; MAX_PORTS + 1], None, "1025 ports are more than the 1024"),
            (&["::ffff:10.0.0.2"], &[], None, "on the wire it is 10.0.0.2"),
            (&["224.0.0.1"], &[], None, "multicast"),
            (
                &["10.0.0.2"],
                &[],
                Some(0),
                "network.reset: a distance of 0 ms cannot be kept: give 50 ms to 3600 s",
            ),
            (&["10.0.0.2"], &[], Some(3_600_001), "a distance of 3600001 ms cannot"),
        ] {
            let said = reset(peers, ports, every_ms).check_words().unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        for (peers, every_ms) in
            [(&["10.0.0.2", "127.0.0.1", "::/0"][..], None), (&["0.0.0.0/0"], Some(50))]
        {
            reset(peers, &[5432], every_ms).check_words().unwrap();
        }
    }

    #[test]
    fn a_shared_namespace_wants_a_process() {
        let mut here = reset(&["127.0.0.1"], &[], None);
        here.target.netns = Netns::of_this_thread().unwrap();
        let refused = here.check_words().unwrap_err();
        assert!(matches!(refused, Refusal::SharedNamespace { .. }), "{refused}");
        here.target.pids = vec![std::process::id()];
        here.check_words().unwrap();
        assert!(here.plan()[0].what.ends_with("that the processes of api hold"));
    }

    #[test]
    fn the_plan_says_what_and_whether_again() {
        let plan = reset(&["10.0.0.2"], &[5432], Some(100)).plan();
        assert_eq!(plan.len(), 1);
        let what = &plan[0].what;
        assert!(what.contains("with db (10.0.0.2), port 5432 in the network"), "{what}");
        assert!(what.ends_with(", and again every 100 ms"), "{what}");
    }

    #[test]
    fn the_effect_is_what_is_gone_and_the_dose_what_tcp_counted() {
        let fault = reset(&["10.0.0.2", "10.0.0.3"], &[], None);
        let mut tally = Tally::of(2);
        (tally.rounds, tally.found, tally.gone) = (1, vec![40, 2], vec![40, 1]);
        tally.counted.aborted = 41;
        let effect = fault.effect(&tally);
        assert_eq!(effect.count, 41);
        assert_eq!(effect.parts[1].name, "with db (10.0.0.3)");
        assert_eq!(effect.doses[0].asked, 42.0);
        assert_eq!(effect.doses[0].holds(), Some(true));
    }
}
