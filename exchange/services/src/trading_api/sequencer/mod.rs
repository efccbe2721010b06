//! The one thread through which every change goes.
//!
//! A request is decided on, and if it is accepted its record is appended to the journal.
//! When the journal says that the record is durable it is applied to the state, and only
//! then answered: durable first, then true, then told. Requests go on being decided while
//! the journal syncs, which is what its group commit lives on. The state's lock is held
//! for applying only, never across a sync.

mod answers;
mod carry_out;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use exchange_api::{AUTO_KEY_PREFIX, ApiError, ErrorCode, OrderView, ValidOrder};
use exchange_journal::{AppendError, Failure, Journal};
use exchange_matching::{ClientOrderId, Command, OrderId, Place, Replace, TextError, TimeInForce};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use self::answers::{cancelled, conflict, has, journal_failed, too_late};
use self::carry_out::carry_out;
use super::day::DayEnd;
use super::exchange::{ApplyError, Exchange, KeyUse, same_order};
use super::feed::Feed;
use super::metrics::Metrics;
use super::record::{Record, RecordError};
use super::relay::RelayState;
use crate::common::unix_us;

/// Requests taken on and not yet answered; beyond that they are turned away. Well below
/// what the journal's queue holds, so that appending never waits.
pub const REQUESTS_MAX: usize = 4096;

/// A day's end that is further away is a mistake of the clock's; one that was set back by less than an hour
/// ends no day twice.
const LONGEST_DAY_US: u64 = 25 * 3_600_000_000;

/// The answer to a request.
pub type Answer = Result<OrderView, ApiError>;

/// A change that somebody wants.
#[derive(Debug)]
enum Request {
    Place { order: ValidOrder, channel: &'static str, waiter: Waiter },
    Cancel { order_id: OrderId, waiter: Waiter },
    Replace { replace: Replace, waiter: Waiter },
}

/// What reaches the thread.
#[derive(Debug)]
enum Message {
    Request(Request),
    Durable(Result<u64, Arc<Failure>>),
    Tick,
    Stop,
}

/// Somebody who waits for an answer, with the place taken up in the queue.
#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

impl Waiter {
    fn answer(self, answer: Answer) {
        // Whoever asked may have hung up; the order stands all the same.
        let _ = self.reply.send(answer);
    }
}

/// Bounds on what is taken on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Orders, and replacements of orders, journalled but not yet in PostgreSQL.
    pub backlog_orders_max: u64,
    /// Orders resting in the books.
    pub live_orders_max: usize,
}

/// The sequencer cannot go on; the service must end, and start again from the journal.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The journal failed.
    #[error("the journal failed, nothing more is accepted: mend the disk and start again")]
    Journal(#[source] Arc<Failure>),
    /// The journal did not take a record.
    #[error("the journal did not take a record")]
    Append(#[source] AppendError),
    /// A record could not be encoded.
    #[error("could not encode a record")]
    Record(#[from] RecordError),
    /// A record could not be applied.
    #[error("could not carry out a record that is already durable")]
    Apply(#[from] ApplyError),
    /// A name made up here was refused.
    #[error("could not name an order")]
    Key(#[source] TextError),
}

/// How requests get to the sequencer.
#[derive(Clone, Debug)]
pub struct SequencerHandle {
    messages: mpsc::UnboundedSender<Message>,
    places: Arc<Semaphore>,
}

impl SequencerHandle {
    /// Places an order and waits until it is durable and carried out.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn place(&self, order: ValidOrder, channel: &'static str) -> Answer {
        self.ask(|waiter| Request::Place { order, channel, waiter }).await
    }

    /// Cancels an order and waits until that is durable.
    ///
    /// # Errors
    /// Why it could not be.
    pub async fn cancel(&self, order_id: OrderId) -> Answer {
        self.ask(|waiter| Request::Cancel { order_id, waiter }).await
    }

    /// Gives a resting order another price or quantity and waits until that is durable and carried out.
    ///
    /// # Errors
    /// Why it could not be.
    pub async fn replace(&self, replace: Replace) -> Answer {
        self.ask(|waiter| Request::Replace { replace, waiter }).await
    }

    async fn ask(&self, request: impl FnOnce(Waiter) -> Request) -> Answer {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::new(
                ErrorCode::Overloaded,
                format!("{REQUESTS_MAX} requests are waiting already; nothing was accepted"),
            )
        })?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Request(request(Waiter { reply, _place: place }));
        let sent = self.messages.send(message);
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            (Ok(()), Err(_)) => Err(journal_failed()),
            (Err(_), _) => Err(ApiError::new(
                ErrorCode::Overloaded,
                "the service is stopping; nothing was accepted",
            )),
        }
    }

    /// Lets the thread look at the clock.
    pub fn tick(&self) {
        let _ = self.messages.send(Message::Tick);
    }

    /// Lets the thread end after what has been asked before this.
    pub fn stop(&self) {
        let _ = self.messages.send(Message::Stop);
    }
}

