//! The thread that looks at queries and answers, and says what becomes of them.
//!
//! It sits in the target's network namespace, with a file table of its own: its socket is closed
//! by this process's end and by nothing else, and no child keeps it open.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::name::Name;
use super::packet::{self, Transport};
use super::rules::{HIT, OWN, Way, ways};
use super::{Answer, message};
use crate::network::queue::socket::{Packet, QueueSocket, Setup, accept, accept_marked};
use crate::network::queue::worker::be_punctual;
use crate::nft::enter_alone;
use crate::{Error, Result};

/// How many packets are read before those are looked after whose time has come.
const READ_MAX: usize = 256;
/// How many queries are held at most; one more passes at once.
const HELD_MAX: usize = 4096;
/// All of a packet: an answer is rewritten as a whole.
const COPY_BYTES: u32 = 0xffff;

/// The thread with its queues. Dropping it gives the queues back.
#[derive(Debug)]
pub(super) struct Worker {
    bell: OwnedFd,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    queues: Vec<u16>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// How long queries are held, nanoseconds.
    delay_ns: AtomicU64,
    /// The port that our own queries come from; 0: there are none.
    own_port: AtomicU16,
    /// Whom to tell when everything has been let through, and nothing is held any more.
    ease: Mutex<Option<SyncSender<()>>>,
}

