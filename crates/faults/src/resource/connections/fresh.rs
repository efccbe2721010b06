//! A connection of its own, once a second: would anybody else get one?

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::super::listed::inside;
use super::Speak;
use super::speak::{Heard, words};

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);
/// A server that says nothing and does not close in this time has taken the connection.
const SILENCE: Duration = Duration::from_millis(200);
/// Answers are looked at up to here.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// What fresh connections have met with.
#[derive(Debug, Default, Clone)]
pub(super) struct Asked {
    pub(super) taken: u64,
    pub(super) refused: u64,
    /// The server's words, or the kernel's, when it last refused.
    pub(super) said: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<(Asked, bool)>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Asked, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(super) struct Fresh {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Fresh {
    pub(super) fn start(from: Netns, to: SocketAddr, speak: Speak) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("fresh connection".into()).spawn(move || {
                // Where the namespace cannot be entered nothing is asked, and the counts say so.
                let _ = inside(&from, || ask_on(&of_thread, to, &speak));
            })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn asked(&self) -> Asked {
        self.shared.lock().0.clone()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.shared.lock().1 = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask_on(shared: &Shared, to: SocketAddr, speak: &Speak) {
    loop {
        let answer = ask(to, speak);
        let mut state = shared.lock();
        match answer {
            Ok(()) => state.0.taken += 1,
            Err(said) => {
                state.0.refused += 1;
                state.0.said = Some(said);
            }
        }
        let wait = shared.changed.wait_timeout_while(state, EVERY, |(_, stop)| !*stop);
        if wait.unwrap_or_else(PoisonError::into_inner).0.1 {
            return;
        }
    }
}

fn ask(to: SocketAddr, speak: &Speak) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(failed)?;
    // A reset at the end, as the held ones have it.
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    let patience = if *speak == Speak::Tcp { SILENCE } else { PATIENCE };
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(&speak.question(to)).map_err(failed)?;
    let deadline_ns = now_ns() + u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while heard.len() < ANSWER_BYTES_MAX {
        let left = Duration::from_nanos(deadline_ns.saturating_sub(now_ns()));
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).map_err(failed)?;
        match stream.read(&mut buffer) {
            Ok(0) if heard.is_empty() => {
                return Err("it closed the connection without a word".into());
            }
            Ok(0) => return Err(words(&heard)),
            Ok(bytes) => heard.extend_from_slice(&buffer[..bytes]),
            Err(error) if is_late(&error) && *speak == Speak::Tcp => return Ok(()),
            Err(error) if is_late(&error) => return Err("it did not answer within 1 s".into()),
            Err(error) => return Err(error.to_string()),
        }
        match speak.heard(&heard) {
            Heard::More => {}
            Heard::Taken => return Ok(()),
            Heard::Refused(said) => return Err(said),
        }
    }
    Err("its answer has no end".into())
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
