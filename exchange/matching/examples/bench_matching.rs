//! How fast the books are: a mixed stream of new orders, cancels and replaces on one thread.
//!
//! The stream is made beforehand and given to a fresh engine each time, so that neither chance nor making
//! commands is in the figures. How long one operation takes is measured in a pass of its own, because a look at
//! the clock costs about as much as an operation. An argument is another seed.
//!
//! Most orders that are cancelled or replaced are young ones, as on real exchanges, where the book is full of
//! orders that nobody touches. A second stream picks any order alike: then nearly every operation waits for
//! memory that it has not seen for long. It is there to be looked at, and nothing is promised of it.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, looks at the clock, and stops where something is wrong; its figures are rounded"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use exchange_matching::{
    Cancel, ClientOrderId, Command, Engine, Limits, Lots, OrderId, OrderKind, Place, Replace, Side,
    Symbol, Ticks, TimeInForce, UserId,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// As the exchange has them, which keeps finished orders itself, beside what their clients called them.
const LIMITS: Limits = Limits { live_orders_max: usize::MAX, finished_orders_max: 0 };
const RESTING: usize = 100_000;
const OPERATIONS: usize = 2_000_000;
const USERS: usize = 1_000;
const ROUNDS: usize = 5;
/// How many orders are young.
const YOUNG: usize = 1_000;
const MILLION: f64 = 1e6;

