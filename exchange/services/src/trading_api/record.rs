//! What the journal's records say.
//!
//! A record is one command: what it did follows from the records before it, so nothing
//! else is written. The first byte is the version of the encoding, the rest is JSON: 150
//! bytes more or less cost the disk nothing beside a sync, and a person can read it.
//!
//! Version 2 adds the terms of an order. A record of version 1 has none and means the same
//! without: it was written when every limit order waited and no market order could. Version 3
//! adds replaced orders and ends of days, which earlier versions would not know to carry out.

use exchange_matching::{
    Cancel, ClientOrderId, Command, Lots, OrderId, OrderKind, PRICE_TICKS_MAX, Place,
    QUANTITY_LOTS_MAX, Replace, Side, Symbol, TextError, Ticks, TimeInForce, UserId,
};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 3;
const VERSION_MIN: u8 = 1;

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first record of every journal.
    Genesis {
        /// Tells this journal from every other one, so that a database that belongs to
        /// another is not written to.
        journal_id: String,
    },
    /// A new order.
    Place {
        /// The order.
        place: Place,
        /// When it was taken, in microseconds since 1970. Part of the record because a
        /// replay must not look at a clock.
        at_us: u64,
    },
    /// The end of a resting order.
    Cancel {
        /// Which order.
        order_id: OrderId,
        /// When, in microseconds since 1970.
        at_us: u64,
    },
    /// Another price or quantity for a resting order.
    Replace {
        /// Which order, and what is new.
        replace: Replace,
        /// When, in microseconds since 1970.
        at_us: u64,
    },
    /// A day is over.
    EndDay {
        /// When that was journalled, in microseconds since 1970.
        at_us: u64,
    },
}

