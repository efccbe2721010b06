//! The kernel's packet queue (`nfnetlink_queue`) on a socket of the calling thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};

use temblor_host::netns::Netns;

use super::line::HELD_MAX;
use super::message::{Message, messages};
use crate::{Error, Result};

/// Kinds of message of `linux/netfilter/nfnetlink_queue.h`.
const PACKET: i32 = 0;
const VERDICT: i32 = 1;
const CONFIG: i32 = 2;
const VERDICT_BATCH: i32 = 3;
/// Attributes of a configuration.
const CFG_CMD: i32 = 1;
const CFG_PARAMS: i32 = 2;
const CFG_QUEUE_MAXLEN: i32 = 3;
const CFG_MASK: i32 = 4;
const CFG_FLAGS: i32 = 5;
/// The command that takes a queue's number.
const CMD_BIND: u8 = 1;
/// How much of a packet is copied: only the kernel's words about it, or its bytes too.
const COPY_PACKET: u8 = 2;
/// Attributes of a verdict.
const VERDICT_HDR: i32 = 2;
const NFQA_MARK: i32 = 3;
/// What becomes of a packet.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const QUEUE: u32 = 3;
/// The longest packet that a verdict can carry.
const CARRIED_MAX: usize = 0xffff - 64;
/// More than the room that any packet has to spare.
const ROOM: usize = 2048;

/// Where the search for a free number begins: people number their queues from 0.
const NUMBER_MIN: u16 = 0x8000;
/// How many numbers are tried.
const NUMBERS_MAX: u16 = 1024;
/// What the socket holds at most of what was not read yet.
const RECEIVE_BYTES: usize = 64 << 20;
/// One message: the longest packet and what the kernel says about it.
const MESSAGE_BYTES: usize = 66 << 10;

/// What is asked of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Setup {
    /// How many bytes of each packet are copied.
    pub(in crate::network) copy_bytes: u32,
    /// Big segments are passed as they are, and not split into packets as they are on the wire.
    pub(in crate::network) big_segments: bool,
    /// What the queue has no room for passes. Else it is lost.
    pub(in crate::network) overflow_passes: bool,
}

/// A packet in a queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Packet<'a> {
    pub(in crate::network) queue: u16,
    pub(in crate::network) id: u32,
    /// How long it is, IP header included.
    pub(in crate::network) bytes: u32,
    /// The interface that it leaves by; 0 for one that has come.
    pub(in crate::network) out_interface: u32,
    /// What was copied of it, from its IP header on.
    pub(in crate::network) copied: &'a [u8],
}

/// A socket with the queues that are bound to it. Closing it ends them; what they hold is then
/// lost, and what comes passes (the rule says `bypass`).
#[derive(Debug)]
pub(in crate::network) struct QueueSocket {
    /// Shared, so that verdicts can be given while the buffer is read.
    fd: Rc<OwnedFd>,
    sequence: u32,
    buffer: Vec<u8>,
}

