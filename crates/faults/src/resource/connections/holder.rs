//! The thread that opens connections, holds them, and opens again what the server closes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::Speak;
use super::speak::{Heard, words};

/// How many connections are under way at once: a server that forks for each is not stormed.
const UNDER_WAY_MAX: usize = 64;
/// How long lies between two openings at least: 2,000 a second at most.
const PACE_NS: u64 = 500_000;
/// How long a refusal is respected before the next attempt: 10 a second at most.
const RETRY_NS: u64 = 100_000_000;
/// How long a connection may take until it stands, and until the server has answered.
const CONNECT_NS: u64 = 2_000_000_000;
const ANSWER_NS: u64 = 5_000_000_000;
/// A server that says nothing and closes as soon as this has refused the connection.
const SETTLED_NS: u64 = 200_000_000;
/// How long nothing may have been taken for a refusal to mean that nothing more is given.
const QUIET_NS: u64 = 300_000_000;
/// What is kept of what a held connection hears: enough for the server's last words.
const HEARD_BYTES_MAX: usize = 128 * 1024;
const WAKE: u64 = u64::MAX;

/// What is going on, as seen from outside the thread.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// Connections that the server has taken and not closed.
    pub(super) held: u32,
    pub(super) held_most: u32,
    /// Attempts of ours that failed, with the words of the last.
    pub(super) refused: u64,
    pub(super) said: Option<String>,
    /// Why no more are opened although more are wanted: the bound is ours, not the server's.
    pub(super) own_limit: Option<String>,
    /// As many as wanted are held, or the server gives no more.
    pub(super) is_full: bool,
}

#[derive(Debug, Default)]
struct State {
    want: u32,
    stop: bool,
    seen: Seen,
    /// The addresses that ours come from, by which the server's kernel knows them, and whether
    /// the server has taken the connection.
    sockets: HashMap<SocketAddr, bool>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake: OwnedFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that are held until it is dropped.
#[derive(Debug)]
pub(super) struct Holder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Begins to open `want` connections to `to` from inside a namespace.
    pub(super) fn start(from: Netns, to: SocketAddr, speak: Speak, want: u32) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let state = Mutex::new(State { want, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), wake });
        let mut worker = Worker {
            to,
            speak,
            epoll,
            shared: Arc::clone(&shared),
            connections: HashMap::new(),
            under_way: HashSet::new(),
            settling: BTreeMap::new(),
            next_token: 0,
            may_open_ns: 0,
            taken_ns: 0,
            refused_ns: 0,
        };
        let (entered, has_entered) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("connections".into()).spawn(move || {
            let moved = match Netns::of_this_thread() {
                Ok(own) if own == from => Ok(()),
                _ => move_into_link_name_space(from.as_fd(), Some(LinkNameSpaceType::Network)),
            };
            let is_in = moved.is_ok();
            let _ = entered.send(moved);
            if is_in {
                worker.work();
            }
        })?;
        let holder = Self { shared, thread: Some(thread) };
        has_entered.recv().map_err(io::Error::other)??;
        Ok(holder)
    }

    /// Waits until it is full, at most this long, and says what is seen then.
    pub(super) fn wait_full(&self, bound: Duration) -> Seen {
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), bound, |state| {
            !state.seen.is_full && !state.stop
        });
        waited.unwrap_or_else(PoisonError::into_inner).0.seen.clone()
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared.lock().seen.clone()
    }

    /// The addresses that ours come from: those of the held ones, or all.
    pub(super) fn sockets(&self, held_only: bool) -> HashSet<SocketAddr> {
        let state = self.shared.lock();
        let wanted = state.sockets.iter().filter(|(_, held)| **held || !held_only);
        wanted.map(|(address, _)| *address).collect()
    }

    pub(super) fn set_want(&self, want: u32) {
        let mut state = self.shared.lock();
        state.want = want;
        state.seen.is_full = false;
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Asking,
    Held,
}

struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    stage: Stage,
    /// When it came into its stage.
    since_ns: u64,
    heard: Vec<u8>,
}

