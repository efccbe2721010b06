//! Figures that two independent sources give.
//!
//! - `TcpRetransSegs`, the kernel's own counter of a service's namespace: its growth must equal
//!   the segments that the probe saw sent again by that service between the two readings.
//! - Any other counter counts orders that were accepted: its growth must be no less than what was
//!   acknowledged, and no more than that and the orders whose answer nobody saw. Orders of the
//!   ledger if there is one, else the requests of the load's account.
//!
//! A counter without both readings, or with nothing of ours to be held against, says nothing. It is
//! named as not compared, with the reason: what vanishes silently could have disagreed.

use std::collections::BTreeMap;

use temblor_event::{CounterRead, CounterUnread, CounterWhen};

use crate::human::number;
use crate::log::{At, Log, as_f64};
use crate::result::{CrossCheck, LedgerResult, LoadAccount, Uncompared};

const RETRANSMITTED_SEGMENTS: &str = "TcpRetransSegs";

/// Every counter that was read before and after, and those that could not be used.
pub(crate) fn results(
    log: &Log<'_>,
    ledger: Option<&LedgerResult>,
    account: Option<&LoadAccount>,
) -> (Vec<CrossCheck>, Vec<Uncompared>) {
    let mut pairs: BTreeMap<(&str, &str), Pair<'_>> = BTreeMap::new();
    for read in &log.counters {
        let pair = pairs.entry((&read.get().counter, &read.get().service)).or_default();
        pair.source.get_or_insert(&read.get().source);
        match read.when {
            _ if !read.value.is_finite() => {}
            CounterWhen::Before => pair.before = pair.before.or(Some(*read)),
            CounterWhen::After => pair.after = Some(*read),
        }
    }
    for unread in &log.counters_unread {
        let pair = pairs.entry((&unread.get().counter, &unread.get().service)).or_default();
        pair.source.get_or_insert(&unread.get().source);
        pair.unread.push(unread.get());
    }
    let accepted = ledger
        .map(|ledger| (ledger.acknowledged, ledger.unsure, "orders acknowledged in the ledger"))
        .or_else(|| {
            account.map(|a| (a.ok, a.unsure, "requests acknowledged in the load's account"))
        });
    let (mut compared, mut uncompared) = (Vec::new(), Vec::new());
    for ((counter, service), pair) in pairs {
        let not = |why: String| Uncompared {
            what: named(counter, service),
            source: pair.source.cloned().unwrap_or_default(),
            why,
        };
        let (Some(before), Some(after)) = (pair.before, pair.after) else {
            uncompared.push(not(pair.why_not_read()));
            continue;
        };
        if counter == RETRANSMITTED_SEGMENTS {
            compared.push(retransmitted(log, service, before, after));
        } else if let Some((ours, unsure, our_source)) = accepted {
            compared.push(orders(counter, service, before, after, ours, unsure, our_source));
        } else {
            uncompared.push(not("read, and nothing of ours to hold it against".to_owned()));
        }
    }
    (compared, uncompared)
}

#[derive(Debug, Default)]
struct Pair<'a> {
    before: Option<At<'a, CounterRead>>,
    after: Option<At<'a, CounterRead>>,
    source: Option<&'a String>,
    unread: Vec<&'a CounterUnread>,
}

impl Pair<'_> {
    /// `not read after the run: connection refused`.
    fn why_not_read(&self) -> String {
        let why = |when: CounterWhen| {
            let told = self.unread.iter().find(|unread| unread.when == when);
            told.map(|unread| format!(": {}", unread.why)).unwrap_or_default()
        };
        match (self.before, self.after) {
            (None, None) => {
                let (before, after) = (why(CounterWhen::Before), why(CounterWhen::After));
                let whys = if before == after { before } else { format!("{before}{after}") };
                format!("not read, neither before the run nor after it{whys}")
            }
            (None, _) => format!("not read before the run{}", why(CounterWhen::Before)),
            _ => format!("not read after the run{}", why(CounterWhen::After)),
        }
    }
}

fn named(counter: &str, service: &str) -> String {
    if counter.contains(service) || service.is_empty() {
        counter.to_owned()
    } else {
        format!("{counter} ({service})")
    }
}

fn retransmitted(
    log: &Log<'_>,
    service: &str,
    before: At<'_, CounterRead>,
    after: At<'_, CounterRead>,
) -> CrossCheck {
    let ours: u64 = log
        .retransmits
        .iter()
        .filter(|segment| {
            segment.conn.service.as_deref() == Some(service)
                && (before.t_ns..=after.t_ns).contains(&segment.t_ns)
        })
        .map(|segment| u64::from(segment.segments))
        .sum();
    let growth = after.value - before.value;
    CrossCheck {
        what: described(&format!("segments sent again by {service}"), before.value, after.value),
        ours: as_f64(ours),
        our_source: log.hook("retrans"),
        theirs: growth,
        their_source: format!("{RETRANSMITTED_SEGMENTS} in {}", after.source),
        agrees: (growth - as_f64(ours)).abs() < 0.5,
    }
}

fn orders(
    counter: &str,
    service: &str,
    before: At<'_, CounterRead>,
    after: At<'_, CounterRead>,
    ours: u64,
    unsure: u64,
    our_source: &str,
) -> CrossCheck {
    let growth = after.value - before.value;
    let most = ours.saturating_add(unsure);
    CrossCheck {
        what: described(&named(counter, service), before.value, after.value),
        ours: as_f64(ours),
        our_source: our_source.to_owned(),
        theirs: growth,
        their_source: after.source.clone(),
        agrees: as_f64(ours) <= growth && growth <= as_f64(most),
    }
}

/// A counter only grows, unless its keeper was started anew.
fn described(what: &str, before: f64, after: f64) -> String {
    if after < before {
        let (before, after) = (number(before), number(after));
        format!("{what}: the counter went back from {before} to {after}, its keeper was restarted")
    } else {
        what.to_owned()
    }
}