impl QueueSocket {
    pub(in crate::network) fn open() -> Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )
        .and_then(|fd| {
            bind(&fd, &SocketAddrNetlink::new(0, 0))?;
            Ok(fd)
        })
        .map_err(|e| Error::system("open a socket to the kernel's packet queue", e))?;
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BYTES).is_err() {
            // Less room: what does not fit is let through, and counted.
            let _ = sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BYTES);
        }
        Ok(Self { fd: Rc::new(fd), sequence: 0, buffer: vec![0; MESSAGE_BYTES] })
    }

    /// Takes a queue whose number is free, and configures it. Numbers are looked for from
    /// `start` on, modulo those that are looked at.
    pub(in crate::network) fn bind_free(&mut self, start: u16, setup: Setup) -> Result<u16> {
        let taken = |error: &io::Error| {
            let errno = error.raw_os_error();
            errno == Some(libc::EBUSY) || errno == Some(libc::EPERM)
        };
        let mut last = None;
        for n in 0..NUMBERS_MAX {
            let number = NUMBER_MIN | start.wrapping_add(n);
            match self.configure(number, setup) {
                Ok(()) => return Ok(number),
                Err(error) if taken(&error) => last = Some(error),
                Err(error) => return Err(why_no_queue(error)),
            }
        }
        Err(why_no_queue(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))))
    }

    fn configure(&mut self, number: u16, setup: Setup) -> io::Result<()> {
        let mut flags = 0;
        if setup.overflow_passes {
            flags |= libc::NFQA_CFG_F_FAIL_OPEN;
        }
        if setup.big_segments {
            flags |= libc::NFQA_CFG_F_GSO;
        }
        let mask = libc::NFQA_CFG_F_FAIL_OPEN | libc::NFQA_CFG_F_GSO;
        let mut params = setup.copy_bytes.to_be_bytes().to_vec();
        params.push(COPY_PACKET);
        let request = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let message = Message::new(libc::NFNL_SUBSYS_QUEUE, CONFIG, request, 0, number)
            .attribute(CFG_CMD, &[CMD_BIND, 0, 0, 0])
            .attribute(CFG_PARAMS, &params)
            .attribute(CFG_QUEUE_MAXLEN, &(HELD_MAX as u32).to_be_bytes())
            .attribute(CFG_MASK, &(mask as u32).to_be_bytes())
            .attribute(CFG_FLAGS, &(flags as u32).to_be_bytes());
        self.sequence += 1;
        let sequence = self.sequence;
        send(&*self.fd, &message.finish(sequence), SendFlags::empty())?;
        // No rule leads here yet, so what comes is the answer.
        loop {
            let (length, _) = recv(&*self.fd, &mut self.buffer[..], RecvFlags::empty())?;
            let error = messages(&self.buffer[..length])
                .find(|message| message.sequence == sequence)
                .and_then(|message| message.error());
            match error {
                None => {}
                Some(0) => return Ok(()),
                Some(code) => return Err(io::Error::from_raw_os_error(-code)),
            }
        }
    }

    /// The socket, to give verdicts by.
    pub(super) fn fd(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.fd)
    }

    /// Reads what has come, a packet at a time and `packets_max` at most; false when nothing is
    /// left to read.
    pub(in crate::network) fn read(
        &mut self,
        packets_max: usize,
        mut each: impl FnMut(BorrowedFd<'_>, &mut Packet<'_>),
    ) -> io::Result<bool> {
        for _ in 0..packets_max {
            let length = match recv(&*self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(false),
                // Messages were lost for want of room; the kernel has let their packets through.
                Err(Errno::INTR | Errno::NOBUFS) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in messages(&self.buffer[..length]) {
                // An error is the answer to a verdict on a packet that is gone: its interface
                // went away under it.
                if i32::from(message.kind) != libc::NFNL_SUBSYS_QUEUE << 8 | PACKET {
                    continue;
                }
                if let Some(mut packet) = parse(&message) {
                    each(self.fd.as_fd(), &mut packet);
                }
            }
        }
        Ok(true)
    }
}

impl AsFd for QueueSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn parse<'a>(message: &super::message::Received<'a>) -> Option<Packet<'a>> {
    let mut packet =
        Packet { queue: message.number()?, id: 0, bytes: 0, out_interface: 0, copied: &[] };
    let mut length = None;
    let mut has_id = false;
    let number = |payload: &[u8]| Some(u32::from_be_bytes(*payload.first_chunk()?));
    for (kind, payload) in message.attributes() {
        match kind {
            libc::NFQA_PACKET_HDR => {
                packet.id = number(payload)?;
                has_id = true;
            }
            libc::NFQA_IFINDEX_OUTDEV => packet.out_interface = number(payload)?,
            libc::NFQA_PAYLOAD => packet.copied = payload,
            libc::NFQA_CAP_LEN => length = number(payload),
            _ => {}
        }
    }
    packet.bytes = length.unwrap_or(packet.copied.len() as u32);
    has_id.then_some(packet)
}

/// Lets one packet go on, with other bytes than it had where they are given.
pub(in crate::network) fn accept(fd: BorrowedFd<'_>, queue: u16, id: u32, changed: Option<&[u8]>) {
    let message = verdict(VERDICT, queue, id, ACCEPT);
    tell(
        fd,
        match changed {
            Some(bytes) => message.attribute(libc::NFQA_PAYLOAD, bytes),
            None => message,
        },
    );
}

