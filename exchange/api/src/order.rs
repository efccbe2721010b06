//! Orders as they arrive and orders as they are taken.

use exchange_matching::{
    ClientOrderId, Lots, OrderId, OrderKind, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Replace, Side,
    Symbol, TEXT_BYTES_MAX, Ticks, TimeInForce, UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiError, ErrorCode};

/// Client order ids that the exchange makes up for orders sent without one begin with this.
pub const AUTO_KEY_PREFIX: &str = "auto:";

/// The body of `POST /api/orders`. Numbers are signed and words are free here, so that a
/// bad one is answered with its own code and not with a parser's complaint. An unknown
/// field is refused: an order that silently loses a condition is worse than none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Who trades.
    #[schema(min_length = 1, max_length = 128)]
    pub user_id: String,
    /// What is traded.
    pub symbol: String,
    /// `BUY` or `SELL`.
    #[schema(pattern = "^(BUY|SELL)$")]
    pub side: String,
    /// `LIMIT` or `MARKET`.
    #[schema(pattern = "^(LIMIT|MARKET)$")]
    #[serde(rename = "type")]
    pub kind: String,
    /// Lots.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub quantity: i64,
    /// Ticks, for a limit order.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    /// `DAY` (waits in the book until the day ends), `GTC` (until it is filled or cancelled), `IOC` (what does
    /// not trade at once is cancelled) or `FOK` (all of it at once, or nothing). Nothing means `GTC` for a limit
    /// order and `IOC` for a market order, which cannot wait.
    #[schema(pattern = "^(DAY|GTC|IOC|FOK)$")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_in_force: Option<String>,
    /// Whether a limit order that would trade at once is cancelled instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub post_only: bool,
    /// The client's own name for the order, by which a repetition is recognised.
    #[schema(min_length = 1, max_length = 128)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_order_id: Option<String>,
}

/// The body of `PATCH /api/orders/:id`: what a resting order is to have instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceRequest {
    /// The new limit in ticks; nothing keeps the old one.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    /// Lots in all, with those that have traded already; nothing keeps what it was.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
}

/// Checks what a resting order is to have instead.
///
/// # Errors
/// The first thing that is wrong, with its own code.
pub fn validate_replace(order_id: OrderId, request: ReplaceRequest) -> Result<Replace, ApiError> {
    if request == ReplaceRequest::default() {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "nothing to replace: send a price, a quantity, or both",
        ));
    }
    let quantity = request.quantity.map(valid_quantity).transpose()?;
    let price = request.price.map(valid_price).transpose()?;
    Ok(Replace { order_id, price, quantity })
}

/// A client order id that a client may use: as [`ClientOrderId`] has it, and not one of ours.
///
/// # Errors
/// [`ErrorCode::InvalidClientOrderId`].
pub fn parse_key(text: &str) -> Result<ClientOrderId, ApiError> {
    let bad = |message: String| ApiError::new(ErrorCode::InvalidClientOrderId, message);
    if text.starts_with(AUTO_KEY_PREFIX) {
        return Err(bad(format!(
            "client order ids beginning with \"{AUTO_KEY_PREFIX}\" are given by the exchange"
        )));
    }
    ClientOrderId::new(text).map_err(|error| bad(format!("client_order_id {error}")))
}

/// An order that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidOrder {
    /// Who trades.
    pub user: UserId,
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price.
    pub kind: OrderKind,
    /// At least one lot.
    pub quantity: Lots,
    /// How long it stands; one that its kind can have.
    pub time_in_force: TimeInForce,
    /// It never trades at its arrival.
    pub post_only: bool,
    /// The client's name for it.
    pub key: Option<ClientOrderId>,
}

