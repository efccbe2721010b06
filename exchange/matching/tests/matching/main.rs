//! The rules of the book: told by examples, and held against a model that is too simple to be wrong.

mod examples;
mod model;
mod properties;

use exchange_matching::{
    Cancel, ClientOrderId, Command, Lots, OrderId, OrderKind, Place, Side, Symbol, Ticks, UserId,
};

/// An order; a price of `None` makes it a market order.
fn order(
    order_id: u64,
    user: &str,
    symbol: Symbol,
    side: Side,
    price: Option<u64>,
    quantity: u64,
) -> Place {
    Place {
        order_id: OrderId(order_id),
        client_order_id: ClientOrderId::new(&format!("client-{order_id}")).expect("a valid key"),
        user: UserId::new(user).expect("a valid user"),
        symbol,
        side,
        kind: price
            .map_or(OrderKind::Market, |price| OrderKind::Limit { price_ticks: Ticks(price) }),
        quantity: Lots(quantity),
    }
}

fn buy(order_id: u64, user: &str, price: Option<u64>, quantity: u64) -> Command {
    Command::Place(order(order_id, user, Symbol::BtcUsd, Side::Buy, price, quantity))
}

fn sell(order_id: u64, user: &str, price: Option<u64>, quantity: u64) -> Command {
    Command::Place(order(order_id, user, Symbol::BtcUsd, Side::Sell, price, quantity))
}

fn cancel(order_id: u64) -> Command {
    Command::Cancel(Cancel { order_id: OrderId(order_id) })
}