/// How a connection ended.
enum End {
    Refused(String),
    Lost,
}

struct Worker {
    to: SocketAddr,
    speak: Speak,
    epoll: OwnedFd,
    shared: Arc<Shared>,
    connections: HashMap<u64, Connection>,
    /// Those that are not held yet.
    under_way: HashSet<u64>,
    /// Those of a server that does not answer, which may still be closed at once, and since when.
    settling: BTreeMap<u64, u64>,
    next_token: u64,
    may_open_ns: u64,
    /// When the server last took a connection, and when it last refused one.
    taken_ns: u64,
    refused_ns: u64,
}

impl Worker {
    fn work(&mut self) {
        let mut events = Vec::with_capacity(256);
        loop {
            let (want, stop, can_open) = {
                let state = self.shared.lock();
                (state.want as usize, state.stop, state.seen.own_limit.is_none())
            };
            if stop {
                return;
            }
            self.close_surplus(want);
            if can_open {
                self.open_due(want);
            }
            self.settle();
            self.publish(want);
            let is_busy = !self.under_way.is_empty()
                || !self.settling.is_empty()
                || self.connections.len() < want;
            let wait_ms = if is_busy { 5 } else { 500 };
            let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                // Nothing that could be wrong with it can change: the connections end here.
                Err(_) => return,
            }
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
                    }
                    token => self.attend(token),
                }
            }
            self.give_up_late_ones();
        }
    }

    fn close_surplus(&mut self, want: usize) {
        let surplus = self.connections.len().saturating_sub(want);
        let tokens: Vec<u64> = self.connections.keys().copied().take(surplus).collect();
        for token in tokens {
            self.remove(token);
        }
    }

    fn open_due(&mut self, want: usize) {
        let now = now_ns();
        // Time in which nothing was due is not made up for by a storm.
        self.may_open_ns = self.may_open_ns.max(now.saturating_sub(20 * PACE_NS));
        while self.connections.len() < want
            && self.under_way.len() < UNDER_WAY_MAX
            && self.may_open_ns <= now
        {
            self.may_open_ns += PACE_NS;
            match self.open() {
                Ok(()) => {}
                Err(error) if is_own_limit(error) => {
                    self.shared.lock().seen.own_limit =
                        Some(format!("this side has none left: {}", io::Error::from(error)));
                    return;
                }
                Err(error) => self.refuse(io::Error::from(error).to_string()),
            }
        }
    }

    fn open(&mut self) -> rustix::io::Result<()> {
        let family = match self.to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        // Closed, however it comes to that, with a reset: the server has its place back at once,
        // and no port of ours waits for a minute.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match rustix::net::connect(&socket, &self.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from(socket);
        let from = stream.local_addr().map_err(|_| Errno::CONNREFUSED)?;
        let token = self.next_token;
        let interest = epoll::EventFlags::OUT | epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(token), interest)?;
        self.next_token += 1;
        self.shared.lock().sockets.insert(from, false);
        self.under_way.insert(token);
        let stage = Stage::Connecting;
        let connection = Connection { stream, from, stage, since_ns: now_ns(), heard: Vec::new() };
        self.connections.insert(token, connection);
        Ok(())
    }

    fn attend(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let was = connection.stage;
        let end = connection.advance(&self.speak, self.to, &self.epoll, token).err();
        if was != Stage::Held && connection.stage == Stage::Held {
            self.under_way.remove(&token);
            if self.speak.is_answered() {
                self.take(token);
            } else {
                self.settling.insert(token, now_ns());
            }
        }
        if let Some(end) = end {
            self.remove(token);
            match end {
                End::Refused(said) => self.refuse(said),
                // Its place is free: it is taken again before others find it.
                End::Lost => {}
            }
        }
    }

    fn refuse(&mut self, said: String) {
        let now = now_ns();
        self.refused_ns = now;
        self.may_open_ns = now + RETRY_NS;
        let mut state = self.shared.lock();
        state.seen.refused += 1;
        state.seen.said = Some(said);
    }

    fn remove(&mut self, token: u64) {
        self.under_way.remove(&token);
        self.settling.remove(&token);
        if let Some(connection) = self.connections.remove(&token) {
            self.shared.lock().sockets.remove(&connection.from);
        }
    }

    fn give_up_late_ones(&mut self) {
        let now = now_ns();
        let is_late = |connection: &Connection| match connection.stage {
            Stage::Connecting => now > connection.since_ns + CONNECT_NS,
            Stage::Asking => now > connection.since_ns + ANSWER_NS,
            Stage::Held => false,
        };
        let late: Vec<u64> = self
            .under_way
            .iter()
            .copied()
            .filter(|token| self.connections.get(token).is_some_and(is_late))
            .collect();
        for token in late {
            self.remove(token);
            self.refuse("it did not answer in time".into());
        }
    }

    /// What a server that does not answer has not closed by now, it has taken.
    fn settle(&mut self) {
        let now = now_ns();
        while let Some((&token, &since_ns)) = self.settling.first_key_value()
            && now > since_ns + SETTLED_NS
        {
            self.settling.remove(&token);
            self.take(token);
        }
    }

    fn take(&mut self, token: u64) {
        self.taken_ns = now_ns();
        if let Some(connection) = self.connections.get(&token) {
            self.shared.lock().sockets.insert(connection.from, true);
        }
    }

    fn publish(&mut self, want: usize) {
        let now = now_ns();
        let held = self.connections.len() - self.under_way.len() - self.settling.len();
        let is_refused = self.refused_ns > self.taken_ns
            && self.settling.is_empty()
            && (self.under_way.is_empty() || now > self.taken_ns + QUIET_NS);
        let mut state = self.shared.lock();
        let seen = &mut state.seen;
        seen.held = u32::try_from(held).unwrap_or(u32::MAX);
        seen.held_most = seen.held_most.max(seen.held);
        seen.is_full = held >= want || is_refused || seen.own_limit.is_some();
        if seen.is_full {
            self.shared.changed.notify_all();
        }
    }
}

