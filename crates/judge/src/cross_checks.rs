//! Figures that two independent sources give.
//!
//! - `TcpRetransSegs`, the kernel's own counter of a service's namespace: its growth must equal
//!   the segments that the probe saw sent again by that service between the two readings.
//! - Any other counter counts orders that were accepted: its growth must be no less than what was
//!   acknowledged, and no more than that and the orders whose answer nobody saw. Orders of the
//!   ledger if there is one, else the requests of the load's account.
//!
//! A counter without both readings says nothing and is left out.

use std::collections::BTreeMap;

use temblor_event::{CounterRead, CounterWhen};

use crate::human::number;
use crate::log::{At, Log, as_f64};
use crate::result::{CrossCheck, LedgerResult, LoadAccount};

const RETRANSMITTED_SEGMENTS: &str = "TcpRetransSegs";

/// Every counter that was read before and after.
pub(crate) fn results(
    log: &Log<'_>,
    ledger: Option<&LedgerResult>,
    account: Option<&LoadAccount>,
) -> Vec<CrossCheck> {
    let mut pairs: BTreeMap<(&str, &str), Pair<'_>> = BTreeMap::new();
    for read in log.counters.iter().filter(|read| read.value.is_finite()) {
        let pair = pairs.entry((&read.get().counter, &read.get().service)).or_default();
        match read.when {
            CounterWhen::Before => pair.before = pair.before.or(Some(*read)),
            CounterWhen::After => pair.after = Some(*read),
        }
    }
    let accepted = ledger
        .map(|ledger| (ledger.acknowledged, ledger.unsure, "orders acknowledged in the ledger"))
        .or_else(|| {
            account.map(|a| (a.ok, a.unsure, "requests acknowledged in the load's account"))
        });
    pairs
        .into_iter()
        .filter_map(|((counter, service), pair)| {
            let (before, after) = (pair.before?, pair.after?);
            if counter == RETRANSMITTED_SEGMENTS {
                Some(retransmitted(log, service, before, after))
            } else {
                let (ours, unsure, our_source) = accepted?;
                Some(orders(counter, service, before, after, ours, unsure, our_source))
            }
        })
        .collect()
}

#[derive(Debug, Default)]
struct Pair<'a> {
    before: Option<At<'a, CounterRead>>,
    after: Option<At<'a, CounterRead>>,
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
    let name = if counter.contains(service) || service.is_empty() {
        counter.to_owned()
    } else {
        format!("{counter} ({service})")
    };
    CrossCheck {
        what: described(&name, before.value, after.value),
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
