//! The rules of the book: told by examples, and held against a model that is too simple to be wrong.

mod examples;
mod model;
mod properties;
mod rules;

use exchange_matching::{
    Cancel, ClientOrderId, Command, Lots, OrderId, OrderKind, Place, Replace, Side, Symbol, Ticks,
    TimeInForce, UserId,
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
    let kind =
        price.map_or(OrderKind::Market, |price| OrderKind::Limit { price_ticks: Ticks(price) });
    Place {
        order_id: OrderId(order_id),
        client_order_id: ClientOrderId::new(&format!("client-{order_id}")).expect("a valid key"),
        user: UserId::new(user).expect("a valid user"),
        symbol,
        side,
        kind,
        quantity: Lots(quantity),
        time_in_force: kind.default_time_in_force(),
        post_only: false,
    }
}

fn buy(order_id: u64, user: &str, price: Option<u64>, quantity: u64) -> Command {
    Command::Place(order(order_id, user, Symbol::BtcUsd, Side::Buy, price, quantity))
}

fn sell(order_id: u64, user: &str, price: Option<u64>, quantity: u64) -> Command {
    Command::Place(order(order_id, user, Symbol::BtcUsd, Side::Sell, price, quantity))
}

fn changed(command: Command, change: impl FnOnce(&mut Place)) -> Command {
    let Command::Place(mut place) = command else { unreachable!("only orders are changed") };
    change(&mut place);
    Command::Place(place)
}

fn day(command: Command) -> Command {
    changed(command, |place| place.time_in_force = TimeInForce::Day)
}

fn ioc(command: Command) -> Command {
    changed(command, |place| place.time_in_force = TimeInForce::ImmediateOrCancel)
}

fn fok(command: Command) -> Command {
    changed(command, |place| place.time_in_force = TimeInForce::FillOrKill)
}

fn post_only(command: Command) -> Command {
    changed(command, |place| place.post_only = true)
}

fn cancel(order_id: u64) -> Command {
    Command::Cancel(Cancel { order_id: OrderId(order_id) })
}

fn replace(order_id: u64, price: Option<u64>, quantity: Option<u64>) -> Command {
    let (price, quantity) = (price.map(Ticks), quantity.map(Lots));
    Command::Replace(Replace { order_id: OrderId(order_id), price, quantity })
}
