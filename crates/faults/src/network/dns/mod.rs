//! `network.dns`: a target's names are not found, or late.
//!
//! **How.** An nftables table in the target's network namespace, owned by this process, hands DNS
//! messages (port 53) to a queue of the kernel's that this process reads; when this process dies,
//! however it dies, the kernel takes both away, and names are found again. Where the resolver is
//! does not matter: in another namespace, or on the loopback of this one (127.0.0.53, Docker's
//! 127.0.0.11), which this fault does not spare.
//!
//! **Answers that fail** ([`Answer::NoSuchName`] and its kin) are real answers rewritten when they
//! come in: the response code is set, what they said is taken out, checksums are made anew.
//! Nothing is added, so no answer grows. So a resolver that does not answer has no effect here. A
//! query over TCP is reset instead, since bytes cannot be taken out of a stream.
//!
//! **Queries that vanish or wait** do so on their way out, over UDP and TCP alike; who sent them is
//! not told. TCP takes the silence for loss and sends again, which meets the same fate.
//!
//! **Names** are matched by the question, from the end: `example.com` is also meant for
//! `db.example.com`. Over TCP a question counts if it is in one segment, as resolvers send it.
//! What is encrypted (DNS over TLS or HTTPS) is not seen, and neither is a name that the target
//! has in its own cache.
//!
//! **Effect.** A packet that was chosen is marked, and a rule behind the queue counts it and says
//! its end: so the counts are the kernel's. What the target's world is like is measured by queries
//! of our own from its namespace, which the counts leave out.

mod message;
mod name;
mod packet;
mod probe;
mod rules;
mod worker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use self::name::Name;
use self::probe::{Asking, Outcome, Probe, median};
use self::worker::Worker;
use super::partition::is_shared;
use super::{DELAY_MAX, MAX_PEERS};
use crate::nft::{OwnedTable, listing, next_name};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Refusal, Result, Reverted};

const NAME: &str = "network.dns";
const UNDONE_BY: &str = "the kernel, when the table's owner closes its socket";
/// What we ask for where every name is meant: one that is nobody's.
const ANY_NAME: &str = "temblor.invalid";

/// What becomes of a target's queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The resolver says that it failed (SERVFAIL).
    ServerFailed,
    /// The resolver refuses to say (REFUSED).
    Refused,
    /// None: queries vanish.
    Drop,
    /// The right one, later by this.
    Late(Duration),
}

impl Answer {
    /// The word for it in an experiment file; none for a delay, which is a figure there.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::NoSuchName => Some("nxdomain"),
            Self::ServerFailed => Some("servfail"),
            Self::Refused => Some("refuse"),
            Self::Drop => Some("drop"),
            Self::Late(_) => None,
        }
    }

    /// The response code that answers are given.
    fn code(self) -> Option<u16> {
        match self {
            Self::NoSuchName => Some(message::NO_SUCH_NAME),
            Self::ServerFailed => Some(message::SERVER_FAILED),
            Self::Refused => Some(message::REFUSED),
            Self::Drop | Self::Late(_) => None,
        }
    }

    fn delay(self) -> Duration {
        match self {
            Self::Late(delay) => delay,
            _ => Duration::ZERO,
        }
    }
}

/// A target that does not find names, or finds them late.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Whose names; the change is made in its network namespace.
    pub target: Target,
    /// Which, with all that lie in them. None: all.
    pub names: Vec<String>,
    /// What it gets instead.
    pub answer: Answer,
    /// Whom our own queries ask, to measure the fault. None: the first resolver of the target's
    /// `resolv.conf`; where there is none, nothing is measured.
    pub resolver: Option<IpAddr>,
}

