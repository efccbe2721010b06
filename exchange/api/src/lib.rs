//! The exchange's HTTP wire types and error codes.
//!
//! What a client may send, what makes an order valid, and what is answered. The crate
//! knows nothing of HTTP servers, journals or databases: it turns bytes already parsed
//! as JSON into an order the exchange can take, or into an error with a code.

mod answer;
mod error;
mod order;
mod symbol;

pub use answer::{
    BookLevel, BookView, Health, MarketView, Missed, OrderChange, OrderList, OrderView, PriceView,
    Readiness, ReadyState, Summary, SymbolList, SymbolSummary, TradeList, TradeView, Welcome,
};
pub use error::{ApiError, ErrorBody, ErrorCode, ErrorDetail};
pub use order::{
    AUTO_KEY_PREFIX, OrderRequest, ReplaceRequest, ValidOrder, parse_key, validate,
    validate_replace,
};
pub use symbol::reference_price;

/// The header that marks who sent an order; the value `simulator` is the only one with a meaning.
pub const CHANNEL_HEADER: &str = "x-order-channel";
/// The header that carries a client order id beside or instead of the body's.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
