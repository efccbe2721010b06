//! `resource.connections`: a server's connections are taken, and others find none.
//!
//! Connections are opened from a namespace that reaches the server, each says what makes the
//! server count it ([`Speak`]), and all are held. One that the server closes is opened again, and
//! while the server refuses, another attempt is made ten times a second: a place that becomes
//! free is taken before most others find it. They are sockets of this process: when it dies,
//! however it dies, the kernel resets them all, and the server has its places back.
//!
//! **Bounds.** At most 2,000 are opened in a second and 64 are under way at once, so that a
//! server that forks for each is exhausted, not stormed. This process's soft limit of open files
//! is raised towards its hard limit where the number wants it, and stays there: that changes
//! nothing for anybody else.
//!
//! **Seen by others.** What is held is read from the list that the kernel keeps in the server's
//! namespace, matched by the addresses that ours come from: behind address translation there is
//! no match, and the effect reads 0. A fresh connection of its own, once a second, tells
//! whether anybody else would get one. A server that has stopped accepting still shakes hands by
//! its kernel until its queue is full; how many wait in there is a part of the effect.
//!
//! Turned down: a client library for each protocol. What makes a connection count is its first
//! message, and a client that retries, pools and pings by itself is in the way.

mod check;
mod fresh;
mod holder;
mod speak;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

pub use speak::Speak;

use super::listed;
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Refusal, Result, Reverted};
use fresh::Fresh;
use holder::Holder;

const NAME: &str = "resource.connections";
const UNDONE_BY: &str = "the kernel, which resets this process's connections when it ends";

/// How many connections one fault holds: there are no more ports to connect from.
pub const MAX_CONNECTIONS: u32 = 65_000;

/// How long putting it in place may take; what is not held then is opened while it is in place.
const FILL: Duration = Duration::from_secs(30);
/// How long the server's kernel may take to see our resets.
const GONE: Duration = Duration::from_secs(1);

/// Connections of a server, taken.
#[derive(Debug, Clone)]
pub struct Connections {
    /// The server.
    pub target: Target,
    /// The TCP port on which it listens.
    pub port: u16,
    /// How many are held. None: until the server refuses.
    pub hold: Option<u32>,
    /// What is said on each.
    pub speak: Speak,
    /// From whose network namespace. None: from this process's own.
    pub from: Option<Target>,
}

impl Fault for Connections {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        check::check(self).map(|_| ())
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let what = format!(
            "open {} to port {} of {} from {}, say what {} says, and hold them",
            self.hold.map_or("connections until it refuses".into(), |n| format!("{n} connections")),
            self.port,
            self.target.service,
            self.origin_word(),
            self.speak.word(),
        );
        vec![PlannedChange { what, undo: UNDONE_BY.into() }]
    }

    /// The connections die with this process: there is nothing to put on record.
    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        let to = check::check(self)?;
        let left = check::descriptors_left()?;
        let want = self.hold.unwrap_or(MAX_CONNECTIONS).min(left);
        raise_own_limit()?;
        let from = netns(self)?;
        let doing = |what: &str| format!("{what} to {} of {}", to, self.target.service);
        let began_ns = now_ns();
        let holder = Holder::start(from.clone(), to, self.speak.clone(), want)
            .map_err(|error| Error::system(doing("open connections"), error))?;
        let seen = holder.wait_full(FILL);
        if seen.held == 0 {
            let said = seen.said.or(seen.own_limit);
            let said = said.unwrap_or_else(|| "it did not answer in time".into());
            return Err(Error::system(
                doing("have a connection taken"),
                std::io::Error::other(said),
            ));
        }
        let fresh = Fresh::start(from, to, self.speak.clone())
            .map_err(|error| Error::system(doing("open a fresh connection"), error))?;
        let ended_ns = now_ns();
        let described = Described {
            name: NAME.into(),
            dose: self.dose(to),
            mechanism: format!(
                "{} connections to {to} from {}, opened again when closed",
                seen.held,
                self.origin_word()
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(InPlace {
            server: self.target.clone(),
            to,
            asked: self.hold,
            want,
            level: 1.0,
            holder,
            fresh,
            described,
            held_most: 0,
        }))
    }
}

impl Connections {
    fn origin_word(&self) -> String {
        match &self.from {
            Some(from) => format!("the network namespace of {}", from.service),
            None => "this process's network namespace".into(),
        }
    }

    fn dose(&self, to: SocketAddr) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("server".into(), self.target.service.clone()),
            ("address".into(), to.to_string()),
            ("hold".into(), self.hold.map_or("all that it gives".into(), |n| n.to_string())),
            ("speak".into(), self.speak.word().into()),
            ("from".into(), self.origin_word()),
        ])
    }
}

/// The namespace that connections are opened from.
fn netns(fault: &Connections) -> Result<Netns> {
    check::netns_of(fault)
        .map_err(|error| Error::system("open this process's network namespace", error))
}

/// Raises the soft limit of open files to the hard one, as many programs do at their start.
fn raise_own_limit() -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current == now.maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })
        .map_err(|error| Error::system("raise this process's limit of open files", error))
}

