//! The thread that holds packets and lets them go.
//!
//! It sits in the target's network namespace, with a file table of its own: its socket is closed
//! by this process's end and by nothing else, and no child keeps it open.

use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use super::copies::Copies;
use super::flip::flip;
use super::line::{Fate, Line, Tally};
use super::socket::{Packet, QueueSocket, Setup, accept, accept_up_to, lose};
use crate::network::Dose;
use crate::nft::enter_alone;
use crate::{Error, Result};

/// How many packets are read before those are looked after whose time has come.
const READ_MAX: usize = 256;
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
    queues: Vec<u16>,
}

#[derive(Debug)]
struct Shared {
    wish: Mutex<Wish>,
    tallies: Mutex<Vec<Tally>>,
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    dose: Option<Dose>,
    stop: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Starts it with `ways` queues, which all apply `dose`.
    pub(super) fn start(netns: &Netns, ways: usize, dose: Dose, seed: u64) -> Result<Self> {
        let system = |e| Error::system("start a thread to hold packets", e);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| system(e.into()))?;
        let shared = Arc::new(Shared {
            wish: Mutex::new(Wish { dose: Some(dose), stop: false }),
            tallies: Mutex::new(vec![Tally::default(); ways]),
        });
        let (done, ready) = sync_channel(1);
        let (theirs, netns, bell_number) = (Arc::clone(&shared), netns.clone(), bell.as_raw_fd());
        let thread = std::thread::Builder::new()
            .name("packet-queue".into())
            .spawn(move || match Work::prepare(netns, bell_number, ways, dose, seed) {
                Ok(mut work) => {
                    let numbers = work.lines.iter().map(|(number, _)| *number).collect();
                    let _ = done.send(Ok::<Vec<u16>, Error>(numbers));
                    work.run(&theirs);
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

    /// The queues' numbers, one a direction, in the order of the directions.
    pub(super) fn queues(&self) -> &[u16] {
        &self.queues
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

/// How packets are handed over for a dose.
fn setup(dose: &Dose) -> Setup {
    match *dose {
        Dose::Latency { .. } => Setup { copy_bytes: HEADER_BYTES, big_segments: true },
        Dose::Bandwidth { bytes_per_second } => {
            Setup { copy_bytes: HEADER_BYTES, big_segments: bytes_per_second >= BIG_SEGMENTS_FROM }
        }
        // What is taken by chance are packets as they are on the wire.
        Dose::Loss { .. } | Dose::Reorder { .. } => {
            Setup { copy_bytes: HEADER_BYTES, big_segments: false }
        }
        Dose::Duplicate { .. } | Dose::Corrupt { .. } => {
            Setup { copy_bytes: u16::MAX.into(), big_segments: false }
        }
    }
}

/// What the thread has.
struct Work {
    socket: QueueSocket,
    bell: OwnedFd,
    /// A queue's number and its line, a direction each.
    lines: Vec<(u16, Line)>,
    /// What duplicates are sent by.
    copies: Option<Copies>,
}

impl Work {
    fn prepare(netns: Netns, bell: i32, ways: usize, dose: Dose, seed: u64) -> Result<Self> {
        enter_alone(netns, Some(bell))?;
        // SAFETY: this thread's file table has its own copy under the same number, kept open for
        // exactly this owner.
        let bell = unsafe { OwnedFd::from_raw_fd(bell) };
        be_punctual();
        let mut socket = QueueSocket::open()?;
        let lines = (0..ways as u64)
            .map(|way| {
                let number = socket.bind_free(seed.wrapping_add(way) as u16, setup(&dose))?;
                Ok((number, Line::new(dose, seed.wrapping_add(way))))
            })
            .collect::<Result<_>>()?;
        let doubles = matches!(dose, Dose::Duplicate { .. });
        let copies = doubles.then(Copies::open).transpose()?;
        Ok(Self { socket, bell, lines, copies })
    }

    fn run(&mut self, shared: &Shared) {
        loop {
            let next_ns = self.release();
            if !self.wait(next_ns) {
                // The kernel refuses to say what happens here: nothing can be held any longer.
                break;
            }
            if rustix::io::read(&self.bell, &mut [0_u8; 8]).is_ok() {
                let wish = *lock(&shared.wish);
                if wish.stop {
                    break;
                }
                for (_, line) in &mut self.lines {
                    line.set_dose(wish.dose);
                }
            }
            if self.take_what_came().is_err() {
                break;
            }
            *lock(&shared.tallies) = self.lines.iter().map(|(_, line)| line.tally).collect();
        }
        self.let_all_through();
    }

    /// Lets go what is due; says when the next is.
    fn release(&mut self) -> Option<u64> {
        let fd = self.socket.as_fd();
        let now = now_ns();
        for (queue, line) in &mut self.lines {
            let mut last = None;
            while let Some(packet) = line.due(now) {
                if line.keeps_order() {
                    last = Some(packet);
                } else {
                    accept(fd, *queue, packet, None);
                }
            }
            // One message lets go all that came before, which is due too.
            if let Some(last) = last {
                accept_up_to(fd, *queue, last);
            }
        }
        self.lines.iter().filter_map(|(_, line)| line.next_due_ns()).min()
    }

    /// Waits for a packet, the bell, or the next packet's time. False: that is impossible.
    fn wait(&self, until_ns: Option<u64>) -> bool {
        let timeout = until_ns.map(|until_ns| {
            let ns = until_ns.saturating_sub(now_ns());
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
        });
        let mut files =
            [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.bell, PollFlags::IN)];
        match poll(&mut files, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn take_what_came(&mut self) -> std::io::Result<()> {
        let Self { socket, lines, copies, .. } = self;
        // Packets that pass at once are let go together, before anything else is said.
        let mut passing: Option<(u16, u32)> = None;
        let flush = |fd: BorrowedFd<'_>, passing: &mut Option<(u16, u32)>| {
            if let Some((queue, last)) = passing.take() {
                accept_up_to(fd, queue, last);
            }
        };
        socket.read(READ_MAX, |fd, packet| {
            let Some((queue, line)) = lines.iter_mut().find(|(queue, _)| *queue == packet.queue)
            else {
                return accept(fd, packet.queue, packet.id, None);
            };
            let fate = line.take(now_ns(), packet.id, packet.bytes);
            if fate == Fate::Pass && line.is_empty() && passing.is_none_or(|(q, _)| q == *queue) {
                passing = Some((*queue, packet.id));
                return;
            }
            flush(fd, &mut passing);
            carry_out(fd, fate, packet, copies.as_ref());
        })?;
        flush(socket.as_fd(), &mut passing);
        Ok(())
    }

    /// Lets through what is held and what was not read yet, in the order in which it came. No
    /// rule leads here any more.
    fn let_all_through(&mut self) {
        let mut last = vec![None; self.lines.len()];
        let lines = &self.lines;
        let mut note = |packet: &mut Packet<'_>| {
            if let Some(at) = lines.iter().position(|(queue, _)| *queue == packet.queue) {
                last[at] = Some(packet.id);
            }
        };
        while matches!(self.socket.read(READ_MAX, |_, packet| note(packet)), Ok(true)) {}
        for ((queue, line), last) in self.lines.iter_mut().zip(last) {
            if let Some(last) = last.or_else(|| line.last_taken()) {
                accept_up_to(self.socket.as_fd(), *queue, last);
            }
            line.clear();
        }
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