impl Fault for Dns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        Ok(self.check_words().map(|_| ())?)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let table = PlannedChange {
            what: format!(
                "add an nftables table inet temblor_{}_N with an owner, in the network namespace \
                 of {} (inode {}), and take packet queues of the kernel's there",
                std::process::id(),
                self.target.service,
                self.target.netns.inode()
            ),
            undo: format!("{UNDONE_BY}: at the end of the fault, or when this program dies"),
        };
        let parts = rules::parts(self.answer).iter().map(|part| PlannedChange {
            what: format!("{part}, for {}", self.names_in_words()),
            undo: "ends with the table".into(),
        });
        std::iter::once(table).chain(parts).collect()
    }

    /// Table and queue die with this process: there is nothing to put on record.
    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        let names = self.check_words()?;
        let mut probe = self.probe(&names);
        let before_ns = probe.as_mut().and_then(Probe::before);
        let began_ns = now_ns();
        // The queues come first: nothing is ever handed to nobody.
        let worker = Worker::start(&self.target.netns, self.answer, names)?;
        let table = self.make_table(worker.queues())?;
        let ended_ns = now_ns();
        let asked = probe.as_ref().map(|probe| probe.resolver);
        let asking = match probe {
            // One that did not answer before would tell nothing.
            Some(probe) if before_ns.is_some() => {
                let failed = |e| Error::system("ask for names to measure the fault", e);
                worker.set_own_port(probe.port().map_err(failed)?);
                Some(Asking::start(probe, self.answer.delay()).map_err(failed)?)
            }
            _ => None,
        };
        let described = Described {
            name: NAME.into(),
            dose: self.dose(),
            mechanism: format!(
                "nftables table inet {} with an owner, in the network namespace of {}, and a queue \
                 of DNS messages that this program reads",
                table.name(),
                self.target.service
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        let effect = Effect {
            measure: match self.answer {
                Answer::Drop => "queries dropped",
                Answer::Late(_) => "queries delayed",
                _ => "answers rewritten and queries reset",
            }
            .into(),
            count: 0,
            source: format!(
                "nftables rule counters in the network namespace of {}",
                self.target.service
            ),
            parts: rules::parts(self.answer)
                .iter()
                .map(|part| EffectPart { name: (*part).into(), count: 0, bytes: 0 })
                .collect(),
            doses: Vec::new(),
        };
        let (answer, resolver) = (self.answer, asked);
        Ok(Box::new(InPlace {
            asking,
            lease: Lease { table, worker },
            whole: answer,
            answer,
            resolver,
            before_ns,
            described,
            effect,
        }))
    }
}

impl Dns {
    /// What can be said without asking the machine; the names as they are matched.
    fn check_words(&self) -> Result<Vec<Name>, Refusal> {
        if self.names.len() > MAX_PEERS {
            let given = self.names.len();
            return Err(Refusal::TooMany { what: "names", given, max: MAX_PEERS });
        }
        if let Answer::Late(delay) = self.answer
            && (delay.is_zero() || delay > DELAY_MAX)
        {
            return Err(Refusal::BadDose {
                fault: NAME,
                what: "delay",
                given: format!("{} ms", delay.as_nanos() as f64 / 1e6),
                why: format!(
                    "cannot be meant: give more than 0 ms, and at most {} s",
                    DELAY_MAX.as_secs()
                ),
            });
        }
        if is_shared(&self.target.netns) {
            return Err(Refusal::SharedNamespace { service: self.target.service.clone() });
        }
        self.names.iter().map(|name| Name::written(name)).collect()
    }

    fn names_in_words(&self) -> String {
        if self.names.is_empty() { "all names".into() } else { self.names.join(", ") }
    }

    fn dose(&self) -> BTreeMap<String, String> {
        let (what, how) = match (self.answer.word(), self.answer) {
            (Some(word), _) => ("answer", word.to_owned()),
            (None, answer) => ("delay", format!("{} ms", answer.delay().as_nanos() as f64 / 1e6)),
        };
        BTreeMap::from([
            ("target".into(), self.target.service.clone()),
            ("names".into(), self.names_in_words()),
            (what.into(), how),
        ])
    }