/// The thread's belongings.
#[derive(Debug)]
pub struct Sequencer {
    journal: Arc<Journal>,
    exchange: Arc<RwLock<Exchange>>,
    relay: Arc<RelayState>,
    bounds: Bounds,
    durable: watch::Sender<u64>,
    feed: Feed,
    metrics: Metrics,
    messages: mpsc::UnboundedReceiver<Message>,
    /// Appended and not yet durable, in the order of the journal.
    in_flight: VecDeque<InFlight>,
    /// Keys of the orders among them, with their numbers in the journal.
    keys_in_flight: HashMap<ClientOrderId, u64>,
    cancels_in_flight: HashMap<OrderId, u64>,
    /// The last of each order, with what those before it have new.
    replaces_in_flight: HashMap<OrderId, (u64, Replace)>,
    next_order_id: OrderId,
    /// As [`Exchange::taken`], with what is in flight.
    taken: u64,
    day_end: DayEnd,
    /// When the day ends that is now, in microseconds since 1970.
    day_ends_us: u64,
    stopping: bool,
}

/// A record on its way to the disk, with those who wait for it.
#[derive(Debug)]
struct InFlight {
    seq: u64,
    record: Record,
    channel: &'static str,
    waiting: Vec<Waiter>,
}

impl Sequencer {
    /// Prepares the thread. `durable` tells readers how far the journal is durable, the feed what was done.
    pub fn new(
        journal: Arc<Journal>,
        exchange: Arc<RwLock<Exchange>>,
        relay: Arc<RelayState>,
        bounds: Bounds,
        day_end: DayEnd,
        (durable, feed): (watch::Sender<u64>, Feed),
        metrics: Metrics,
    ) -> (Self, SequencerHandle) {
        let (sender, messages) = mpsc::unbounded_channel();
        let news = sender.clone();
        let watched = journal.watch(move |durable| {
            let _ = news.send(Message::Durable(durable));
        });
        debug_assert!(watched, "a journal has one sequencer");
        let (next_order_id, taken, day_ends_us) = {
            let exchange = read(&exchange);
            // A day that ended while the service was away ends when it is back, before anything else.
            let now = unix_us();
            let since = if exchange.taken() > 0 { exchange.last_at_us().min(now) } else { now };
            (exchange.next_order_id(), exchange.taken(), day_end.next_after(since))
        };
        let sequencer = Self {
            journal,
            exchange,
            relay,
            bounds,
            durable,
            feed,
            metrics,
            messages,
            in_flight: VecDeque::new(),
            keys_in_flight: HashMap::new(),
            cancels_in_flight: HashMap::new(),
            replaces_in_flight: HashMap::new(),
            next_order_id,
            taken,
            day_end,
            day_ends_us,
            stopping: false,
        };
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        (sequencer, SequencerHandle { messages: sender, places })
    }

    /// Serves until told to stop and everything asked before is answered.
    ///
    /// # Errors
    /// When it cannot go on. Requests under way are answered with
    /// [`ErrorCode::JournalFailed`]: whether they took effect is not known.
    pub fn run(mut self) -> Result<(), SequencerError> {
        let ended = self.serve();
        for waiter in self.in_flight.drain(..).flat_map(|record| record.waiting) {
            waiter.answer(Err(journal_failed()));
        }
        ended
    }

    fn serve(&mut self) -> Result<(), SequencerError> {
        while !(self.stopping && self.in_flight.is_empty()) {
            self.end_day_if_over()?;
            match self.messages.blocking_recv() {
                None => break,
                Some(Message::Stop) => self.stopping = true,
                Some(Message::Tick) => {}
                Some(Message::Durable(Ok(seq))) => self.commit(seq)?,
                Some(Message::Durable(Err(failure))) => {
                    return Err(SequencerError::Journal(failure));
                }
                Some(Message::Request(Request::Place { order, channel, waiter })) => {
                    self.place(order, channel, waiter)?;
                }
                Some(Message::Request(Request::Cancel { order_id, waiter })) => {
                    self.cancel(order_id, waiter)?;
                }
                Some(Message::Request(Request::Replace { replace, waiter })) => {
                    self.replace(replace, waiter)?;
                }
            }
        }
        Ok(())
    }

