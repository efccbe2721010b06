//! A worse wire by a queue of packets that this process holds.
//!
//! An nftables table in the target's network namespace, owned by this process, hands the chosen
//! packets to a queue of the kernel's that this process reads ([`worker`]). Which packet goes on
//! when is decided in [`line`]; the packets themselves stay in the kernel. When this process dies,
//! however it dies, the kernel takes table and queue away: what was held at that moment is lost,
//! as on a wire that is cut, and everything after it passes. No qdisc is touched, so nobody else's
//! can be harmed, and a machine without netem has this all the same.
//!
//! **What the sender knows.** A packet that is lost here is lost silently: the kernel has taken it
//! from its sender. One that is delayed on its way out is made its own first (see `frees` in
//! [`worker`]), so that it does not count against its sender while it is held; as under netem.
//!
//! **Order.** Packets leave in the order in which they came, except for `network.reorder`, whose
//! point that is.
//!
//! **Bounds.** At most 16,384 packets or 128 MiB are held in one direction. What comes beyond that
//! passes at once and is counted in the effect. `network.bandwidth` loses what would wait more
//! than 250 ms (and 32 full packets), as a queue before a slow wire does.
//!
//! **Segments.** Where packets are taken by chance, take their time on the wire or are held on
//! their way out, big segments are split first into what the wire carries. What is delayed on its
//! way in stays as the namespace's IP layer has it.

pub(in crate::network) mod compat;
mod copies;
mod effect;
mod flip;
mod line;
mod message;
mod rules;
pub(in crate::network) mod socket;
pub(in crate::network) mod worker;

pub(super) use effect::share_within;
pub(super) use worker::be_punctual;

use std::sync::atomic::{AtomicBool, Ordering};
use temblor_event::Effect;

use temblor_event::clock::now_ns;

use self::effect::{Account, Reading};
use self::rules::{Counts, Part, Way};
use self::worker::Worker;
use super::shape::{EchoIds, Echoes, Flow};
use super::{Dose, Shape};
use crate::nft::listing::{self, Counter};
use crate::nft::{OwnedTable, next_name};
use crate::{Described, Error, Injected, PlannedChange, Result, Reverted};

const UNDONE_BY: &str = "the kernel, when the table's owner closes its socket";

/// What [`apply`] would change.
pub(super) fn plan(shape: &Shape) -> Vec<PlannedChange> {
    let table = PlannedChange {
        what: format!(
            "add an nftables table inet temblor_{}_N with an owner, in the network namespace of {} \
             (inode {}), and take a packet queue of the kernel's there",
            std::process::id(),
            shape.from.service,
            shape.from.netns.inode()
        ),
        undo: format!("{UNDONE_BY}: at the end of the fault, or when this program dies"),
    };
    let rules =
        rules::parts(shape).into_iter().filter(|part| part.counts == Counts::Handed).map(|part| {
            PlannedChange {
                what: format!("hand what goes {} to the queue", part.name),
                undo: "ends with the table".into(),
            }
        });
    std::iter::once(table).chain(rules).collect()
}

/// Puts a shape in place. It has been checked.
pub(super) fn apply(shape: &Shape) -> Result<Box<dyn Injected>> {
    let seed = shape.seed.unwrap_or_else(now_ns);
    let parts = rules::parts(shape);
    let ways = Way::all(shape.direction);
    let began_ns = now_ns();
    // The queues come first: nothing is ever handed to nobody.
    let worker = Worker::start(&shape.from.netns, &ways, shape.dose, seed)?;
    let echo_ids = is_seen_by_echoes(&shape.dose).then(|| EchoIds::from_seed(seed));
    let table = make_table(shape, &parts, &ways, echo_ids, worker.queues())?;
    let ended_ns = now_ns();
    let mut dose = shape.words();
    dose.insert("seed".into(), seed.to_string());
    let described = Described {
        name: shape.dose.name().into(),
        dose,
        mechanism: format!(
            "nftables table inet {} with an owner, in the network namespace of {}, and a queue of \
             packets that this program holds",
            table.name(),
            shape.from.service
        ),
        undone_by: UNDONE_BY.into(),
        began_ns,
        ended_ns,
    };
    let account = Account { dose: shape.dose, parts, ways };
    let effect = Effect {
        measure: account.measure().into(),
        count: 0,
        source: account.source(&shape.from.service),
        parts: Vec::new(),
        doses: Vec::new(),
    };
    let echoes = echo_ids
        .map(|ids| {
            let from = &shape.from;
            let trips = account.ways.len() as u32;
            let echoes = Echoes::start(&from.netns, &from.service, &shape.to, ids, trips)?;
            echoes.begin(Some(&shape.dose));
            Ok::<_, Error>(echoes)
        })
        .transpose()?;
    let flow = matches!(shape.dose, Dose::Bandwidth { .. })
        .then(|| {
            let (name, counted) = (table.name().to_owned(), account.clone());
            let read = move || Ok(counted.bytes_passed(&counters_here(&name, &counted)?));
            let ways = account.ways.iter().map(|way| way.word()).collect();
            Flow::start(&shape.from.netns, ways, read, worker.busy())
        })
        .transpose()?;
    Ok(Box::new(InPlace {
        echoes,
        flow,
        table,
        worker,
        account,
        level: Some(shape.dose),
        since: Reading::default(),
        described,
        effect,
    }))
}

