//! The thread that asks for echoes.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto,
    socket_with,
};
use temblor_event::DoseSeen;
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::samples::{Samples, doses};
use super::{EchoIds, icmp};
use crate::network::reset::diag;
use crate::network::{Dose, Peer, Prefix};
use crate::nft::enter_alone;
use crate::{Error, Result};

/// The time between two echoes, of either kind.
const EVERY: Duration = Duration::from_millis(50);
/// At first they come faster, so that a short fault is measured too.
const EVERY_AT_FIRST: Duration = Duration::from_millis(10);
const AT_FIRST: u64 = 40;
/// How long a peer that may answer is waited for before all are asked again.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// How many peers are asked whether they answer.
const CANDIDATES_MAX: usize = 8;

/// Echoes that are being asked for. Dropping it ends that.
#[derive(Debug)]
pub(in crate::network) struct Echoes {
    bell: OwnedFd,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
    service: String,
    trips: u32,
}

#[derive(Debug, Default)]
struct Shared {
    stop: bool,
    /// The peer that answers.
    peer: Option<IpAddr>,
    through: Samples,
    beside: Samples,
    /// The longest that the fault holds an echo.
    delay: Duration,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Echoes {
    /// Begins to ask. A round trip meets the fault `trips` times. What is asked for the moment is
    /// [`Self::begin`]'s.
    pub(in crate::network) fn start(
        netns: &Netns,
        service: &str,
        peers: &[Peer],
        ids: EchoIds,
        trips: u32,
    ) -> Result<Self> {
        let system = |e| Error::system("start a thread to measure round trips", e);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| system(e.into()))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (theirs, netns, bell_number) = (Arc::clone(&shared), netns.clone(), bell.as_raw_fd());
        let peers: Vec<Prefix> = peers.iter().map(|peer| peer.address).collect();
        let (done, ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("echoes".into())
            .spawn(move || {
                let prepared = Asking::prepare(netns, bell_number, peers, ids);
                match prepared {
                    Ok(mut asking) => {
                        let _ = done.send(Ok(()));
                        asking.run(&theirs);
                    }
                    Err(error) => {
                        let _ = done.send(Err(error));
                    }
                }
            })
            .map_err(system)?;
        // From here on `Drop` clears up, on every way out.
        let echoes = Self { bell, shared, thread: Some(thread), service: service.into(), trips };
        let ended = || system(std::io::Error::other("it ended at once"));
        ready.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(echoes)
    }

    /// Forgets what has been seen: from now on another dose is in place.
    pub(in crate::network) fn begin(&self, dose: Option<&Dose>) {
        let mut shared = lock(&self.shared);
        shared.through.clear();
        shared.beside.clear();
        shared.delay = match dose {
            Some(Dose::Latency { delay, jitter }) => *delay + *jitter,
            Some(Dose::Reorder { delay, .. }) => *delay,
            _ => Duration::ZERO,
        } * self.trips;
    }

    /// What the echoes say of the dose that is in place.
    pub(in crate::network) fn doses(&self, dose: &Dose) -> Vec<DoseSeen> {
        let shared = lock(&self.shared);
        let source = match shared.peer {
            Some(peer) => format!(
                "ICMP echoes of the kernel at {peer}, asked for in the network namespace of {}: \
                 those that the fault meets against those that it spares",
                self.service
            ),
            None => format!(
                "no peer of {} has answered an ICMP echo so far: nothing could be measured",
                self.service
            ),
        };
        doses(dose, self.trips, &shared.through, &shared.beside, now_ns(), &source)
    }
}

impl Drop for Echoes {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        // It only fails when it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Asking {
    bell: OwnedFd,
    v4: OwnedFd,
    /// None: the machine has no IPv6.
    v6: Option<OwnedFd>,
    peers: Vec<Prefix>,
    ids: EchoIds,
}

impl Asking {
    fn prepare(netns: Netns, bell: i32, peers: Vec<Prefix>, ids: EchoIds) -> Result<Self> {
        enter_alone(netns, Some(bell))?;
        // SAFETY: this thread's file table has its own copy under the same number, kept open for
        // exactly this owner.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        crate::network::queue::be_punctual();
        let open = |family, protocol: i32| {
            let protocol = NonZeroU32::new(protocol as u32).map(Protocol::from_raw);
            socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        };
        let doing = "open a socket to ask for echoes by";
        let v4 =
            open(AddressFamily::INET, libc::IPPROTO_ICMP).map_err(|e| Error::system(doing, e))?;
        let v6 = match open(AddressFamily::INET6, libc::IPPROTO_ICMPV6) {
            Ok(v6) => Some(v6),
            Err(rustix::io::Errno::AFNOSUPPORT) => None,
            Err(e) => return Err(Error::system(doing, e)),
        };
        Ok(Self { bell, v4, v6, peers, ids })
    }

