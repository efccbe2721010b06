//! Errors as a client sees them: a stable code and a sentence.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out. The name on the wire is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The body is not JSON, or a field has the wrong type, or is unknown.
    InvalidRequest,
    /// Header and body name different client order ids.
    KeyMismatch,
    /// The user id is empty, too long or not printable.
    InvalidUserId,
    /// The client order id is empty, too long, not printable or reserved.
    InvalidClientOrderId,
    /// No such symbol.
    UnknownSymbol,
    /// The side is neither BUY nor SELL.
    InvalidSide,
    /// The type is neither LIMIT nor MARKET.
    InvalidType,
    /// The quantity is zero, negative or too large.
    InvalidQuantity,
    /// A limit order without a price.
    PriceRequired,
    /// A market order with a price.
    PriceNotAllowed,
    /// The price is zero, negative or too large.
    InvalidPrice,
    /// The time in force is none of DAY, GTC, IOC and FOK, or not for this type of order.
    InvalidTimeInForce,
    /// A post-only order that may not wait in the book.
    PostOnlyNotAllowed,
    /// A query parameter is out of its range.
    InvalidParameter,
    /// The same client order id was used for a different order.
    IdempotencyConflict,
    /// No such order, or one so old that it is no longer held in memory.
    OrderNotFound,
    /// Too late to cancel or to replace: nothing of the order is left.
    OrderAlreadyFilled,
    /// Too late to replace: the order was cancelled, or its day ended.
    OrderAlreadyCancelled,
    /// As much as the order is to have in all has traded already, or more.
    QuantityAlreadyTraded,
    /// The path does not exist.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than any order needs.
    BodyTooLarge,
    /// The database is away and the bound on orders waiting for it is reached.
    BacklogFull,
    /// As many orders rest in the books as they hold.
    BooksFull,
    /// More requests are waiting than the service takes on.
    Overloaded,
    /// The database does not belong to this journal.
    StoreMismatch,
    /// The journal cannot be written; whether the order took effect is not known.
    JournalFailed,
}

impl ErrorCode {
    /// The HTTP status that goes with the code.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::KeyMismatch | Self::InvalidParameter => 400,
            Self::OrderNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::IdempotencyConflict
            | Self::OrderAlreadyFilled
            | Self::OrderAlreadyCancelled
            | Self::QuantityAlreadyTraded => 409,
            Self::BodyTooLarge => 413,
            Self::InvalidUserId
            | Self::InvalidClientOrderId
            | Self::UnknownSymbol
            | Self::InvalidSide
            | Self::InvalidType
            | Self::InvalidQuantity
            | Self::PriceRequired
            | Self::PriceNotAllowed
            | Self::InvalidPrice
            | Self::InvalidTimeInForce
            | Self::PostOnlyNotAllowed => 422,
            // Not a 503: a 503 promises that nothing was journalled.
            Self::JournalFailed => 500,
            Self::BacklogFull | Self::BooksFull | Self::Overloaded | Self::StoreMismatch => 503,
        }
    }

    /// When to try again, for the errors that pass by themselves.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::BacklogFull | Self::BooksFull | Self::StoreMismatch => Some(5),
            Self::Overloaded => Some(1),
            _ => None,
        }
    }
}

/// The `error` object of an error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// An error on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// For programs; decides the HTTP status too.
    pub code: ErrorCode,
    /// For people: what is wrong and what would be right.
    pub message: String,
}

impl ApiError {
    /// An error with its sentence.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The body to answer with.
    #[must_use]
    pub fn body(self) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code: self.code, message: self.message } }
    }
}
