//! What requests are answered with.

use exchange_api::{ApiError, ErrorCode};
use exchange_matching::{ClientOrderId, Lots, OrdStatus, OrderId, RejectReason, Replace};

use super::Answer;
use crate::trading_api::exchange::{Exchange, HeldOrder};

pub(super) fn conflict(key: &ClientOrderId) -> ApiError {
    ApiError::new(
        ErrorCode::IdempotencyConflict,
        format!("client_order_id {key} was used for a different order; use a new one"),
    )
}

pub(super) fn unknown(order_id: OrderId) -> ApiError {
    ApiError::new(ErrorCode::OrderNotFound, format!("there is no order {order_id}"))
}

pub(super) fn journal_failed() -> ApiError {
    ApiError::new(
        ErrorCode::JournalFailed,
        "the service ended before the order was certain to be kept: send it again with the same \
         client_order_id to learn what became of it",
    )
}

/// What a cancel is answered with that ended nothing: cancelling twice is as good as once, cancelling what
/// is filled is too late.
pub(super) fn cancelled(exchange: &Exchange, order_id: OrderId) -> Answer {
    let held = exchange.order(order_id).ok_or_else(|| unknown(order_id))?;
    match held.state.status {
        OrdStatus::Filled => Err(already_filled(order_id)),
        _ => Ok(held.view()),
    }
}

pub(super) fn already_filled(order_id: OrderId) -> ApiError {
    let message = format!("order {order_id} is filled; nothing is left of it");
    ApiError::new(ErrorCode::OrderAlreadyFilled, message)
}

/// Whether the order is already what it is to become, once what is under way has been carried out.
pub(super) fn has(held: &HeldOrder, under_way: Option<&Replace>, replace: &Replace) -> bool {
    let price = under_way.and_then(|one| one.price).or(held.state.kind.price());
    let quantity = under_way.and_then(|one| one.quantity).unwrap_or(held.state.quantity);
    replace.price.is_none_or(|new| price == Some(new))
        && replace.quantity.is_none_or(|new| quantity == new)
}

/// Why an order cannot be replaced.
pub(super) fn too_late(exchange: &Exchange, order_id: OrderId, refused: &RejectReason) -> ApiError {
    let Some(held) = exchange.order(order_id) else { return unknown(order_id) };
    let traded = held.state.cum_qty;
    match (held.state.status, refused) {
        (OrdStatus::Filled, _) => already_filled(order_id),
        (status, RejectReason::QuantityTraded { quantity, .. }) if status.is_live() => {
            ApiError::new(
                ErrorCode::QuantityAlreadyTraded,
                format!(
                    "{traded} lots of order {order_id} have traded; {quantity} in all would leave nothing: \
                 cancel it instead, or ask for at least {}",
                    Lots(traded.get() + 1)
                ),
            )
        }
        (status, _) if status.is_live() => {
            ApiError::new(ErrorCode::InvalidRequest, format!("order {order_id}: {refused}"))
        }
        (status, _) => {
            let status = status.as_str().to_lowercase();
            let message = format!("order {order_id} is {status}; place a new one instead");
            ApiError::new(ErrorCode::OrderAlreadyCancelled, message)
        }
    }
}
