//! Netlink, spoken plainly: a request, and all that the kernel answers to it.
//!
//! Framing and sockets are the netlink crates'; what is in a message is the caller's. Requests
//! are few and answers come at once, so there is neither a queue nor an executor.

mod attributes;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

pub(crate) use attributes::{Attributes, attribute, text};

/// How often a dump is asked for again because the kernel's list changed while it was written.
const DUMPS_MAX: usize = 8;
/// The kernel answers or fails; it is never silent this long.
const ANSWER_SECONDS_MAX: libc::time_t = 10;

/// The inside of a message, in the kernel's own layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// What kind of message it is: the family's own number.
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.body.len()].copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, body: payload.to_vec() })
    }
}

/// A netlink socket in the network namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket of a protocol: `NETLINK_ROUTE`, `NETLINK_SOCK_DIAG`.
    pub(crate) fn open(protocol: i32) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        let mut socket = Socket::new(protocol as isize)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let bound = libc::timeval { tv_sec: ANSWER_SECONDS_MAX, tv_usec: 0 };
        // SAFETY: the descriptor is the live socket's, and the value a timeval of that length.
        let status = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const bound).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            )
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes a change, and waits until the kernel says that it is made.
    pub(crate) fn change(&mut self, message: Raw, flags: u16) -> io::Result<()> {
        self.ask(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(|_| ())
    }

    /// Asks for a whole list. One that changed while the kernel wrote it is asked for again, and
    /// at last taken as it is.
    pub(crate) fn dump(&mut self, message: &Raw) -> io::Result<Vec<Raw>> {
        let mut answer = Answer::default();
        for _ in 0..DUMPS_MAX {
            answer = self.ask(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if !answer.interrupted {
                break;
            }
        }
        Ok(answer.messages)
    }

    fn ask(&mut self, message: Raw, flags: u16) -> io::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = Answer::default();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if answer.take(&datagram, self.sequence)? {
                return Ok(answer);
            }
        }
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<Raw>,
    /// The list changed while it was written.
    interrupted: bool,
}

impl Answer {
    /// Takes what a datagram holds of the answer to a request; true at its end.
    fn take(&mut self, mut datagram: &[u8], sequence: u32) -> io::Result<bool> {
        let garbled = |e: &dyn std::fmt::Display| io::Error::other(format!("netlink: {e}"));
        while !datagram.is_empty() {
            let message = NetlinkMessage::<Raw>::deserialize(datagram).map_err(|e| garbled(&e))?;
            let aligned = (message.header.length as usize).next_multiple_of(4);
            datagram = datagram.get(aligned.max(4)..).unwrap_or_default();
            if message.header.sequence_number != sequence {
                continue;
            }
            self.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => self.messages.push(inner),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(true),
                        Some(code) => Err(io::Error::from_raw_os_error(-code.get())),
                    };
                }
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(-done.code));
                }
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Overrun(_) => return Err(garbled(&"messages were lost")),
                _ => {}
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u16, sequence: u32, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((16 + body.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_answer_ends_with_done_and_skips_what_is_not_for_it() {
        let mut answer = Answer::default();
        let datagram = [framed(20, 1, 0, b"old"), framed(20, 2, 0, b"abcde")].concat();
        assert!(!answer.take(&datagram, 2).unwrap());
        let end = [framed(20, 2, NLM_F_DUMP_INTR, b"fg"), framed(3, 2, 0, &[0; 4])].concat();
        assert!(answer.take(&end, 2).unwrap());
        let bodies: Vec<&[u8]> = answer.messages.iter().map(|m| &m.body[..]).collect();
        assert_eq!(bodies, [&b"abcde"[..], b"fg"]);
        assert!(answer.interrupted);
    }

    #[test]
    fn an_error_is_the_systems_own() {
        let body = [(-libc::ENOENT).to_ne_bytes().to_vec(), framed(21, 1, 0, b"")].concat();
        let error = Answer::default().take(&framed(2, 1, 0, &body), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let body = [0_i32.to_ne_bytes().to_vec(), framed(21, 1, 0, b"")].concat();
        assert!(Answer::default().take(&framed(2, 1, 0, &body), 1).unwrap());
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = Answer::default().take(&bytes, 0);
        }
    }
}
