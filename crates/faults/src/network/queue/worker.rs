//! The thread that holds packets and lets them go.
//!
//! It sits in the target's network namespace, with a file table of its own: its socket is closed
//! by this process's end and by nothing else, and no child keeps it open.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::copies::Copies;
use super::flip::{flip, own_bytes};
use super::line::{Fate, HELD_MAX, Line, Tally};
use super::rules::Way;
use super::socket::{Packet, QueueSocket, Setup, accept, accept_up_to, hand_on, lose};
use crate::network::Dose;
use crate::nft::enter_alone;
use crate::{Error, Result};

/// How many packets are read before those are looked after whose time has come.
const READ_MAX: usize = 256;
/// How many readings empty the queues at the end, full as they may be.
const READS_LEFT_MAX: usize = 4 * HELD_MAX / READ_MAX;
/// The headers up to the length of the packet.
const HEADER_BYTES: u32 = 40;
/// From this rate on, bytes per second, big segments pass a slower wire as they are: split, they
/// would cost more than the wire is slow.
const BIG_SEGMENTS_FROM: u64 = 50_000_000;

/// A thread with its queues, one a direction. Dropping it lets through what it holds, in order,
/// and gives the queues back.
#[derive(Debug)]
pub(super) struct Worker {
    bell: OwnedFd,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// One a direction, in the order of the directions; and those behind them.
    queues: Vec<u16>,
    behind: Vec<u16>,
}

#[derive(Debug)]
struct Shared {
    wish: Mutex<Wish>,
    tallies: Mutex<Vec<Tally>>,
    /// Whom to tell when everything has been let through, and nothing is held any more.
    ease: Mutex<Option<SyncSender<()>>>,
}