/// Whether echoes tell more of the dose than counters do.
fn is_seen_by_echoes(dose: &Dose) -> bool {
    matches!(dose, Dose::Latency { .. } | Dose::Reorder { .. } | Dose::Corrupt { .. })
}

/// The counters of a table in the namespace of the calling thread.
fn counters_here(name: &str, account: &Account) -> Result<Vec<Counter>> {
    let chains = account.ways.iter().flat_map(|way| way.counting_chains());
    let listing =
        chains.map(|chain| listing::chain_here(name, chain)).collect::<Result<String>>()?;
    counters(name, &listing, account)
}

fn counters(name: &str, listing: &str, account: &Account) -> Result<Vec<Counter>> {
    listing::counters(listing, account.parts.len()).ok_or_else(|| Error::Nftables {
        doing: format!("read the counters of the nftables table {name}"),
        said: "its listing lacks rules that were put there".into(),
    })
}

fn make_table(
    shape: &Shape,
    parts: &[Part],
    ways: &[Way],
    echo_ids: Option<EchoIds>,
    queues: &[u16],
) -> Result<OwnedTable> {
    /// Whether this kernel is known to have no `queue` statement.
    static LACKS_STATEMENT: AtomicBool = AtomicBool::new(false);
    let netns = &shape.from.netns;
    if !LACKS_STATEMENT.load(Ordering::Relaxed) {
        let name = next_name();
        let commands = rules::table(shape, &name, parts, echo_ids, Some(queues));
        match OwnedTable::create(netns, name, commands) {
            // The kernel says so by not finding it.
            Err(Error::Nftables { said, .. })
                if said.contains("No such file") || said.contains("not supported") =>
            {
                LACKS_STATEMENT.store(true, Ordering::Relaxed);
            }
            other => return other,
        }
    }
    let name = next_name();
    let commands = rules::table(shape, &name, parts, echo_ids, None);
    let rules: Vec<(&str, u16)> =
        ways.iter().map(|way| way.queue_chain()).zip(queues.iter().copied()).collect();
    let table = name.clone();
    OwnedTable::create_then(netns, name, commands, move |owner| {
        rules.iter().try_for_each(|(chain, queue)| compat::add_rule(owner, &table, chain, *queue))
    })
}

/// A worse wire that is in place. The table goes before the queue: as long as packets are handed
/// over, somebody takes them.
struct InPlace {
    /// Measure the dose, where counters do not tell it.
    echoes: Option<Echoes>,
    flow: Option<Flow>,
    table: OwnedTable,
    worker: Worker,
    account: Account,
    /// The dose that is in place now; none: it is down to nothing.
    level: Option<Dose>,
    /// The reading when it was last changed.
    since: Reading,
    described: Described,
    /// The last effect.
    effect: Effect,
}

impl InPlace {
    fn read(&self) -> Result<Reading> {
        let before = self.given_back()?;
        let chains: Vec<&str> =
            self.account.ways.iter().flat_map(|way| way.counting_chains()).collect();
        let listing = self.table.list_chains(&chains)?;
        let counters = counters(self.table.name(), &listing, &self.account)?;
        let after = self.given_back()?;
        let given_back = before.iter().zip(&after).map(|(a, b)| (a + b) as f64 / 2.0).collect();
        Ok(Reading { counters, given_back, tallies: self.worker.tallies()? })
    }

    /// How many packets the kernel's queues have given back, a direction each.
    fn given_back(&self) -> Result<Vec<u64>> {
        let listed = socket::listed(self.table.netns())?;
        let given_back = |number: &u16| {
            let queue = listed.iter().find(|queue| queue.number == *number)?;
            Some(queue.handed.saturating_sub(queue.held))
        };
        self.worker
            .queues()
            .iter()
            .map(given_back)
            .collect::<Option<_>>()
            .ok_or_else(worker::is_gone)
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let now = self.read()?;
        (self.effect.count, self.effect.parts) = self.account.count(&now);
        self.effect.doses = match &self.level {
            Some(dose) => {
                let mut doses = self.account.doses(dose, &self.since, &now);
                doses.extend(self.echoes.iter().flat_map(|echoes| echoes.doses(dose)));
                doses.extend(self.flow.iter().flat_map(|flow| flow.doses(dose)));
                doses
            }
            None => Vec::new(),
        };
        Ok(self.effect.clone())
    }

    fn set_level(&mut self, level: f64) -> Result<()> {
        let since = self.read()?;
        let dose = self.account.dose.at(level);
        self.worker.set_dose(dose)?;
        if let Some(echoes) = &self.echoes {
            echoes.begin(dose.as_ref());
        }
        if let Some(flow) = &self.flow {
            flow.begin();
        }
        self.level = dose;
        self.since = since;
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let Self { echoes, flow, table, worker, effect, .. } = *self;
        let (name, netns) = (table.name().to_owned(), table.netns().clone());
        let queues = worker.all_queues();
        let began_ns = now_ns();
        drop((echoes, flow));
        worker.ease();
        drop(table);
        drop(worker);
        let ended_ns = now_ns();
        let verified = !listing::our_tables(&netns)?.contains(&name)
            && !socket::listed(&netns)?.iter().any(|queue| queues.contains(&queue.number));
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