/// Checks an order as it arrived, with the `Idempotency-Key` header beside it.
///
/// # Errors
/// The first thing that is wrong, with its own code.
pub fn validate(request: &OrderRequest, header_key: Option<&str>) -> Result<ValidOrder, ApiError> {
    let user = UserId::new(&request.user_id)
        .map_err(|error| ApiError::new(ErrorCode::InvalidUserId, format!("user_id {error}")))?;
    let symbol = request
        .symbol
        .parse::<Symbol>()
        .map_err(|error| ApiError::new(ErrorCode::UnknownSymbol, error.to_string()))?;
    let side = match request.side.as_str() {
        "BUY" => Side::Buy,
        "SELL" => Side::Sell,
        _ => return Err(ApiError::new(ErrorCode::InvalidSide, "side is BUY or SELL")),
    };
    let quantity = valid_quantity(request.quantity)?;
    let kind = match (request.kind.as_str(), request.price) {
        ("MARKET", None) => OrderKind::Market,
        ("MARKET", Some(_)) => {
            return Err(ApiError::new(
                ErrorCode::PriceNotAllowed,
                "a MARKET order has no price; send LIMIT to set one",
            ));
        }
        ("LIMIT", None) => {
            return Err(ApiError::new(
                ErrorCode::PriceRequired,
                "a LIMIT order needs a price in ticks",
            ));
        }
        ("LIMIT", Some(price)) => OrderKind::Limit { price_ticks: valid_price(price)? },
        _ => return Err(ApiError::new(ErrorCode::InvalidType, "type is LIMIT or MARKET")),
    };
    let time_in_force = time_in_force(request.time_in_force.as_deref(), kind)?;
    if request.post_only && !time_in_force.may_rest() {
        return Err(ApiError::new(
            ErrorCode::PostOnlyNotAllowed,
            "a post_only order is one that can wait in the book: a LIMIT order, GTC or DAY",
        ));
    }
    let key = match (header_key, request.client_order_id.as_deref()) {
        (Some(header), Some(body)) if header != body => {
            return Err(ApiError::new(
                ErrorCode::KeyMismatch,
                "the Idempotency-Key header and client_order_id differ; send one, or both alike",
            ));
        }
        (Some(text), _) | (None, Some(text)) => Some(parse_key(text)?),
        (None, None) => None,
    };
    let post_only = request.post_only;
    Ok(ValidOrder { user, symbol, side, kind, quantity, time_in_force, post_only, key })
}

fn time_in_force(text: Option<&str>, kind: OrderKind) -> Result<TimeInForce, ApiError> {
    let found = text.map_or(Some(kind.default_time_in_force()), TimeInForce::named);
    let is_taken = |one: &TimeInForce| match one {
        TimeInForce::Day | TimeInForce::GoodTillCancel => kind.price().is_some(),
        TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill => true,
    };
    found.filter(is_taken).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidTimeInForce,
            match kind {
                OrderKind::Limit { .. } => "time_in_force is DAY, GTC, IOC or FOK",
                OrderKind::Market => "time_in_force of a MARKET order is IOC or FOK",
            },
        )
    })
}

fn valid_quantity(quantity: i64) -> Result<Lots, ApiError> {
    in_range(quantity, QUANTITY_LOTS_MAX).map(Lots).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidQuantity,
            format!("quantity is a whole number of lots from 1 to {QUANTITY_LOTS_MAX}"),
        )
    })
}

fn valid_price(price: i64) -> Result<Ticks, ApiError> {
    in_range(price, PRICE_TICKS_MAX).map(Ticks).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidPrice,
            format!("price is a whole number of ticks from 1 to {PRICE_TICKS_MAX}"),
        )
    })
}

fn in_range(value: i64, max: u64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| (1..=max).contains(value))
}