    fn end_day_if_over(&mut self) -> Result<(), SequencerError> {
        let at_us = unix_us();
        // A clock that was far ahead, and is set right, must not make this day a long one.
        if self.day_ends_us > at_us.saturating_add(LONGEST_DAY_US) {
            self.day_ends_us = self.day_end.next_after(at_us);
        }
        if at_us < self.day_ends_us || self.stopping {
            return Ok(());
        }
        self.append(Record::EndDay { at_us }, "direct", Vec::new())?;
        self.day_ends_us = self.day_end.next_after(at_us);
        Ok(())
    }

    fn place(
        &mut self,
        order: ValidOrder,
        channel: &'static str,
        waiter: Waiter,
    ) -> Result<(), SequencerError> {
        if let Some(key) = &order.key {
            // The first use is on its way to the disk: wait with it.
            if let Some(seq) = self.keys_in_flight.get(key).copied()
                && let Some(first) = self.in_flight_mut(seq)
            {
                match &first.record {
                    Record::Place { place, .. } if same_order(place, &order) => {
                        first.waiting.push(waiter);
                    }
                    _ => waiter.answer(Err(conflict(key))),
                }
                return Ok(());
            }
            match read(&self.exchange).key_use(key, &order) {
                KeyUse::Free => {}
                KeyUse::Same(held) => {
                    waiter.answer(Ok(held.first_view()));
                    return Ok(());
                }
                KeyUse::Different(_) => {
                    waiter.answer(Err(conflict(key)));
                    return Ok(());
                }
            }
        }
        if let Err(refusal) = self.room_for(order.time_in_force) {
            waiter.answer(Err(refusal));
            return Ok(());
        }
        let order_id = self.next_order_id;
        let client_order_id = match order.key {
            Some(key) => key,
            None => ClientOrderId::new(&format!("{AUTO_KEY_PREFIX}{order_id}"))
                .map_err(SequencerError::Key)?,
        };
        let place = Place {
            order_id,
            client_order_id: client_order_id.clone(),
            user: order.user,
            symbol: order.symbol,
            side: order.side,
            kind: order.kind,
            quantity: order.quantity,
            time_in_force: order.time_in_force,
            post_only: order.post_only,
        };
        let seq = self.append(Record::Place { place, at_us: unix_us() }, channel, vec![waiter])?;
        self.next_order_id = OrderId(order_id.get() + 1);
        self.taken += 1;
        self.keys_in_flight.insert(client_order_id, seq);
        Ok(())
    }

    /// Every bound that refuses an order does so here, before anything is journalled.
    fn room_for(&self, time_in_force: TimeInForce) -> Result<(), ApiError> {
        self.room_in_backlog()?;
        let live = read(&self.exchange).live_orders() + self.in_flight.len();
        if time_in_force.may_rest() && live >= self.bounds.live_orders_max {
            return Err(ApiError::new(
                ErrorCode::BooksFull,
                "the books hold as many orders as they can; nothing was accepted",
            ));
        }
        Ok(())
    }

    fn room_in_backlog(&self) -> Result<(), ApiError> {
        if let Some(reason) = self.relay.halted() {
            return Err(ApiError::new(ErrorCode::StoreMismatch, reason));
        }
        let backlog = self.relay.backlog_orders(self.taken);
        if backlog >= self.bounds.backlog_orders_max {
            return Err(ApiError::new(
                ErrorCode::BacklogFull,
                format!(
                    "{backlog} orders wait for the database, which is the most; nothing was accepted"
                ),
            ));
        }
        Ok(())
    }

    fn cancel(&mut self, order_id: OrderId, waiter: Waiter) -> Result<(), SequencerError> {
        if let Some(seq) = self.cancels_in_flight.get(&order_id).copied()
            && let Some(first) = self.in_flight_mut(seq)
        {
            first.waiting.push(waiter);
            return Ok(());
        }
        {
            let exchange = read(&self.exchange);
            if !exchange.order(order_id).is_some_and(|held| held.state.status.is_live()) {
                waiter.answer(cancelled(&exchange, order_id));
                return Ok(());
            }
        }
        // Cancels pass the bound on the backlog: a trader may always get out, and there are
        // never more of them than orders.
        let record = Record::Cancel { order_id, at_us: unix_us() };
        let seq = self.append(record, "direct", vec![waiter])?;
        self.cancels_in_flight.insert(order_id, seq);
        Ok(())
    }