    /// None: there is nobody to ask, or he cannot be reached; then nothing is measured.
    fn probe(&self, names: &[Name]) -> Option<Probe> {
        let resolver = self.resolver.or_else(|| probe::resolver(&self.target))?;
        let name = names.first().cloned().or_else(|| Name::written(ANY_NAME).ok())?;
        Probe::new(&self.target, resolver, name).ok()
    }

    fn make_table(&self, queues: &[u16]) -> Result<OwnedTable> {
        let (netns, service) = (&self.target.netns, &self.target.service);
        let name = next_name();
        let commands = rules::table(self.answer, service, &name, Some(queues));
        match OwnedTable::create(netns, name, commands) {
            // The kernel knows no such statement: it says so by not finding it.
            Err(Error::Nftables { said, .. })
                if said.contains("No such file") || said.contains("not supported") => {}
            other => return other,
        }
        let name = next_name();
        let commands = rules::table(self.answer, service, &name, None);
        let rules: Vec<(&str, u16)> = rules::ways(self.answer)
            .iter()
            .map(|way| way.chain())
            .zip(queues.iter().copied())
            .collect();
        let table = name.clone();
        OwnedTable::create_then(netns, name, commands, move |owner| {
            rules.iter().try_for_each(|(chain, queue)| {
                super::queue::compat::add_rule(owner, &table, chain, *queue)
            })
        })
    }
}

/// The table and the queues it hands to. The table goes first, so that as long as packets are
/// handed over somebody takes them; and before it goes, nothing is held any more.
struct Lease {
    table: OwnedTable,
    worker: Worker,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.worker.ease();
    }
}

/// A fault that is in place.
struct InPlace {
    asking: Option<Asking>,
    lease: Lease,
    /// What was asked, and the part of it that is in place.
    whole: Answer,
    answer: Answer,
    resolver: Option<IpAddr>,
    before_ns: Option<u64>,
    described: Described,
    /// The last reading.
    effect: Effect,
}

impl InPlace {
    fn dose(&self) -> Option<DoseSeen> {
        let resolver = self.resolver?;
        let outcomes = self.asking.as_ref().map(Asking::outcomes).unwrap_or_default();
        let source = match self.before_ns {
            Some(_) => format!("our own queries to {resolver}, before and during the fault"),
            None => format!("none: {resolver} did not answer our own queries before the fault"),
        };
        Some(dose(self.answer, self.before_ns, &outcomes, source))
    }
}

fn dose(answer: Answer, before_ns: Option<u64>, outcomes: &[Outcome], source: String) -> DoseSeen {
    let samples = outcomes.len() as u64;
    if let Answer::Late(delay) = answer {
        let took = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Answered { ns, .. } => Some(*ns),
            Outcome::Silent => None,
        });
        let asked = delay.as_nanos() as f64 / 1e6;
        let added = median(took.collect())
            .zip(before_ns)
            .map(|(during, before)| (during as f64 - before as f64) / 1e6);
        return DoseSeen {
            what: "added time of an answer".into(),
            unit: "ms".into(),
            asked,
            observed: added,
            within: (asked * 0.05).max(1.0),
            samples,
            source,
        };
    }
    let hit = outcomes.iter().filter(|outcome| match outcome {
        Outcome::Answered { code, .. } => answer.code() == Some(*code),
        Outcome::Silent => answer == Answer::Drop,
    });
    DoseSeen {
        what: "queries answered as asked".into(),
        unit: "%".into(),
        asked: 100.0,
        observed: (samples > 0).then(|| hit.count() as f64 / samples as f64 * 100.0),
        within: 1.0,
        samples,
        source,
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        self.lease.worker.check()?;
        // Only those: nft has no words for the rules of the chains that queue.
        let chains = rules::counting_chains(self.answer);
        let chains: Vec<&str> = chains.iter().map(String::as_str).collect();
        let listing = self.lease.table.list_chains(&chains)?;
        let counters = listing::counters(&listing, self.effect.parts.len()).ok_or_else(|| {
            Error::Nftables {
                doing: format!(
                    "read the counters of the nftables table {}",
                    self.lease.table.name()
                ),
                said: "its listing lacks rules that were put there".into(),
            }
        })?;
        for (part, counter) in self.effect.parts.iter_mut().zip(&counters) {
            part.count = counter.packets;
            part.bytes = counter.bytes;
        }
        self.effect.count = counters.iter().map(|counter| counter.packets).sum();
        self.effect.doses = self.dose().into_iter().collect();
        Ok(self.effect.clone())
    }

    /// A delay has levels; an answer is one or is not.
    fn set_level(&mut self, level: f64) -> Result<()> {
        let Answer::Late(delay) = self.whole else {
            return Err(Refusal::NoLevels { fault: NAME.into() }.into());
        };
        self.lease.worker.check()?;
        let delay = delay.mul_f64(if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0) });
        self.lease.worker.set_delay(delay);
        self.answer = Answer::Late(delay);
        if let Some(asking) = &self.asking {
            asking.begin_again();
        }
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let Self { lease, asking, effect, .. } = *self;
        let (name, netns) = (lease.table.name().to_owned(), lease.table.netns().clone());
        let queues = lease.worker.queues().to_vec();
        let began_ns = now_ns();
        drop(lease);
        let ended_ns = now_ns();
        drop(asking);
        let verified = !listing::our_tables(&netns)?.contains(&name)
            && !super::queue::socket::listed(&netns)?
                .iter()
                .any(|queue| queues.contains(&queue.number));
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}