/// How long letting through may take: it is a message a packet.
const EASED_WITHIN: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn start(netns: &Netns, answer: Answer, names: Vec<Name>) -> Result<Self> {
        let system = |e| Error::system("start a thread to look at DNS messages", e);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| system(e.into()))?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            delay_ns: AtomicU64::new(match answer {
                Answer::Late(delay) => nanoseconds(delay),
                _ => 0,
            }),
            own_port: AtomicU16::new(0),
            ease: Mutex::new(None),
        });
        let (done, ready) = sync_channel(1);
        let (theirs, netns, bell_number) = (Arc::clone(&shared), netns.clone(), bell.as_raw_fd());
        let thread = std::thread::Builder::new()
            .name("dns-queue".into())
            .spawn(move || match Work::prepare(netns, bell_number, answer, names, theirs) {
                Ok(mut work) => {
                    let numbers = work.queues.iter().map(|(number, _)| *number).collect();
                    let _ = done.send(Ok::<Vec<u16>, Error>(numbers));
                    work.run();
                }
                Err(error) => {
                    let _ = done.send(Err(error));
                }
            })
            .map_err(system)?;
        // From here on `Drop` clears up, on every way out.
        let mut worker = Self { bell, shared, thread: Some(thread), queues: Vec::new() };
        worker.queues = ready.recv().unwrap_or_else(|_| Err(is_gone()))?;
        Ok(worker)
    }

    /// The queues' numbers.
    pub(super) fn queues(&self) -> &[u16] {
        &self.queues
    }

    /// Holds what comes from now on for so long.
    pub(super) fn set_delay(&self, delay: Duration) {
        self.shared.delay_ns.store(nanoseconds(delay), Ordering::Relaxed);
    }

    /// Tells our own queries from the target's by their port.
    pub(super) fn set_own_port(&self, port: u16) {
        self.shared.own_port.store(port, Ordering::Relaxed);
    }

    /// Lets through what is held, and from now on all that comes. To be called before the table
    /// goes: with a chain, the kernel throws away what a queue of the namespace holds.
    pub(super) fn ease(&self) {
        let (done, eased) = sync_channel(1);
        *self.shared.ease.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        self.ring();
        // A thread that has ended holds nothing; then there is nobody to answer.
        let _ = eased.recv_timeout(EASED_WITHIN);
    }

    fn ring(&self) {
        // It only fails when it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// An error where nobody looks at messages any more.
    pub(super) fn check(&self) -> Result<()> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(is_gone());
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_gone() -> Error {
    Error::system(
        "reach the thread that looks at DNS messages",
        std::io::Error::other("it has ended, and queries and answers pass"),
    )
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A query that waits.
struct Held {
    due_ns: u64,
    queue: u16,
    id: u32,
    mark: u32,
}

struct Work {
    socket: QueueSocket,
    bell: OwnedFd,
    queues: Vec<(u16, Way)>,
    chooser: Chooser,
    /// In the order of their time: a shorter delay does not let a later query overtake.
    held: VecDeque<Held>,
    /// Everything passes: the fault is about to end.
    eased: bool,
}

/// Says which messages are meant, and what becomes of them.
struct Chooser {
    answer: Answer,
    names: Vec<Name>,
    shared: Arc<Shared>,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    /// It goes on with a mark, and with other bytes where there are some.
    Marked(u32, Option<Vec<u8>>),
    /// It waits, and goes on with a mark.
    Hold(u32),
}

impl Chooser {
    fn choose(&self, way: Way, packet: &[u8]) -> Fate {
        let Some(seen) = packet::seen(packet) else { return Fate::Pass };
        let name = &seen.question.name;
        let is_meant = self.names.is_empty() || self.names.iter().any(|domain| name.is_in(domain));
        if !is_meant || seen.question.is_response != (way == Way::Answers) {
            return Fate::Pass;
        }
        let own_port = self.shared.own_port.load(Ordering::Relaxed);
        let mark = if own_port != 0 && seen.client_port == own_port { OWN } else { HIT };
        let code = match self.answer {
            Answer::Drop => return Fate::Marked(mark, None),
            Answer::Late(_) => return Fate::Hold(mark),
            Answer::NoSuchName => message::NO_SUCH_NAME,
            Answer::ServerFailed => message::SERVER_FAILED,
            Answer::Refused => message::REFUSED,
        };
        if way == Way::Queries {
            // A rule behind the queue resets it.
            return if seen.transport == Transport::Tcp {
                Fate::Marked(mark, None)
            } else {
                Fate::Pass
            };
        }
        let mut rewritten = packet.to_vec();
        if packet::answer_otherwise(&mut rewritten, code) {
            Fate::Marked(mark, Some(rewritten))
        } else {
            Fate::Pass
        }
    }
}

impl Work {
    fn prepare(
        netns: Netns,
        bell: i32,
        answer: Answer,
        names: Vec<Name>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        enter_alone(netns, Some(bell))?;
        // SAFETY: it was kept when this thread's own file table was made, whose copy of it is
        // for exactly this owner.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        be_punctual();
        let mut socket = QueueSocket::open()?;
        let setup = Setup { copy_bytes: COPY_BYTES, big_segments: false, overflow_passes: true };
        let queues = ways(answer)
            .iter()
            .map(|way| Ok((socket.bind_free(now_ns() as u16, setup)?, *way)))
            .collect::<Result<_>>()?;
        let chooser = Chooser { answer, names, shared };
        Ok(Self { socket, bell, queues, chooser, held: VecDeque::new(), eased: false })
    }

    fn run(&mut self) {
        while !self.chooser.shared.stop.load(Ordering::Relaxed) {
            let next_ns = self.release(now_ns());
            if !self.wait(next_ns) || self.take_what_came().is_err() {
                // The kernel refuses to say what happens here: nothing can be held any longer.
                break;
            }
            self.ease_if_asked();
        }
        self.release(u64::MAX);
    }

    fn ease_if_asked(&mut self) {
        if rustix::io::read(&self.bell, &mut [0_u8; 8]).is_err() {
            return;
        }
        let asked = {
            let shared = &self.chooser.shared;
            shared.ease.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        if let Some(asked) = asked {
            self.eased = true;
            self.release(u64::MAX);
            let _ = asked.send(());
        }
    }

    /// Lets go what is due; says when the next is.
    fn release(&mut self, now_ns: u64) -> Option<u64> {
        while self.held.front().is_some_and(|held| held.due_ns <= now_ns) {
            let Some(held) = self.held.pop_front() else { break };
            accept_marked(self.socket.as_fd(), held.queue, held.id, held.mark, None);
        }
        self.held.front().map(|held| held.due_ns)
    }

    /// Waits for a packet, the bell, or the next packet's time. False: that is impossible.
    fn wait(&self, until_ns: Option<u64>) -> bool {
        let timeout = until_ns.map(|until_ns| {
            let ns = until_ns.saturating_sub(now_ns());
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
        });
        let mut files =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.bell, PollFlags::IN)];
        matches!(poll(&mut files, timeout.as_ref()), Ok(_) | Err(rustix::io::Errno::INTR))
    }

    fn take_what_came(&mut self) -> std::io::Result<()> {
        let Self { socket, queues, chooser, held, eased, .. } = self;
        socket.read(READ_MAX, |fd, packet| {
            let way = queues.iter().find(|(number, _)| *number == packet.queue);
            let fate = match way {
                Some((_, way)) if !*eased => chooser.choose(*way, packet.copied),
                _ => Fate::Pass,
            };
            let due_ns = now_ns().saturating_add(chooser.shared.delay_ns.load(Ordering::Relaxed));
            carry_out(fd, fate, packet, due_ns, held);
        })?;
        Ok(())
    }
}

fn carry_out(
    fd: BorrowedFd<'_>,
    fate: Fate,
    packet: &Packet<'_>,
    due_ns: u64,
    held: &mut VecDeque<Held>,
) {
    let (queue, id) = (packet.queue, packet.id);
    match fate {
        Fate::Hold(mark) if held.len() < HELD_MAX => {
            let after = held.back().map_or(0, |last| last.due_ns);
            held.push_back(Held { due_ns: due_ns.max(after), queue, id, mark });
        }
        Fate::Hold(_) | Fate::Pass => accept(fd, queue, id, None),
        Fate::Marked(mark, changed) => accept_marked(fd, queue, id, mark, changed.as_deref()),
    }
}