/// How long letting through may take: it is a message a packet.
const EASED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Wish {
    dose: Option<Dose>,
    stop: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Starts it with a queue for each direction, which all apply `dose`.
    pub(super) fn start(netns: &Netns, ways: &[Way], dose: Dose, seed: u64) -> Result<Self> {
        let system = |e| Error::system("start a thread to hold packets", e);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| system(e.into()))?;
        let shared = Arc::new(Shared {
            wish: Mutex::new(Wish { dose: Some(dose), stop: false }),
            tallies: Mutex::new(vec![Tally::default(); ways.len()]),
            ease: Mutex::new(None),
        });
        let (done, ready) = sync_channel(1);
        let (theirs, netns, bell_number) = (Arc::clone(&shared), netns.clone(), bell.as_raw_fd());
        let ways = ways.to_vec();
        let thread = std::thread::Builder::new()
            .name("packet-queue".into())
            .spawn(move || match Work::prepare(netns, bell_number, &ways, dose, seed) {
                Ok(mut work) => {
                    let queues = work.lanes.iter().map(|lane| lane.queue).collect();
                    let behind = work.lanes.iter().filter_map(|lane| lane.behind).collect();
                    let _ = done.send(Ok::<(Vec<u16>, Vec<u16>), Error>((queues, behind)));
                    work.run(&theirs);
                }
                Err(error) => {
                    let _ = done.send(Err(error));
                }
            })
            .map_err(system)?;
        // From here on `Drop` clears up, on every way out.
        let mut worker =
            Self { bell, shared, thread: Some(thread), queues: vec![], behind: vec![] };
        (worker.queues, worker.behind) = ready.recv().unwrap_or_else(|_| Err(is_gone()))?;
        Ok(worker)
    }

    /// The queues' numbers, one a direction, in the order of the directions.
    pub(super) fn queues(&self) -> &[u16] {
        &self.queues
    }

    /// All queues' numbers, also of those that no rule leads to.
    pub(super) fn all_queues(&self) -> Vec<u16> {
        [&self.queues[..], &self.behind].concat()
    }

    /// Changes the dose for what comes from now on.
    pub(super) fn set_dose(&self, dose: Option<Dose>) -> Result<()> {
        if self.has_ended() {
            return Err(is_gone());
        }
        lock(&self.shared.wish).dose = dose;
        self.ring();
        Ok(())
    }

    /// Lets through what is held, and from now on all that comes. To be called before the table
    /// goes: with a chain, the kernel throws away what a queue of the namespace holds.
    pub(super) fn ease(&self) {
        let (done, eased) = sync_channel(1);
        lock(&self.shared.wish).dose = None;
        *lock(&self.shared.ease) = Some(done);
        self.ring();
        // A thread that has ended holds nothing; then there is nobody to answer.
        let _ = eased.recv_timeout(EASED_WITHIN);
    }

    /// What it has done, a direction each.
    pub(super) fn tallies(&self) -> Result<Vec<Tally>> {
        if self.has_ended() {
            return Err(is_gone());
        }
        Ok(lock(&self.shared.tallies).clone())
    }

    /// For another thread: since when each direction has not been idle.
    pub(super) fn busy(&self) -> impl Fn() -> Vec<Option<u64>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || lock(&shared.tallies).iter().map(|tally| tally.busy_since_ns).collect()
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn ring(&self) {
        // It only fails when it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.shared.wish).stop = true;
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn is_gone() -> Error {
    Error::system(
        "reach the thread that holds packets",
        std::io::Error::other("it has ended, and packets pass as they come"),
    )
}

/// Whether packets are to be made their own before they are held. One on its way out counts
/// against its sender's socket for as long as it is held, and TCP sends only little while much of
/// its own has not left the machine ("small queues"): one connection's bulk data over a wire of
/// 20 ms would be a hundred times slower than it is. netem does the same for a delay. Before a
/// slower wire packets wait in a queue of the machine's own, and do count.
fn frees(way: Way, dose: &Dose) -> bool {
    way == Way::Out && matches!(dose, Dose::Latency { .. })
}

/// How packets are handed over.
fn setup(way: Way, dose: &Dose) -> Setup {
    let (copy_bytes, big_segments) = match *dose {
        Dose::Latency { .. } if frees(way, dose) => (u32::from(u16::MAX), false),
        Dose::Latency { .. } => (HEADER_BYTES, true),
        Dose::Bandwidth { bytes_per_second } => {
            (HEADER_BYTES, bytes_per_second >= BIG_SEGMENTS_FROM)
        }
        // What is taken by chance are packets as they are on the wire.
        Dose::Loss { .. } | Dose::Reorder { .. } => (HEADER_BYTES, false),
        Dose::Duplicate { .. } | Dose::Corrupt { .. } => (u16::MAX.into(), false),
    };
    Setup { copy_bytes, big_segments, overflow_passes: true }
}

/// How they are handed on, longer than they are: one that passed like that would be a wrong one.
const SETUP_BEHIND: Setup =
    Setup { copy_bytes: u16::MAX as u32, big_segments: false, overflow_passes: false };

/// One direction.
struct Lane {
    /// The queue that a rule hands packets to.
    queue: u16,
    /// The queue in which they are held, where that is another.
    behind: Option<u16>,
    line: Line,
    /// With a queue behind: which packets the line's tickets are for.
    held: HashMap<u32, Held>,
    ticket: u32,
}

/// A packet that is held.
struct Held {
    queue: u16,
    id: u32,
    /// The bytes that it leaves with, where they are not those that it has.
    bytes: Option<Vec<u8>>,
}

impl Lane {
    /// Lets go what is due.
    fn release(&mut self, fds: Fds<'_>, now: u64) {
        let mut last = None;
        while let Some(packet) = self.line.due(now) {
            if self.behind.is_some() {
                if let Some(Held { queue, id, bytes }) = self.held.remove(&packet) {
                    accept(fds.of(self, queue), queue, id, bytes.as_deref());
                }
            } else if self.line.keeps_order() {
                last = Some(packet);
            } else {
                accept(fds.front, self.queue, packet, None);
            }
        }
        // One message lets go all that came before, which is due too.
        if let Some(last) = last {
            accept_up_to(fds.front, self.queue, last);
        }
    }

    /// Takes a packet that has come, in a direction with a queue behind.
    fn take(&mut self, fds: Fds<'_>, packet: &Packet<'_>, behind: u16) {
        let is_new = packet.queue == self.queue;
        let has_room = self.held.len() < HELD_MAX;
        if is_new && has_room && !self.line.lets_pass() && hand_on(fds.front, packet, behind) {
            return;
        }
        let own = own_bytes(packet.copied).unwrap_or(packet.copied.len());
        let bytes = (!is_new).then(|| packet.copied[..own].to_vec());
        let length = if is_new { packet.bytes } else { own as u32 };
        self.ticket = self.ticket.wrapping_add(1);
        if self.line.take(now_ns(), self.ticket, length) == Fate::Hold {
            let held = Held { queue: packet.queue, id: packet.id, bytes };
            self.held.insert(self.ticket, held);
        } else {
            accept(fds.of(self, packet.queue), packet.queue, packet.id, bytes.as_deref());
        }
    }
}

/// The sockets of the queues in front and of those behind.
#[derive(Clone, Copy)]
struct Fds<'a> {
    front: BorrowedFd<'a>,
    behind: BorrowedFd<'a>,
}

