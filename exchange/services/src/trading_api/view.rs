//! Orders as clients are told of them.

use exchange_api::OrderView;
use exchange_matching::{EndReason, Lots, OrdStatus, Order, Place, Ticks};

use super::exchange::HeldOrder;

impl HeldOrder {
    /// As it is now.
    #[must_use]
    pub fn view(&self) -> OrderView {
        self.view_at(&self.state)
    }

    /// As it was first answered.
    #[must_use]
    pub fn first_view(&self) -> OrderView {
        self.view_at(&self.first)
    }

    /// As it was when it stood so.
    #[must_use]
    pub fn view_at(&self, state: &Order) -> OrderView {
        order_view(&self.place, self.created_us, state)
    }
}

/// An order as clients are told of it, when it stood so.
pub(super) fn order_view(place: &Place, created_us: u64, state: &Order) -> OrderView {
    OrderView {
        order_id: place.order_id.to_string(),
        client_order_id: place.client_order_id.to_string(),
        status: state.status.as_str().to_owned(),
        message: sentence(state),
        user_id: place.user.to_string(),
        symbol: place.symbol.to_string(),
        side: place.side.as_str().to_owned(),
        kind: state.kind.as_str().to_owned(),
        quantity: state.quantity.get(),
        price: state.kind.price().map(Ticks::get),
        time_in_force: place.time_in_force.as_str().to_owned(),
        post_only: place.post_only,
        filled_quantity: state.cum_qty.get(),
        leaves_quantity: state.leaves_qty().get(),
        filled_value: state.cum_value,
        avg_price: avg_price(state),
        reason: state.end.map(|reason| reason.as_str().to_owned()),
        created_at_ms: created_us / 1000,
    }
}

#[expect(clippy::cast_precision_loss, reason = "that it is rounded is what it says of itself")]
fn avg_price(state: &Order) -> Option<f64> {
    (state.cum_qty > Lots(0)).then(|| state.cum_value as f64 / state.cum_qty.get() as f64)
}

fn sentence(state: &Order) -> String {
    let (quantity, filled) = (state.quantity, state.cum_qty);
    if let Some(reason) = state.end {
        return ended(reason, filled, quantity);
    }
    match state.status {
        OrdStatus::New => "accepted; waits in the book".to_owned(),
        OrdStatus::PartiallyFilled => {
            format!("accepted; {filled} of {quantity} lots traded, the rest waits in the book")
        }
        OrdStatus::Filled => format!("all {quantity} lots traded"),
        OrdStatus::Cancelled => format!("cancelled; {filled} of {quantity} lots had traded"),
        OrdStatus::Expired => format!("expired; {filled} of {quantity} lots had traded"),
        OrdStatus::Rejected => "rejected".to_owned(),
    }
}

fn ended(reason: EndReason, filled: Lots, quantity: Lots) -> String {
    match reason {
        EndReason::BookExhausted => {
            format!("{filled} of {quantity} lots traded; the book had no more to offer")
        }
        EndReason::ImmediateOrCancel => {
            format!("{filled} of {quantity} lots traded; the book had no more at this price")
        }
        EndReason::FillOrKill => {
            format!("nothing traded; the book could not fill {quantity} lots at once")
        }
        EndReason::PostOnly => {
            format!("cancelled instead of trading at once; {filled} of {quantity} lots had traded")
        }
        EndReason::SelfTradePrevention => format!(
            "cancelled because another order of the same user would have traded with it; \
             {filled} of {quantity} lots had traded"
        ),
        EndReason::Owner => format!("cancelled; {filled} of {quantity} lots had traded"),
        EndReason::EndOfDay => format!("expired; {filled} of {quantity} lots had traded"),
    }
}