    fn run(&mut self, shared: &Mutex<Shared>) {
        let mut asked = 0_u64;
        let mut next_ns = now_ns();
        loop {
            let now = now_ns();
            if now >= next_ns {
                let every = self.ask(shared, &mut asked, now);
                next_ns = now + every.as_nanos() as u64;
            }
            let ns = next_ns.saturating_sub(now_ns());
            let timeout = Timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            };
            let mut files: Vec<PollFd<'_>> = [&self.bell, &self.v4]
                .into_iter()
                .chain(&self.v6)
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            match poll(&mut files, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            if self.listen(shared) {
                next_ns = now_ns();
            }
            if lock(shared).stop {
                return;
            }
        }
    }

    /// Asks for an echo, or for a peer that answers; says when to do so again.
    fn ask(&self, shared: &Mutex<Shared>, asked: &mut u64, now: u64) -> Duration {
        let mut shared = lock(shared);
        let delay = shared.delay;
        shared.through.expire(now, delay);
        shared.beside.expire(now, delay);
        let Some(peer) = shared.peer else {
            drop(shared);
            for candidate in self.candidates() {
                self.send(candidate, self.ids.beside, 0);
            }
            return SEARCH_EVERY;
        };
        let (kind, id) = if asked.is_multiple_of(2) {
            (&mut shared.beside, self.ids.beside)
        } else {
            (&mut shared.through, self.ids.through)
        };
        let number = kind.send(now_ns());
        drop(shared);
        self.send(peer, id, number);
        *asked += 1;
        if *asked < AT_FIRST { EVERY_AT_FIRST } else { EVERY }
    }

    fn send(&self, to: IpAddr, id: u16, number: u16) {
        let socket = if to.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        if let Some(socket) = socket {
            // One that cannot be sent is not answered, and counts as that.
            let request = icmp::request(to, id, number);
            let _ = sendto(socket, &request, SendFlags::DONTWAIT, &SocketAddr::new(to, 0));
        }
    }

    /// Takes the answers that have come; true when a peer has been found. The sockets see every
    /// ICMP packet of the namespace.
    fn listen(&self, shared: &Mutex<Shared>) -> bool {
        let mut found = false;
        let mut buffer = [0; 1024];
        for socket in std::iter::once(&self.v4).chain(&self.v6) {
            while let Ok((length, _, from)) = recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT)
            {
                let now = now_ns();
                let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else {
                    continue;
                };
                let Some((id, number)) = icmp::reply(from.ip(), &buffer[..length]) else {
                    continue;
                };
                let mut shared = lock(shared);
                if id == self.ids.through {
                    shared.through.answer(number, now);
                } else if id == self.ids.beside && shared.peer.is_none() {
                    shared.peer = Some(from.ip());
                    found = true;
                } else if id == self.ids.beside {
                    shared.beside.answer(number, now);
                }
            }
        }
        found
    }

    /// The peers that may be asked: those that are named, or those that the target is connected
    /// to.
    fn candidates(&self) -> Vec<IpAddr> {
        let mut candidates: Vec<IpAddr> =
            self.peers.iter().filter(|peer| peer.is_single()).map(|peer| peer.address()).collect();
        if candidates.is_empty() {
            candidates = connected_to().unwrap_or_default();
            candidates.retain(|address| {
                self.peers.is_empty() || self.peers.iter().any(|peer| peer.contains(*address))
            });
            candidates.sort_unstable();
            candidates.dedup();
        }
        candidates.truncate(CANDIDATES_MAX);
        candidates
    }
}

/// The addresses that somebody in this namespace is connected to.
fn connected_to() -> std::io::Result<Vec<IpAddr>> {
    let connections = diag::established(&mut diag::open()?)?;
    let addresses = connections.into_iter().map(|connection| connection.peer.ip());
    Ok(addresses.filter(|address| !address.is_loopback()).collect())
}