impl Connection {
    /// Takes what has happened to the connection as far as it goes.
    fn advance(
        &mut self,
        speak: &Speak,
        to: SocketAddr,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<(), End> {
        let failed = |error: io::Error| End::Refused(error.to_string());
        if self.stage == Stage::Connecting {
            sockopt::socket_error(&self.stream)
                .and_then(|error| error)
                .map_err(|error| failed(error.into()))?;
            self.stream.write_all(&speak.opening(to)).map_err(failed)?;
            let interest = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            epoll::modify(epoll, &self.stream, epoll::EventData::new_u64(token), interest)
                .map_err(|error| failed(error.into()))?;
            self.stage = if speak.is_answered() { Stage::Asking } else { Stage::Held };
            self.since_ns = now_ns();
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.ended("it closed the connection without a word")),
                Ok(bytes) => self.hear(speak, &buffer[..bytes])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended(&error.to_string())),
            }
        }
    }

    fn hear(&mut self, speak: &Speak, bytes: &[u8]) -> Result<(), End> {
        if self.heard.len() < HEARD_BYTES_MAX {
            self.heard.extend_from_slice(bytes);
        }
        if self.stage == Stage::Asking {
            match speak.heard(&self.heard) {
                Heard::More => {}
                Heard::Taken => {
                    self.stage = Stage::Held;
                    self.since_ns = now_ns();
                    self.heard = Vec::new();
                }
                Heard::Refused(said) => return Err(End::Refused(said)),
            }
        }
        Ok(())
    }

    fn ended(&self, how: &str) -> End {
        let said = words(&self.heard);
        let said = if said.is_empty() { how.to_owned() } else { said };
        if self.stage == Stage::Held && now_ns() > self.since_ns + SETTLED_NS {
            End::Lost
        } else {
            End::Refused(said)
        }
    }
}

fn is_own_limit(error: Errno) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM].contains(&error)
}