fn main() -> ExitCode {
    let seed = std::env::args().nth(1).map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let (millions, p999_us) = measured("three in four are young", &Stream::new(seed, 0.75));
    let met = [
        tell("million operations a second", millions, 5.0, millions >= 5.0),
        tell("p99.9 of one operation, µs", p999_us, 10.0, p999_us <= 10.0),
    ];
    measured("any order alike", &Stream::new(seed, 0.0));
    if met.iter().all(|met| *met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Million operations a second, and the microseconds that one operation in a thousand takes.
fn measured(what: &str, stream: &Stream) -> (f64, f64) {
    println!("cancelled and replaced: {what}");
    stream.describe();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| stream.millions_per_second()).collect();
    rounds.sort_by(f64::total_cmp);
    println!("  {ROUNDS} rounds, million operations a second: {rounds:.2?}");
    let mut nanoseconds = stream.nanoseconds_each();
    nanoseconds.sort_unstable();
    let quantile = |q: f64| nanoseconds[((nanoseconds.len() - 1) as f64 * q) as usize];
    println!(
        "  one operation, with a look at the clock: p50 {} ns, p99 {} ns, p99.9 {} ns, longest {} ns",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
    (rounds[ROUNDS / 2], quantile(0.999) as f64 / 1e3)
}

fn tell(what: &str, figure: f64, bound: f64, met: bool) -> bool {
    println!("{what:<40} {figure:>9.3} (promised: {bound}) {}", if met { "met" } else { "MISSED" });
    met
}

/// Commands that fill the books, and those that are measured.
struct Stream {
    filling: Vec<Command>,
    measured: Vec<Command>,
    /// As it is in the end; each pass must arrive there.
    end: Engine,
    trades: usize,
}

impl Stream {
    fn new(seed: u64, young: f64) -> Self {
        let mut maker = Maker::new(seed, young);
        let mut filling = Vec::new();
        while maker.engine.live_orders() < RESTING {
            let place = maker.place(false);
            filling.push(maker.done(place));
        }
        maker.trades = 0;
        let measured = (0..OPERATIONS).map(|_| maker.next()).collect();
        Self { filling, measured, end: maker.engine, trades: maker.trades }
    }

    fn describe(&self) {
        let count = |is: fn(&Command) -> bool| {
            let count = self.measured.iter().filter(|command| is(command)).count();
            count as f64 * 100.0 / self.measured.len() as f64
        };
        println!(
            "  {OPERATIONS} operations ({:.0} % new, {:.0} % cancels, {:.0} % replaces) make {} trades",
            count(|command| matches!(command, Command::Place(_))),
            count(|command| matches!(command, Command::Cancel(_))),
            count(|command| matches!(command, Command::Replace(_))),
            self.trades
        );
        let depths = Symbol::ALL.iter().map(|symbol| self.end.depth(*symbol, usize::MAX));
        println!(
            "  {} orders of {USERS} users rest at {} prices of {} symbols",
            self.end.live_orders(),
            depths.map(|depth| depth.bids.len() + depth.asks.len()).sum::<usize>(),
            Symbol::ALL.len()
        );
    }

    fn filled(&self) -> Engine {
        let mut engine = Engine::new(LIMITS);
        for command in &self.filling {
            engine.apply(command).unwrap();
        }
        engine
    }

    fn millions_per_second(&self) -> f64 {
        let mut engine = self.filled();
        let began = Instant::now();
        for command in &self.measured {
            let _ = black_box(engine.apply(black_box(command)));
        }
        let took = began.elapsed().as_secs_f64();
        assert_eq!(engine.digest(), self.end.digest(), "the same commands, another state");
        self.measured.len() as f64 / took / MILLION
    }

    fn nanoseconds_each(&self) -> Vec<u64> {
        let mut engine = self.filled();
        let took = self.measured.iter().map(|command| {
            let began = Instant::now();
            let _ = black_box(engine.apply(black_box(command)));
            u64::try_from(began.elapsed().as_nanos()).unwrap()
        });
        took.collect()
    }
}

/// Makes commands up, and carries them out to know what a trader would cancel or replace next.
struct Maker {
    random: StdRng,
    users: Vec<UserId>,
    engine: Engine,
    /// Orders that may still rest.
    live: Vec<OrderId>,
    /// How many of the orders that are cancelled or replaced are young, at least.
    young: f64,
    /// Around which the orders of a symbol are placed; it walks.
    centres: Vec<u64>,
    last_id: u64,
    trades: usize,
}

impl Maker {
    fn new(seed: u64, young: f64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            users: (0..USERS).map(|user| UserId::new(&format!("user-{user}")).unwrap()).collect(),
            engine: Engine::new(LIMITS),
            live: Vec::new(),
            young,
            centres: vec![100_000; Symbol::ALL.len()],
            last_id: 0,
            trades: 0,
        }
    }

    fn next(&mut self) -> Command {
        // More orders come than are cancelled while there is room, and fewer while there is none.
        let cancels = if self.engine.live_orders() < RESTING { 25 } else { 50 };
        let command = match self.random.random_range(0..100) {
            0..15 => self.replace(),
            what if what < 15 + cancels => Command::Cancel(Cancel { order_id: self.resting() }),
            _ => {
                let crosses = self.random.random_ratio(1, 8);
                self.place(crosses)
            }
        };
        self.done(command)
    }

    fn done(&mut self, command: Command) -> Command {
        let effects = self.engine.apply(&command).unwrap();
        self.trades += effects.trades.len();
        let order = &effects.orders[0];
        if order.status.is_live() {
            self.live.push(order.order_id);
        }
        command
    }

    /// Most orders come near the touch; one that crosses goes a few ticks beyond it.
    fn place(&mut self, crosses: bool) -> Command {
        let random = &mut self.random;
        self.last_id += 1;
        let symbol = Symbol::ALL[random.random_range(0..Symbol::ALL.len())];
        let centre = &mut self.centres[symbol.index()];
        if random.random_ratio(1, 64) {
            *centre = if random.random() { *centre + 1 } else { *centre - 1 };
        }
        let side = if random.random() { Side::Buy } else { Side::Sell };
        let away = 1 + (-60.0 * (1.0 - random.random::<f64>()).ln()) as u64;
        let away = if crosses { away.min(3) } else { away };
        let price = if (side == Side::Buy) == crosses { *centre + away } else { *centre - away };
        let time_in_force = match random.random_range(0..10) {
            0 => TimeInForce::ImmediateOrCancel,
            1 => TimeInForce::FillOrKill,
            2..5 => TimeInForce::Day,
            _ => TimeInForce::GoodTillCancel,
        };
        Command::Place(Place {
            order_id: OrderId(self.last_id),
            client_order_id: ClientOrderId::new(&format!("client-{}", self.last_id)).unwrap(),
            user: self.users[random.random_range(0..USERS)].clone(),
            symbol,
            side,
            kind: OrderKind::Limit { price_ticks: Ticks(price) },
            quantity: Lots(random.random_range(1..100)),
            time_in_force: if crosses { time_in_force } else { TimeInForce::GoodTillCancel },
            post_only: !crosses && random.random_ratio(1, 4),
        })
    }

    /// Half of them only become smaller, half go to the next price.
    fn replace(&mut self) -> Command {
        let order_id = self.resting();
        let order = self.engine.order(order_id).unwrap();
        let (price, traded) = (order.kind.price().unwrap().0, order.cum_qty.0);
        let smaller = Lots(traded + (order.quantity.0 - traded).div_ceil(2));
        let price = if self.random.random() { price + 1 } else { price - 1 };
        Command::Replace(if self.random.random() {
            Replace { order_id, price: None, quantity: Some(smaller) }
        } else {
            Replace { order_id, price: Some(Ticks(price)), quantity: None }
        })
    }

    fn resting(&mut self) -> OrderId {
        loop {
            let count = self.live.len();
            let order_id = if self.random.random_bool(self.young) {
                self.live.remove(self.random.random_range(count.saturating_sub(YOUNG)..count))
            } else {
                self.live.swap_remove(self.random.random_range(0..count))
            };
            if self.engine.order(order_id).is_some_and(|order| order.status.is_live()) {
                return order_id;
            }
        }
    }
}
