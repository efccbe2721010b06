//! Our own queries, from the target's namespace to its resolver: what somebody who resolves a name
//! there meets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_host::target::Target;

use super::message::{self, Question};
use super::name::Name;

/// How many queries are made before the fault, and how long they may take together: the fault
/// waits for them.
const BEFORE_MAX: usize = 3;
const BEFORE_WITHIN: Duration = Duration::from_millis(30);
/// How long after an answer the next query follows.
const PAUSE: Duration = Duration::from_millis(250);
/// How long after its time an answer may come.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many queries are remembered.
const REMEMBERED_MAX: usize = 4096;

/// What came of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer with this code, after so many nanoseconds.
    Answered {
        code: u16,
        ns: u64,
    },
    Silent,
}

/// Who is asked for what.
#[derive(Debug)]
pub(super) struct Probe {
    socket: UdpSocket,
    pub(super) resolver: IpAddr,
    name: Name,
    next_id: u16,
}

impl Probe {
    pub(super) fn new(target: &Target, resolver: IpAddr, name: Name) -> io::Result<Self> {
        let any: IpAddr = match resolver {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = target.netns.run(|| {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(SocketAddr::new(resolver, 53))?;
            Ok::<_, io::Error>(socket)
        })??;
        Ok(Self { socket, resolver, name, next_id: now_ns() as u16 })
    }

    /// The port that its queries come from.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Asks once, and waits at most so long.
    fn ask(&mut self, within: Duration) -> Outcome {
        self.next_id = self.next_id.wrapping_add(1);
        let began_ns = now_ns();
        if self.socket.send(&message::query(self.next_id, &self.name)).is_err() {
            return Outcome::Silent;
        }
        let mut buffer = [0; 4096];
        loop {
            let passed = Duration::from_nanos(now_ns().saturating_sub(began_ns));
            let left = within.saturating_sub(passed);
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return Outcome::Silent;
            }
            let length = match self.socket.recv(&mut buffer) {
                // Nothing is what a socket says that has been shut down.
                Err(_) | Ok(0) => return Outcome::Silent,
                Ok(length) => length,
            };
            let ns = now_ns().saturating_sub(began_ns);
            // The answer to an earlier one that came too late is not this one's.
            if let Some(answer) = Question::parse(&buffer[..length])
                && answer.is_response
                && answer.id == self.next_id
            {
                return Outcome::Answered { code: answer.code, ns };
            }
        }
    }

    /// How long answers take without the fault, nanoseconds. None: the resolver did not answer in
    /// the time that there is.
    pub(super) fn before(&mut self) -> Option<u64> {
        let began_ns = now_ns();
        let mut took = Vec::new();
        for _ in 0..BEFORE_MAX {
            let passed = Duration::from_nanos(now_ns().saturating_sub(began_ns));
            match self.ask(BEFORE_WITHIN.saturating_sub(passed)) {
                Outcome::Answered { ns, .. } => took.push(ns),
                Outcome::Silent => break,
            }
        }
        median(took)
    }
}

/// The middle one.
pub(super) fn median(mut figures: Vec<u64>) -> Option<u64> {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied()
}

/// A thread that asks again and again. Dropping it ends it.
pub(super) struct Asking {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Wakes the thread where it waits for an answer.
    socket: UdpSocket,
}

impl Asking {
    /// Answers are expected after `delay` at least.
    pub(super) fn start(mut probe: Probe, delay: Duration) -> io::Result<Self> {
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = sync_channel(0);
        let (theirs, socket) = (Arc::clone(&outcomes), probe.socket.try_clone()?);
        let thread = std::thread::Builder::new().name("dns-probe".into()).spawn(move || {
            loop {
                let outcome = probe.ask(delay + PATIENCE);
                if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let mut outcomes = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                if outcomes.len() < REMEMBERED_MAX {
                    outcomes.push(outcome);
                }
            }
        })?;
        Ok(Self { outcomes, stop: Some(stop), thread: Some(thread), socket })
    }

    /// What has come of the queries so far.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what has come of them: the dose is another.
    pub(super) fn begin_again(&self) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop = None;
        // SAFETY: the descriptor is the live socket's. Shutting it down ends a wait for an answer.
        unsafe { libc::shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.socket), libc::SHUT_RD) };
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first resolver that a target's processes are told to ask.
pub(super) fn resolver(target: &Target) -> Option<IpAddr> {
    target.processes_now().into_iter().find_map(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/root/etc/resolv.conf")).ok()?;
        nameserver(&text)
    })
}

fn nameserver(resolv_conf: &str) -> Option<IpAddr> {
    resolv_conf.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nameserver_is_asked() {
        for (text, expected) in [
            ("# none\noptions ndots:0\n", None),
            ("search x\nnameserver 127.0.0.11\nnameserver 1.2.3.4\n", Some("127.0.0.11")),
            ("nameserver ::1", Some("::1")),
            ("nameserver fe80::1%eth0\nnameserver 10.0.0.1\n", Some("10.0.0.1")),
        ] {
            assert_eq!(nameserver(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_middle_of_nothing_is_nothing() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3, 1, 2]), Some(2));
    }
}
