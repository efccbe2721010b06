//! Durable records become true.

use exchange_matching::{Command, Effects, RejectReason};

use super::Answer;
use super::answers::{cancelled, too_late, unknown};
use crate::trading_api::exchange::{ApplyError, Exchange, HeldOrder};
use crate::trading_api::metrics::Metrics;
use crate::trading_api::record::Record;

/// Carries a record out, and says what whoever asked for it is answered (nobody asks for the end of a day), and
/// what it did.
pub(super) fn carry_out(
    exchange: &mut Exchange,
    metrics: &Metrics,
    record: Record,
    channel: &str,
) -> Result<(Option<Answer>, Effects), ApplyError> {
    let cause = record.clone();
    let effects = exchange.apply(record)?;
    count(metrics, &cause, &effects, channel);
    // What ends may be forgotten at once; it is to be told of all the same.
    let named = effects.orders.first().and_then(|order| exchange.just_held(order.order_id));
    let told = named.map(|held| Ok(held.view()));
    let answer = match cause {
        // Written before the sequencer begins, and never again.
        Record::Genesis { .. } => return Err(ApplyError::Genesis),
        Record::Place { place, .. } => {
            let held = exchange.order(place.order_id).map(HeldOrder::first_view);
            Some(held.ok_or_else(|| unknown(place.order_id)))
        }
        Record::Cancel { order_id, .. } => {
            Some(told.unwrap_or_else(|| cancelled(exchange, order_id)))
        }
        Record::Replace { replace, .. } => Some(told.unwrap_or_else(|| {
            let order_id = replace.order_id;
            // It was refused, and still would be: nothing has happened since.
            let refused = exchange.check(&Command::Replace(replace)).err();
            let refused = refused.unwrap_or(RejectReason::UnknownOrder { order_id });
            Err(too_late(exchange, order_id, &refused))
        })),
        Record::EndDay { .. } => None,
    };
    Ok((answer, effects))
}

fn count(metrics: &Metrics, record: &Record, effects: &Effects, channel: &str) {
    for trade in &effects.trades {
        metrics.trades.with_label_values(&[trade.symbol.as_str()]).inc();
    }
    if let Record::Place { place, .. } = record {
        let labels = [place.kind.as_str(), place.side.as_str(), "accepted", channel];
        metrics.orders.with_label_values(&labels).inc();
    } else if matches!(record, Record::Replace { .. }) && !effects.orders.is_empty() {
        metrics.orders_replaced.inc();
    }
    for reason in effects.orders.iter().filter_map(|order| order.end) {
        metrics.orders_ended.with_label_values(&[reason.as_str()]).inc();
    }
}