#[cfg(test)]
mod tests {
    use temblor_host::netns::Netns;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn dns(names: &[&str], answer: Answer) -> Dns {
        // A namespace that is nobody's: only its inode is ever looked at here.
        let netns = Netns::open(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        Dns {
            target: Target::of_namespace("api", netns, Vec::new()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            answer,
            resolver: None,
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (names, answer, says) in [
            (&["a..b"][..], Answer::Drop, "`a..b` has an empty label"),
            (&["x"; MAX_PEERS + 1], Answer::Drop, "1025 names are more than the 1024"),
            (&[], Answer::Late(MS(0)), "network.dns: a delay of 0 ms cannot be meant"),
            (&[], Answer::Late(MS(60_001)), "at most 60 s"),
        ] {
            let said = dns(names, answer).check_words().unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        dns(&["example.com", "db"], Answer::Late(MS(60_000))).check_words().unwrap();
        let mut here = dns(&[], Answer::Drop);
        here.target.netns = Netns::of_this_thread().unwrap();
        let refused = here.check_words().unwrap_err();
        assert!(matches!(refused, Refusal::SharedNamespace { .. }), "{refused}");
    }

    #[test]
    fn the_dose_is_what_our_own_queries_met() {
        let answered = |code, ms: u64| Outcome::Answered { code, ns: ms * 1_000_000 };
        let outcomes = [answered(0, 101), answered(3, 103), answered(0, 102), Outcome::Silent];
        for (answer, observed) in [
            (Answer::Late(MS(100)), 101.0),
            (Answer::NoSuchName, 25.0),
            (Answer::ServerFailed, 0.0),
            (Answer::Drop, 25.0),
        ] {
            let seen = dose(answer, Some(1_000_000), &outcomes, String::new());
            assert_eq!(seen.observed, Some(observed), "{answer:?}");
        }
        assert_eq!(dose(Answer::Drop, None, &[], String::new()).observed, None);
        assert_eq!(dose(Answer::Late(MS(1)), None, &outcomes, String::new()).observed, None);
    }

    #[test]
    fn the_plan_says_which_names() {
        let plan = dns(&["example.com"], Answer::Refused).plan();
        assert_eq!(plan.len(), 3);
        assert_eq!(plan[2].what, "answers rewritten, for example.com");
        assert_eq!(dns(&[], Answer::Late(MS(20))).dose()["delay"], "20 ms");
    }
}