    fn replace(&mut self, replace: Replace, waiter: Waiter) -> Result<(), SequencerError> {
        let order_id = replace.order_id;
        let before = self.replaces_in_flight.get(&order_id).copied();
        let (answer, is_so) = {
            let exchange = read(&self.exchange);
            let held = exchange.order(order_id);
            let under_way = before.map(|(_, under_way)| under_way);
            let is_so = held.is_some_and(|held| has(held, under_way.as_ref(), &replace));
            match exchange.check(&Command::Replace(replace)) {
                Err(refused) => (Some(Err(too_late(&exchange, order_id, &refused))), is_so),
                Ok(()) => (held.filter(|_| is_so).map(|held| Ok(held.view())), is_so),
            }
        };
        // A client that did not hear the first answer asks again: the order must not lose its place in the
        // queue by that.
        if let Some((seq, _)) = before
            && is_so
            && let Some(last) = self.in_flight_mut(seq)
        {
            last.waiting.push(waiter);
            return Ok(());
        }
        // Unlike cancels, of which an order has one, replacements must not pass the bound.
        if let Some(answer) = answer.or_else(|| self.room_in_backlog().err().map(Err)) {
            waiter.answer(answer);
            return Ok(());
        }
        let record = Record::Replace { replace, at_us: unix_us() };
        let seq = self.append(record, "direct", vec![waiter])?;
        self.taken += 1;
        let under_way = before.map_or(replace, |(_, before)| Replace {
            order_id,
            price: replace.price.or(before.price),
            quantity: replace.quantity.or(before.quantity),
        });
        self.replaces_in_flight.insert(order_id, (seq, under_way));
        Ok(())
    }

    fn in_flight_mut(&mut self, seq: u64) -> Option<&mut InFlight> {
        let first = self.in_flight.front()?.seq;
        self.in_flight.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn append(
        &mut self,
        record: Record,
        channel: &'static str,
        waiting: Vec<Waiter>,
    ) -> Result<u64, SequencerError> {
        let appended = match record.encode() {
            // The watcher tells of every batch; a call-back per record would say it twice.
            Ok(payload) => self.journal.try_append(payload, |_| ()).map_err(SequencerError::Append),
            Err(error) => Err(error.into()),
        };
        match appended {
            Ok(seq) => {
                self.in_flight.push_back(InFlight { seq, record, channel, waiting });
                Ok(seq)
            }
            Err(error) => {
                for waiter in waiting {
                    waiter.answer(Err(journal_failed()));
                }
                Err(error)
            }
        }
    }

    /// Everything up to `durable_seq` is on the disk: carry it out, then tell.
    fn commit(&mut self, durable_seq: u64) -> Result<(), SequencerError> {
        let mut answers = Vec::new();
        {
            let mut exchange = self.exchange.write().unwrap_or_else(PoisonError::into_inner);
            while self.in_flight.front().is_some_and(|first| first.seq <= durable_seq) {
                let Some(InFlight { seq, record, channel, waiting }) = self.in_flight.pop_front()
                else {
                    break;
                };
                let (answer, effects) =
                    carry_out(&mut exchange, &self.metrics, record.clone(), channel)?;
                self.feed.tell(&exchange, seq, record.at_us(), &effects);
                match record {
                    Record::Place { place, .. } => {
                        self.keys_in_flight.remove(&place.client_order_id);
                    }
                    Record::Cancel { order_id, .. } => {
                        self.cancels_in_flight.remove(&order_id);
                    }
                    Record::Replace { replace: Replace { order_id, .. }, .. } => {
                        if self
                            .replaces_in_flight
                            .get(&order_id)
                            .is_some_and(|(last, _)| *last == seq)
                        {
                            self.replaces_in_flight.remove(&order_id);
                        }
                    }
                    Record::Genesis { .. } | Record::EndDay { .. } => {}
                }
                // Nobody waits for the end of a day.
                answers.extend(answer.map(|answer| (answer, waiting)));
            }
            self.relay.placed_orders(exchange.taken());
        }
        self.durable.send_replace(durable_seq);
        for (answer, waiting) in answers {
            for waiter in waiting {
                waiter.answer(answer.clone());
            }
        }
        Ok(())
    }
}

fn read(exchange: &RwLock<Exchange>) -> std::sync::RwLockReadGuard<'_, Exchange> {
    exchange.read().unwrap_or_else(PoisonError::into_inner)
}