impl<'a> Fds<'a> {
    fn of(self, lane: &Lane, queue: u16) -> BorrowedFd<'a> {
        if lane.queue == queue { self.front } else { self.behind }
    }
}

/// What the thread has.
struct Work {
    bell: OwnedFd,
    front: QueueSocket,
    /// Room of its own for what is handed on: it must not be lost for want of it.
    behind: QueueSocket,
    lanes: Vec<Lane>,
    /// What duplicates are sent by.
    copies: Option<Copies>,
}

impl Work {
    fn prepare(netns: Netns, bell: i32, ways: &[Way], dose: Dose, seed: u64) -> Result<Self> {
        enter_alone(netns, Some(bell))?;
        // SAFETY: this thread's file table has its own copy under the same number, kept open for
        // exactly this owner.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        be_punctual();
        let (mut front, mut behind) = (QueueSocket::open()?, QueueSocket::open()?);
        let lanes = (0_u64..)
            .zip(ways)
            .map(|(at, way)| {
                let seed = seed.wrapping_add(at);
                let queue = front.bind_free(seed as u16, setup(*way, &dose))?;
                let behind = frees(*way, &dose)
                    .then(|| behind.bind_free(seed as u16, SETUP_BEHIND))
                    .transpose()?;
                let line = Line::new(dose, seed);
                Ok(Lane { queue, behind, line, held: HashMap::new(), ticket: 0 })
            })
            .collect::<Result<_>>()?;
        let doubles = matches!(dose, Dose::Duplicate { .. });
        let copies = doubles.then(Copies::open).transpose()?;
        Ok(Self { bell, front, behind, lanes, copies })
    }

    fn run(&mut self, shared: &Shared) {
        loop {
            let next_ns = self.release(now_ns());
            if !self.wait(next_ns) {
                // The kernel refuses to say what happens here: nothing can be held any longer.
                break;
            }
            if rustix::io::read(&self.bell, &mut [0_u8; 8]).is_ok() {
                let wish = *lock(&shared.wish);
                if wish.stop {
                    break;
                }
                for lane in &mut self.lanes {
                    lane.line.set_dose(wish.dose);
                }
                if let Some(asked) = lock(&shared.ease).take() {
                    self.let_all_through();
                    let _ = asked.send(());
                }
            }
            if self.take_what_came().is_err() {
                break;
            }
            *lock(&shared.tallies) = self.lanes.iter().map(|lane| lane.line.tally).collect();
        }
        self.let_all_through();
    }