/// A record that cannot be read although its checksum is right.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No bytes at all.
    #[error("the record is empty")]
    Empty,
    /// Written by a later version.
    #[error(
        "the record has encoding {found}, this version reads {VERSION_MIN} to {VERSION}: use the version that wrote it"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not the JSON of a record.
    #[error("the record is not readable")]
    Json(#[source] serde_json::Error),
    /// A symbol that is no longer traded.
    #[error("the record names symbol {0:?}, which is not traded")]
    Symbol(String),
    /// A side or a type that does not exist, or numbers that no order can have.
    #[error("the record holds an order that could not have been accepted")]
    Order,
    /// A user or client order id that could not have been accepted.
    #[error("the record holds an id that could not have been accepted")]
    Text(#[source] TextError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wire<'a> {
    Genesis {
        #[serde(borrow)]
        journal_id: std::borrow::Cow<'a, str>,
    },
    Place {
        id: u64,
        #[serde(borrow)]
        key: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        user: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        symbol: std::borrow::Cow<'a, str>,
        buy: bool,
        quantity: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        /// What its kind has anyway is left out.
        #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
        in_force: Option<std::borrow::Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        post_only: bool,
        at_us: u64,
    },
    Cancel {
        id: u64,
        at_us: u64,
    },
    Replace {
        id: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantity: Option<u64>,
        at_us: u64,
    },
    EndDay {
        at_us: u64,
    },
}

impl Record {
    /// When it was taken, in microseconds since 1970; of the first record, 0.
    #[must_use]
    pub fn at_us(&self) -> u64 {
        match self {
            Self::Genesis { .. } => 0,
            Self::Place { at_us, .. }
            | Self::Cancel { at_us, .. }
            | Self::Replace { at_us, .. }
            | Self::EndDay { at_us } => *at_us,
        }
    }

    /// What it asks of the matching engine; the first record asks nothing.
    #[must_use]
    pub fn into_command(self) -> Option<Command> {
        Some(match self {
            Self::Genesis { .. } => return None,
            Self::Place { place, .. } => Command::Place(place),
            Self::Cancel { order_id, .. } => Command::Cancel(Cancel { order_id }),
            Self::Replace { replace, .. } => Command::Replace(replace),
            Self::EndDay { .. } => Command::EndDay,
        })
    }

    /// The bytes for the journal.
    ///
    /// # Errors
    /// None that can happen: the types have no value that JSON cannot hold.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let wire = match self {
            Self::Genesis { journal_id } => Wire::Genesis { journal_id: journal_id.into() },
            Self::Place { place, at_us } => Wire::Place {
                id: place.order_id.get(),
                key: place.client_order_id.as_str().into(),
                user: place.user.as_str().into(),
                symbol: place.symbol.as_str().into(),
                buy: place.side == Side::Buy,
                quantity: place.quantity.get(),
                limit: place.kind.price().map(Ticks::get),
                in_force: (place.time_in_force != place.kind.default_time_in_force())
                    .then(|| place.time_in_force.as_str().into()),
                post_only: place.post_only,
                at_us: *at_us,
            },
            Self::Cancel { order_id, at_us } => Wire::Cancel { id: order_id.get(), at_us: *at_us },
            Self::Replace { replace, at_us } => Wire::Replace {
                id: replace.order_id.get(),
                price: replace.price.map(Ticks::get),
                quantity: replace.quantity.map(Lots::get),
                at_us: *at_us,
            },
            Self::EndDay { at_us } => Wire::EndDay { at_us: *at_us },
        };
        let mut bytes = Vec::with_capacity(192);
        bytes.push(VERSION);
        serde_json::to_writer(&mut bytes, &wire).map_err(RecordError::Json)?;
        Ok(bytes)
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// When they are not a record of a version this one knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (&version, json) = bytes.split_first().ok_or(RecordError::Empty)?;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(RecordError::Version { found: version });
        }
        Ok(match serde_json::from_slice(json).map_err(RecordError::Json)? {
            Wire::Genesis { journal_id } => Self::Genesis { journal_id: journal_id.into_owned() },
            Wire::Cancel { id, at_us } => Self::Cancel { order_id: OrderId(id), at_us },
            Wire::EndDay { at_us } => Self::EndDay { at_us },
            Wire::Replace { id, price, quantity, at_us } => {
                let (price, quantity) = (price.map(Ticks), quantity.map(Lots));
                let replace = Replace { order_id: OrderId(id), price, quantity };
                replace.validate().map_err(|_| RecordError::Order)?;
                Self::Replace { replace, at_us }
            }
            Wire::Place {
                id,
                key,
                user,
                symbol,
                buy,
                quantity,
                limit,
                in_force,
                post_only,
                at_us,
            } => {
                let symbol = symbol
                    .parse::<Symbol>()
                    .map_err(|_| RecordError::Symbol(symbol.into_owned()))?;
                let kind = match limit {
                    Some(price) => OrderKind::Limit { price_ticks: Ticks(price) },
                    None => OrderKind::Market,
                };
                let time_in_force = match in_force {
                    Some(text) => TimeInForce::named(&text).ok_or(RecordError::Order)?,
                    None => kind.default_time_in_force(),
                };
                let place = Place {
                    order_id: OrderId(id),
                    client_order_id: ClientOrderId::new(&key).map_err(RecordError::Text)?,
                    user: UserId::new(&user).map_err(RecordError::Text)?,
                    symbol,
                    side: if buy { Side::Buy } else { Side::Sell },
                    kind,
                    quantity: Lots(quantity),
                    time_in_force,
                    post_only,
                };
                place.validate().map_err(|_| RecordError::Order)?;
                Self::Place { place, at_us }
            }
        })
    }
}