// As the document of the interface has them.
const _: () = assert!(
    PRICE_TICKS_MAX == 1_000_000_000 && QUANTITY_LOTS_MAX == 1_000_000_000 && TEXT_BYTES_MAX == 128
);

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> OrderRequest {
        OrderRequest {
            user_id: "u1".to_owned(),
            symbol: "BTCUSD".to_owned(),
            side: "BUY".to_owned(),
            kind: "LIMIT".to_owned(),
            quantity: 3,
            price: Some(5_000_000),
            ..OrderRequest::default()
        }
    }

    fn check(
        change: impl FnOnce(&mut OrderRequest),
        header: Option<&str>,
        expected: Result<(), ErrorCode>,
    ) {
        let mut request = limit();
        change(&mut request);
        let got = validate(&request, header);
        assert_eq!(got.map(|_| ()).map_err(|error| error.code), expected, "{request:?}");
    }

    #[test]
    fn each_mistake_has_its_code() {
        use ErrorCode as E;
        check(|_| (), None, Ok(()));
        check(|o| o.quantity = 0, None, Err(E::InvalidQuantity));
        check(|o| o.quantity = -1, None, Err(E::InvalidQuantity));
        check(|o| o.quantity = i64::MAX, None, Err(E::InvalidQuantity));
        check(|o| o.quantity = 1_000_000_000, None, Ok(()));
        check(|o| o.price = None, None, Err(E::PriceRequired));
        check(|o| o.price = Some(0), None, Err(E::InvalidPrice));
        check(|o| o.price = Some(-5), None, Err(E::InvalidPrice));
        check(|o| o.price = Some(1_000_000_001), None, Err(E::InvalidPrice));
        check(|o| o.kind = "MARKET".into(), None, Err(E::PriceNotAllowed));
        let in_force = |text: &str| {
            let text = Some(text.to_owned());
            move |o: &mut OrderRequest| o.time_in_force = text
        };
        for text in ["DAY", "GTC", "IOC", "FOK"] {
            check(in_force(text), None, Ok(()));
        }
        for text in ["GTD", "gtc", ""] {
            check(in_force(text), None, Err(E::InvalidTimeInForce));
        }
        let market = |text: &str| {
            let text = Some(text.to_owned());
            move |o: &mut OrderRequest| {
                (o.kind, o.price, o.time_in_force) = ("MARKET".to_owned(), None, text);
            }
        };
        check(market("IOC"), None, Ok(()));
        check(market("FOK"), None, Ok(()));
        check(market("GTC"), None, Err(E::InvalidTimeInForce));
        check(market("DAY"), None, Err(E::InvalidTimeInForce));
        check(|o| o.post_only = true, None, Ok(()));
        for text in ["IOC", "FOK"] {
            let post_only = |o: &mut OrderRequest| o.post_only = true;
            let both = |o: &mut OrderRequest| {
                in_force(text)(o);
                post_only(o);
            };
            check(both, None, Err(E::PostOnlyNotAllowed));
        }
        check(
            |o| {
                market("IOC")(o);
                o.post_only = true;
            },
            None,
            Err(E::PostOnlyNotAllowed),
        );
        check(|o| o.kind = "STOP".into(), None, Err(E::InvalidType));
        check(|o| o.side = "buy".into(), None, Err(E::InvalidSide));
        check(|o| o.symbol = "DOGEUSD".into(), None, Err(E::UnknownSymbol));
        check(|o| o.user_id = String::new(), None, Err(E::InvalidUserId));
        check(|o| o.user_id = "a\nb".into(), None, Err(E::InvalidUserId));
        check(|o| o.user_id = "x".repeat(129), None, Err(E::InvalidUserId));
        check(|o| o.client_order_id = Some("auto:1".into()), None, Err(E::InvalidClientOrderId));
        check(|o| o.client_order_id = Some("\u{7f}".into()), None, Err(E::InvalidClientOrderId));
        check(|_| (), Some(""), Err(E::InvalidClientOrderId));
        check(|_| (), Some(&"k".repeat(129)), Err(E::InvalidClientOrderId));
        check(|_| (), Some(&"k".repeat(128)), Ok(()));
        check(|o| o.client_order_id = Some("a".into()), Some("b"), Err(E::KeyMismatch));
        check(|o| o.client_order_id = Some("a".into()), Some("a"), Ok(()));
    }

    #[test]
    fn what_replaces_is_checked_like_what_is_placed() {
        use ErrorCode as E;
        let check = |price, quantity| {
            let replace = validate_replace(OrderId(7), ReplaceRequest { price, quantity });
            replace.map_err(|error| error.code)
        };
        let replace = |price: Option<u64>, quantity: Option<u64>| {
            let (price, quantity) = (price.map(Ticks), quantity.map(Lots));
            Ok(Replace { order_id: OrderId(7), price, quantity })
        };
        assert_eq!(check(None, None), Err(E::InvalidRequest));
        assert_eq!(check(Some(5), None), replace(Some(5), None));
        assert_eq!(check(None, Some(5)), replace(None, Some(5)));
        assert_eq!(check(Some(5), Some(6)), replace(Some(5), Some(6)));
        for bad in [0, -1, 1_000_000_001, i64::MIN] {
            assert_eq!(check(Some(bad), Some(1)), Err(E::InvalidPrice));
            assert_eq!(check(Some(1), Some(bad)), Err(E::InvalidQuantity));
        }
        for text in [r#"{"price":1.5}"#, r#"{"side":"BUY"}"#, r#"{"price":"1"}"#] {
            assert!(serde_json::from_str::<ReplaceRequest>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_nobody_knows_is_refused() {
        let text = r#"{"user_id":"u","symbol":"BTCUSD","side":"BUY","type":"MARKET","quantity":1,"stop":5}"#;
        assert!(serde_json::from_str::<OrderRequest>(text).is_err());
    }

    #[test]
    fn the_header_alone_is_a_key() {
        let order = validate(&limit(), Some("k-1")).map(|order| order.key);
        assert_eq!(order, parse_key("k-1").map(Some));
    }
}
