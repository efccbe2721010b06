//! A batch as the parameters of one statement.

use exchange_matching::EndReason;
use tokio_postgres::types::ToSql;

use super::batch::{Batch, Changed, OrderRow, TradeRow};

/// The batch by column, as `unnest` takes it.
#[derive(Default)]
pub(super) struct Columns<'a> {
    placed: Placed<'a>,
    changed: Standing<'a>,
    traded: Traded<'a>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        let mut columns = Self::default();
        for row in &batch.orders {
            columns.placed.push(row);
        }
        for change in batch.changes.values() {
            columns.changed.push(change);
        }
        for row in &batch.trades {
            columns.traded.push(row);
        }
        columns
    }

    /// In the order of the statement's parameters.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        let Self { placed, changed, traded } = self;
        placed
            .standing
            .parameters()
            .into_iter()
            .chain(placed.parameters())
            .chain(changed.parameters())
            .chain(traded.parameters())
    }
}

/// A struct of columns, with the parameters that they are in the statement, in that order.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $value:ty),+ $(,)? }
        $($part:ident: $rest:ty)?) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $name<'a> {
            $($part: $rest,)?
            $($column: Vec<$value>),+
        }

        impl $name<'_> {
            fn parameters(&self) -> [&(dyn ToSql + Sync); [$(stringify!($column)),+].len()] {
                [$(&self.$column),+]
            }
        }
    };
}

columns! {
    /// What of an order can change.
    Standing {
        order_id: i64,
        quantity: i64,
        price: Option<i64>,
        status: &'a str,
        filled: i64,
        value: i64,
        end_reason: Option<&'a str>,
        changed_seq: i64,
        replaced_seq: Option<i64>,
    }
}

columns! {
    /// What of an order cannot.
    Placed {
        client_order_id: &'a str,
        user_id: &'a str,
        symbol: &'a str,
        side: &'a str,
        kind: &'a str,
        time_in_force: &'a str,
        post_only: bool,
        journal_seq: i64,
        created_us: i64,
    }
    standing: Standing<'a>
}

columns! {
    /// A trade.
    Traded {
        trade_id: i64,
        symbol: &'a str,
        price: i64,
        quantity: i64,
        taker_side: &'a str,
        maker: i64,
        taker: i64,
        journal_seq: i64,
        executed_us: i64,
    }
}

impl Standing<'_> {
    fn push(&mut self, changed: &Changed) {
        let Changed { order, changed_seq, replaced_seq } = changed;
        self.order_id.push(signed(order.order_id.get()));
        self.quantity.push(signed(order.quantity.get()));
        self.price.push(order.kind.price().map(|price| signed(price.get())));
        self.status.push(order.status.as_str());
        self.filled.push(signed(order.cum_qty.get()));
        self.value.push(signed(order.cum_value));
        self.end_reason.push(order.end.map(EndReason::as_str));
        self.changed_seq.push(signed(*changed_seq));
        self.replaced_seq.push(replaced_seq.map(signed));
    }
}

impl<'a> Placed<'a> {
    fn push(&mut self, row: &'a OrderRow) {
        let place = &row.place;
        self.standing.push(&row.now);
        self.client_order_id.push(place.client_order_id.as_str());
        self.user_id.push(place.user.as_str());
        self.symbol.push(place.symbol.as_str());
        self.side.push(place.side.as_str());
        self.kind.push(place.kind.as_str());
        self.time_in_force.push(place.time_in_force.as_str());
        self.post_only.push(place.post_only);
        self.journal_seq.push(signed(row.journal_seq));
        self.created_us.push(signed(row.created_us));
    }
}

impl Traded<'_> {
    fn push(&mut self, row: &TradeRow) {
        let trade = &row.trade;
        self.trade_id.push(signed(trade.trade_id.get()));
        self.symbol.push(trade.symbol.as_str());
        self.price.push(signed(trade.price.get()));
        self.quantity.push(signed(trade.quantity.get()));
        self.taker_side.push(trade.taker_side.as_str());
        self.maker.push(signed(trade.maker_order_id.get()));
        self.taker.push(signed(trade.taker_order_id.get()));
        self.journal_seq.push(signed(row.journal_seq));
        self.executed_us.push(signed(row.executed_us));
    }
}

/// A column is signed; every number that gets here is far below its end.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