/// As [`accept`], with a mark on the packet, for rules behind the queue to know it by.
pub(in crate::network) fn accept_marked(
    fd: BorrowedFd<'_>,
    queue: u16,
    id: u32,
    mark: u32,
    changed: Option<&[u8]>,
) {
    let message = verdict(VERDICT, queue, id, ACCEPT).attribute(NFQA_MARK, &mark.to_be_bytes());
    tell(
        fd,
        match changed {
            Some(bytes) => message.attribute(libc::NFQA_PAYLOAD, bytes),
            None => message,
        },
    );
}

/// Lets all packets go on that came before the one that is named, and that one.
pub(super) fn accept_up_to(fd: BorrowedFd<'_>, queue: u16, id: u32) {
    tell(fd, verdict(VERDICT_BATCH, queue, id, ACCEPT));
}

/// Hands a packet on to another queue, as one that is no longer its sender's: the kernel makes a
/// packet that gets longer anew where it lacks the room, and the new one has no socket that it
/// counts against. In the other queue it is longer than it says, and is to be accepted with its
/// own bytes alone. False: it is too long for that, and stays.
pub(super) fn hand_on(fd: BorrowedFd<'_>, packet: &Packet<'_>, queue: u16) -> bool {
    let whole = packet.copied.len() == packet.bytes as usize;
    if !whole || packet.copied.len() + ROOM > CARRIED_MAX {
        return false;
    }
    let mut longer = packet.copied.to_vec();
    longer.resize(packet.copied.len() + ROOM, 0);
    let to = u32::from(queue) << 16 | QUEUE;
    tell(fd, verdict(VERDICT, packet.queue, packet.id, to).attribute(libc::NFQA_PAYLOAD, &longer));
    true
}

/// Makes a packet vanish. Nobody is told, neither the program that sent it.
pub(super) fn lose(fd: BorrowedFd<'_>, queue: u16, id: u32) {
    tell(fd, verdict(VERDICT, queue, id, DROP));
}

fn verdict(kind: i32, queue: u16, id: u32, verdict: u32) -> Message {
    let mut header = verdict.to_be_bytes().to_vec();
    header.extend(id.to_be_bytes());
    Message::new(libc::NFNL_SUBSYS_QUEUE, kind, libc::NLM_F_REQUEST, 0, queue)
        .attribute(VERDICT_HDR, &header)
}

/// The kernel acts before this returns. It refuses a verdict only on a packet that is gone, or
/// for want of memory; then the packet stays where it is until the next batch, or the end.
fn tell(fd: BorrowedFd<'_>, message: Message) {
    let bytes = message.finish(0);
    while send(fd, &bytes, SendFlags::empty()) == Err(Errno::INTR) {}
}

fn why_no_queue(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP) => Error::Missing {
            what: "packet queues for programs in the kernel".into(),
            how: format!(
                "load the module (modprobe nfnetlink_queue), or boot a kernel with \
                 CONFIG_NETFILTER_NETLINK_QUEUE ({error})"
            ),
        },
        Some(libc::EPERM) => Error::Missing {
            what: "the right to take a packet queue (CAP_NET_ADMIN)".into(),
            how: "run as root".into(),
        },
        _ => Error::system("take a packet queue", error),
    }
}

/// A queue as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Listed {
    pub(in crate::network) number: u16,
    /// Packets that are in it now.
    pub(in crate::network) held: u64,
    /// Packets that ever were: the number of the last one.
    pub(in crate::network) handed: u64,
}

/// The queues of a namespace that somebody has taken.
pub(in crate::network) fn listed(netns: &Netns) -> Result<Vec<Listed>> {
    let doing = "list the kernel's packet queues";
    let text = netns
        .run(|| std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue"))
        .and_then(|text| text)
        .map_err(|e| Error::system(doing, e))?;
    Ok(text.lines().filter_map(list_line).collect())
}

/// Columns: number, whose it is, held, copy mode, copied bytes, dropped by the kernel, dropped for
/// want of room at the socket, number of the last packet, 1.
fn list_line(line: &str) -> Option<Listed> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    let figure = |at: usize| columns.get(at)?.parse::<u64>().ok();
    Some(Listed { number: u16::try_from(figure(0)?).ok()?, held: figure(2)?, handed: figure(7)? })
}