// What a database column holds is signed.
const _: () = assert!(PRICE_TICKS_MAX <= i64::MAX as u64 && QUANTITY_LOTS_MAX <= i64::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: OrderKind = OrderKind::Limit { price_ticks: Ticks(12) };

    fn place(kind: OrderKind) -> Record {
        with_terms(kind, kind.default_time_in_force(), false)
    }

    fn with_terms(kind: OrderKind, time_in_force: TimeInForce, post_only: bool) -> Record {
        let place = Place {
            order_id: OrderId(7),
            client_order_id: ClientOrderId::new("k \"quoted\" ü").unwrap(),
            user: UserId::new("u").unwrap(),
            symbol: Symbol::EthUsd,
            side: Side::Sell,
            kind,
            quantity: Lots(5),
            time_in_force,
            post_only,
        };
        Record::Place { place, at_us: 1_700_000_000_000_000 }
    }

    fn replace(price: Option<u64>, quantity: Option<u64>) -> Record {
        let (price, quantity) = (price.map(Ticks), quantity.map(Lots));
        Record::Replace { replace: Replace { order_id: OrderId(3), price, quantity }, at_us: 9 }
    }

    #[test]
    fn records_read_back_as_written() {
        for record in [
            Record::Genesis { journal_id: "abc".to_owned() },
            place(OrderKind::Market),
            place(OrderKind::Limit { price_ticks: Ticks(12) }),
            with_terms(OrderKind::Market, TimeInForce::FillOrKill, false),
            with_terms(LIMIT, TimeInForce::ImmediateOrCancel, false),
            with_terms(LIMIT, TimeInForce::FillOrKill, false),
            with_terms(LIMIT, TimeInForce::Day, true),
            with_terms(LIMIT, TimeInForce::GoodTillCancel, true),
            Record::Cancel { order_id: OrderId(3), at_us: 9 },
            replace(Some(12), None),
            replace(None, Some(5)),
            replace(Some(12), Some(5)),
            Record::EndDay { at_us: 9 },
        ] {
            assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }

    /// Byte for byte as version 1 wrote them.
    #[test]
    fn records_of_the_first_version_are_read() {
        let json = |rest: &str| {
            r#"{"place":{"id":7,"key":"k \"quoted\" ü","user":"u","symbol":"ETHUSD","buy":false,"quantity":5"#
                .to_owned()
                + rest
        };
        for (json, record) in [
            (json(r#","limit":12,"at_us":1700000000000000}}"#), place(LIMIT)),
            (json(r#","at_us":1700000000000000}}"#), place(OrderKind::Market)),
            (
                r#"{"cancel":{"id":3,"at_us":9}}"#.to_owned(),
                Record::Cancel { order_id: OrderId(3), at_us: 9 },
            ),
            (
                r#"{"genesis":{"journal_id":"abc"}}"#.to_owned(),
                Record::Genesis { journal_id: "abc".to_owned() },
            ),
        ] {
            assert_eq!(Record::decode(&[b"\x01", json.as_bytes()].concat()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        for bytes in [
            &b""[..],
            b"\x02{}",
            b"\x04{\"cancel\":{\"id\":3,\"at_us\":9}}",
            b"\x03{\"replace\":{\"id\":3,\"at_us\":9}}",
            b"\x03{\"replace\":{\"id\":3,\"price\":0,\"at_us\":9}}",
            b"\x00{\"cancel\":{\"id\":3,\"at_us\":9}}",
            b"\x02{\"place\":{\"id\":1,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"BTCUSD\",\"buy\":true,\"quantity\":1,\"in_force\":\"GTC\",\"at_us\":1}}",
            b"\x02{\"place\":{\"id\":1,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"BTCUSD\",\"buy\":true,\"quantity\":1,\"in_force\":\"GTD\",\"at_us\":1}}",
            b"\x01",
            b"\x01{\"place\":{}}",
            b"\x01{\"place\":{\"id\":1,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"NOPE\",\"buy\":true,\"quantity\":1,\"at_us\":1}}",
            b"\x01{\"place\":{\"id\":1,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"BTCUSD\",\"buy\":true,\"quantity\":0,\"at_us\":1}}",
        ] {
            assert!(Record::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