    /// Lets go what is due; says when the next is.
    fn release(&mut self, now: u64) -> Option<u64> {
        let fds = Fds { front: self.front.as_fd(), behind: self.behind.as_fd() };
        for lane in &mut self.lanes {
            lane.release(fds, now);
        }
        self.lanes.iter().filter_map(|lane| lane.line.next_due_ns()).min()
    }

    /// Waits for a packet, the bell, or the next packet's time. False: that is impossible.
    fn wait(&self, until_ns: Option<u64>) -> bool {
        let timeout = until_ns.map(|until_ns| {
            let ns = until_ns.saturating_sub(now_ns());
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
        });
        let mut files = [
            PollFd::new(&self.front, PollFlags::IN),
            PollFd::new(&self.behind, PollFlags::IN),
            PollFd::new(&self.bell, PollFlags::IN),
        ];
        match poll(&mut files, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn take_what_came(&mut self) -> std::io::Result<()> {
        let Self { front, behind, lanes, copies, .. } = self;
        let (front_fd, behind_fd) = (front.fd(), behind.fd());
        let fds = Fds { front: front_fd.as_fd(), behind: behind_fd.as_fd() };
        behind.read(READ_MAX, |_, packet| {
            let lane = lanes.iter_mut().find(|lane| lane.behind == Some(packet.queue));
            if let Some(lane) = lane {
                lane.take(fds, packet, packet.queue);
            }
        })?;
        // Packets that pass at once are let go together, before anything else is said.
        let mut passing: Option<(u16, u32)> = None;
        let flush = |passing: &mut Option<(u16, u32)>| {
            if let Some((queue, last)) = passing.take() {
                accept_up_to(fds.front, queue, last);
            }
        };
        front.read(READ_MAX, |_, packet| {
            let Some(lane) = lanes.iter_mut().find(|lane| lane.queue == packet.queue) else {
                return accept(fds.front, packet.queue, packet.id, None);
            };
            if let Some(behind) = lane.behind {
                return lane.take(fds, packet, behind);
            }
            let fate = lane.line.take(now_ns(), packet.id, packet.bytes);
            let alone = passing.is_none_or(|(queue, _)| queue == lane.queue);
            if fate == Fate::Pass && lane.line.is_empty() && alone {
                passing = Some((lane.queue, packet.id));
                return;
            }
            flush(&mut passing);
            carry_out(fds.front, fate, packet, copies.as_ref());
        })?;
        flush(&mut passing);
        Ok(())
    }

    /// Lets through what is held and what was not read yet, in the order in which it came.
    fn let_all_through(&mut self) {
        for lane in &mut self.lanes {
            lane.line.set_dose(None);
        }
        for _ in 0..READS_LEFT_MAX {
            self.release(u64::MAX);
            let came = |lanes: &[Lane]| -> u64 { lanes.iter().map(|l| l.line.tally.came).sum() };
            let before = came(&self.lanes);
            if self.take_what_came().is_err() || came(&self.lanes) == before {
                break;
            }
        }
        self.release(u64::MAX);
    }
}

fn carry_out(fd: BorrowedFd<'_>, fate: Fate, packet: &Packet<'_>, copies: Option<&Copies>) {
    match fate {
        Fate::Hold => {}
        Fate::Pass => accept(fd, packet.queue, packet.id, None),
        Fate::Lose => lose(fd, packet.queue, packet.id),
        Fate::Flip(bit) => {
            accept(fd, packet.queue, packet.id, flip(packet.copied, bit).as_deref());
        }
        Fate::Double => {
            accept(fd, packet.queue, packet.id, None);
            if let Some(copies) = copies {
                copies.send(packet);
            }
        }
    }
}

/// Asks for the processor as soon as a packet's time has come. Where that is not allowed, packets
/// wait their turn with everybody else's work.
pub(in crate::network) fn be_punctual() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters outlive the call.
    let refused = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } != 0;
    if refused {
        // SAFETY: 0 is the calling thread.
        let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    }
}