struct InPlace {
    server: Target,
    to: SocketAddr,
    asked: Option<u32>,
    /// How many are opened at the whole dose.
    want: u32,
    level: f64,
    holder: Holder,
    fresh: Fresh,
    described: Described,
    /// The most that the server's kernel has listed.
    held_most: u64,
}

/// What the server's kernel lists.
struct Listed {
    ours: u64,
    all: u64,
    waiting: u64,
}

impl InPlace {
    fn listed(&self, sockets: &HashSet<SocketAddr>) -> Result<Listed> {
        list(&self.server, self.to.port(), sockets)
    }

    fn asked_now(&self) -> Option<f64> {
        self.asked.map(|asked| (f64::from(asked) * self.level).round())
    }

    fn doses(&self, ours: u64, fresh: &fresh::Asked) -> Vec<DoseSeen> {
        let source = self.source();
        #[expect(clippy::cast_precision_loss, reason = "counts of connections are small")]
        let (ours, taken, refused) = (ours as f64, fresh.taken as f64, fresh.refused as f64);
        let Some(asked) = self.asked_now() else {
            // A lower level leaves places on purpose.
            if self.level < 1.0 {
                return Vec::new();
            }
            let asked = taken + refused;
            return vec![DoseSeen {
                what: "fresh connections refused".into(),
                unit: "%".into(),
                asked: 100.0,
                observed: (asked > 0.0).then(|| 100.0 * refused / asked),
                within: 10.0,
                samples: fresh.taken + fresh.refused,
                source,
            }];
        };
        vec![DoseSeen {
            what: "connections held".into(),
            unit: "connections".into(),
            asked,
            observed: Some(ours),
            within: (asked * 0.05).max(1.0),
            samples: 1,
            source,
        }]
    }

    fn source(&self) -> String {
        format!(
            "the kernel's list of TCP connections in the network namespace of {}, and a fresh \
             connection once a second",
            self.server.service
        )
    }
}

fn list(server: &Target, port: u16, sockets: &HashSet<SocketAddr>) -> Result<Listed> {
    let rows = listed::at_port(&server.netns, port).map_err(|error| {
        Error::system(format!("list the connections of {}", server.service), error)
    })?;
    let mut listed = Listed { ours: 0, all: 0, waiting: 0 };
    // The kernel gives its list in pieces: what moves meanwhile may be in it twice.
    let mut seen = HashSet::new();
    for row in rows {
        if row.is_established() && seen.insert((row.local, row.remote)) {
            listed.all += 1;
            listed.ours += u64::from(sockets.contains(&row.remote));
        } else if row.is_listening() && seen.insert((row.local, row.remote)) {
            listed.waiting += row.waiting;
        }
    }
    Ok(listed)
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let listed = self.listed(&self.holder.sockets(true))?;
        self.held_most = self.held_most.max(listed.ours);
        let (seen, fresh) = (self.holder.seen(), self.fresh.asked());
        let said = fresh.said.as_ref().map_or(String::new(), |said| format!(" ({said})"));
        let part = |name: String, count| EffectPart { name, count, bytes: 0 };
        let mut parts = vec![
            part("held at the server now".into(), listed.ours),
            part("established at the server by anybody".into(), listed.all),
            part("not yet accepted by the server".into(), listed.waiting),
            part(format!("fresh connections refused{said}"), fresh.refused),
            part("fresh connections taken".into(), fresh.taken),
        ];
        if let Some(why) = seen.own_limit {
            parts
                .push(part(format!("held when this side could open no more ({why})"), listed.ours));
        }
        Ok(Effect {
            measure: "connections held".into(),
            count: self.held_most,
            source: self.source(),
            parts,
            doses: self.doses(listed.ours, &fresh),
        })
    }

    /// The share of the connections that is held: of the number asked for, or of the most that
    /// the server has given.
    fn set_level(&mut self, level: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&level) {
            return Err(Refusal::from(crate::resource::Refused::BadLevel { level }).into());
        }
        let whole = match self.asked {
            None if level < 1.0 => self.holder.seen().held_most,
            _ => self.want,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number that fits is between zero and that number"
        )]
        self.holder.set_want((f64::from(whole) * level).round() as u32);
        self.level = level;
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let unread = self.effect();
        let (effect, effect_unread) = match unread {
            Ok(effect) => (effect, None),
            Err(error) => (self.empty_effect(), Some(error.to_string())),
        };
        let Self { server, to, holder, fresh, .. } = *self;
        let sockets = holder.sockets(false);
        let began_ns = now_ns();
        drop(holder);
        let ended_ns = now_ns();
        drop(fresh);
        let deadline_ns = ended_ns + u64::try_from(GONE.as_nanos()).unwrap_or(u64::MAX);
        let verified = loop {
            let is_gone = list(&server, to.port(), &sockets)?.ours == 0;
            if is_gone || now_ns() > deadline_ns {
                break is_gone;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}

impl InPlace {
    /// What is left to say when the list cannot be read any more.
    fn empty_effect(&self) -> Effect {
        Effect {
            measure: "connections held".into(),
            count: self.held_most,
            source: self.source(),
            parts: Vec::new(),
            doses: Vec::new(),
        }
    }
}
