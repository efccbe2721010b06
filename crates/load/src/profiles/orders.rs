//! Orders of many users for six symbols, at prices around the middle of the market.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::Profile;

/// Symbols and the middle of their market in ticks of a cent.
const MARKETS: [(&str, u64); 6] = [
    ("BTCUSD", 5_000_000),
    ("ETHUSD", 300_000),
    ("ADAUSD", 150),
    ("SOLUSD", 15_000),
    ("DOTUSD", 700),
    ("MATICUSD", 90),
];
/// Prices reach half a percent to either side, and two ticks at least.
const SPREAD_DIVISOR: u64 = 200;
const SPREAD_TICKS_MIN: u64 = 2;
const MARKET_PERCENT: u32 = 10;
const LOTS_MAX: u32 = 100;
const USERS: u32 = 100;

/// `POST /api/orders`.
#[derive(Debug)]
pub(super) struct Orders;

#[derive(Debug, Serialize)]
struct Order<'a> {
    user_id: String,
    symbol: &'static str,
    side: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    quantity: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<u64>,
    client_order_id: &'a str,
}

#[derive(Debug, Deserialize)]
struct Acknowledgement {
    order_id: Option<OrderId>,
    client_order_id: Option<String>,
}

/// An id is text to us; a service may write it as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OrderId {
    Text(String),
    Number(u64),
}

impl Profile for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn path(&self) -> &'static str {
        "/api/orders"
    }

    #[expect(clippy::expect_used, reason = "text and numbers always have a JSON form")]
    fn body(&self, seed: u64, number: u64, key: &str) -> Vec<u8> {
        // The multiplier spreads neighbouring numbers over all bits of the seed.
        let mut random =
            StdRng::seed_from_u64(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (symbol, middle) = MARKETS[random.random_range(0..MARKETS.len())];
        let spread = (middle / SPREAD_DIVISOR).max(SPREAD_TICKS_MIN);
        let market = random.random_range(0..100) < MARKET_PERCENT;
        let order = Order {
            user_id: format!("load-{}", random.random_range(1..=USERS)),
            symbol,
            side: if random.random() { "BUY" } else { "SELL" },
            kind: if market { "MARKET" } else { "LIMIT" },
            quantity: random.random_range(1..=LOTS_MAX),
            price: (!market).then(|| random.random_range(middle - spread..=middle + spread)),
            client_order_id: key,
        };
        serde_json::to_vec(&order).expect("an order is written as JSON")
    }

    fn acknowledged(&self, key: &str, body: &[u8]) -> Result<String, String> {
        let answer: Acknowledgement = serde_json::from_slice(body)
            .map_err(|error| format!("the answer is not an acknowledgement: {error}"))?;
        // An answer to somebody else's request acknowledges nothing of ours.
        if let Some(other) = answer.client_order_id.filter(|other| other != key) {
            return Err(format!("the answer is for order {other:?}, not for this one"));
        }
        match answer.order_id {
            Some(OrderId::Text(id)) if !id.is_empty() => Ok(id),
            Some(OrderId::Number(id)) => Ok(id.to_string()),
            _ => Err("the answer has no order_id".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_mix_is_as_described() {
        let count = 6_000;
        let mut market = 0;
        let mut buy = 0;
        let mut symbols = std::collections::BTreeMap::<String, u32>::new();
        for number in 0..count {
            let order: Value =
                serde_json::from_slice(&Orders.body(3, number, &format!("k-{number}"))).unwrap();
            assert_eq!(order["client_order_id"], format!("k-{number}"));
            assert!(order["user_id"].as_str().unwrap().starts_with("load-"));
            assert!((1..=100).contains(&order["quantity"].as_u64().unwrap()));
            let symbol = order["symbol"].as_str().unwrap();
            *symbols.entry(symbol.to_owned()).or_default() += 1;
            let middle = MARKETS.iter().find(|(name, _)| *name == symbol).unwrap().1 as f64;
            buy += u32::from(order["side"] == "BUY");
            if order["type"] == "MARKET" {
                market += 1;
                assert!(order.get("price").is_none());
            } else {
                let price = order["price"].as_u64().unwrap() as f64;
                assert!((price - middle).abs() <= (middle / 200.0).max(2.0), "{symbol} {price}");
            }
        }
        // Five standard deviations of a binomial to either side.
        let near = |found: u32, expected: f64| {
            let n = count as f64;
            let deviation = (n * expected * (1.0 - expected)).sqrt();
            assert!(
                (f64::from(found) - n * expected).abs() < 5.0 * deviation,
                "{found} {expected}"
            );
        };
        near(market, 0.1);
        near(buy, 0.5);
        assert_eq!(symbols.len(), 6);
        for found in symbols.into_values() {
            near(found, 1.0 / 6.0);
        }
    }

    #[test]
    fn a_request_depends_on_seed_and_number_alone() {
        assert_eq!(Orders.body(1, 2, "k"), Orders.body(1, 2, "k"));
        assert_ne!(Orders.body(1, 2, "k"), Orders.body(1, 3, "k"));
        assert_ne!(Orders.body(1, 2, "k"), Orders.body(2, 2, "k"));
    }

    #[test]
    fn acknowledgements() {
        let check = |body: &str, expected: Result<&str, &str>| match (
            Orders.acknowledged("k-1", body.as_bytes()),
            expected,
        ) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{body}: {found:?}, not {expected:?}"),
        };
        check(r#"{"order_id":"17","client_order_id":"k-1","status":"open"}"#, Ok("17"));
        check(r#"{"order_id":17}"#, Ok("17"));
        check(r#"{"order_id":"17","client_order_id":"k-2"}"#, Err("k-2"));
        check(r#"{"order_id":""}"#, Err("no order_id"));
        check(r#"{"status":"open"}"#, Err("no order_id"));
        check(r#"{"order_id":"1"#, Err("not an acknowledgement"));
        check("", Err("not an acknowledgement"));
    }
}
