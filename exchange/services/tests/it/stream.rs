//! What happens is told as it happens.

use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_services::common::monotonic;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::support::api::{Api, Caller, NO_REDIS, nowhere, parts};

/// A listener, line by line.
struct Stream {
    lines: Lines<BufReader<TcpStream>>,
}

impl Stream {
    async fn open(caller: &Caller, query: &str) -> Self {
        let address = caller.base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /api/stream{query} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { lines: BufReader::new(connection).lines() };
        let status = stream.line().await.unwrap();
        assert!(status.contains(" 200 "), "{status}");
        stream
    }

    /// Nothing: the service ended it.
    async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next_line()).await;
        line.expect("something is told").unwrap()
    }

    /// The next event of that name with what it says, and its id.
    async fn next(&mut self, name: &str) -> (Value, Option<String>) {
        self.one_of(&[name]).await.1
    }

    /// The next event of each of two names, in whichever order they come.
    async fn both(&mut self, first: &str, second: &str) -> Vec<(Value, Option<String>)> {
        let (found, one) = self.one_of(&[first, second]).await;
        let other = self.next(if found == first { second } else { first }).await;
        if found == first { vec![one, other] } else { vec![other, one] }
    }

    async fn one_of(&mut self, names: &[&str]) -> (String, (Value, Option<String>)) {
        let (mut name, mut id, mut data) = (String::new(), None, None);
        loop {
            let line = self.line().await.expect("it goes on");
            if let Some(event) = line.strip_prefix("event: ") {
                (name, id, data) = (event.to_owned(), None, None);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let (true, "", Some(data)) =
                (names.contains(&name.as_str()), line.as_str(), data.take())
            {
                return (name, (data, id));
            }
        }
    }
}

async fn place(caller: &Caller, user: &str, side: &str, quantity: u64) {
    let order = json!({"user_id": user, "symbol": "ETHUSD", "side": side, "type": "LIMIT",
                       "quantity": quantity, "price": 100});
    assert_eq!(caller.post(&order).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn books_trades_and_own_orders_are_told_in_their_order() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    let mut listener = Stream::open(caller, "?symbol=ETHUSD&user_id=a").await;
    let (book, _) = listener.next("book").await;
    assert_eq!((&book["symbol"], &book["asks"]), (&json!("ETHUSD"), &json!([])));

    place(caller, "a", "SELL", 5).await;
    // Which of the two comes first is open.
    let mut told = listener.both("order", "book").await;
    let ((book, _), (order, placed)) = (told.pop().unwrap(), told.pop().unwrap());
    assert_eq!((&order["order_id"], &order["status"]), (&json!("1"), &json!("NEW")));
    assert_eq!(book["asks"], json!([{"price": 100, "quantity": 5, "orders": 1}]));

    place(caller, "b", "BUY", 2).await;
    let (trade, traded) = listener.next("trade").await;
    assert_eq!((&trade["buy_order_id"], &trade["sell_order_id"]), (&json!("2"), &json!("1")));
    // Both ids are of the journal's records, and grow.
    let number = |id: Option<String>| id.unwrap().parse::<u64>().unwrap();
    assert_eq!(number(traded) - number(placed), 1);
    let (order, _) = listener.next("order").await;
    assert_eq!((&order["user_id"], &order["filled_quantity"]), (&json!("a"), &json!(2)));

    caller.patch("/api/orders/1", &json!({"price": 101})).await;
    assert_eq!(listener.next("order").await.0["price"], 101);
    caller.delete("/api/orders/1").await;
    assert_eq!(listener.next("order").await.0["status"], "CANCELLED");

    // It ends with the service, which does not wait for it.
    let began = monotonic();
    api.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    while listener.line().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_for_is_not_told() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    let mut of_another = Stream::open(caller, "?symbol=BTCUSD&user_id=b&depth=1").await;
    assert_eq!(of_another.next("book").await.0["symbol"], "BTCUSD");
    place(caller, "b", "SELL", 5).await;
    place(caller, "a", "BUY", 5).await;
    let order = json!({"user_id": "b", "symbol": "BTCUSD", "side": "SELL", "type": "LIMIT",
                       "quantity": 1, "price": 7});
    assert_eq!(caller.post(&order).await.0, 201);
    for (told, _) in of_another.both("order", "book").await {
        assert_eq!(told["symbol"], "BTCUSD");
    }
    for (query, status, code) in [
        ("?depth=0", 400, "INVALID_PARAMETER"),
        ("?symbol=NOPE", 422, "UNKNOWN_SYMBOL"),
        ("?user_id=", 422, "INVALID_USER_ID"),
    ] {
        let (got, answer) = caller.get(&format!("/api/stream{query}")).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)));
    }
    api.stop().await;
}

/// Whoever does not read is not waited for, and told afterwards how much it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_listener_holds_nothing_up_and_learns_what_it_missed() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    let mut slow = Stream::open(caller, "?symbol=ETHUSD&user_id=a").await;
    // More than connections, channels and the feed keep.
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for n in 0..1500 {
                    place(&caller, "a", if n % 2 == 0 { "BUY" } else { "SELL" }, 1 + n % 3).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let (missed, _) = slow.next("missed").await;
    assert!(missed["records"].as_u64().unwrap() > 0, "{missed}");
    let (order, _) = slow.next("order").await;
    assert_eq!(order["user_id"], "a");
    api.stop().await;
}
