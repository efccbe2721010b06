//! Messages of netfilter's netlink protocol: written, and taken apart without a copy, since one
//! comes with every packet.

const HEADER_BYTES: usize = 16;
/// `struct nfgenmsg`: family, version, and a number that means a queue or a subsystem.
const NFGEN_BYTES: usize = 4;
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// One message, being written.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of a subsystem. `number` is the queue or the subsystem it is for.
    pub(super) fn new(subsystem: i32, kind: i32, flags: i32, family: i32, number: u16) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend([0; 4]);
        bytes.extend(((subsystem << 8 | kind) as u16).to_ne_bytes());
        bytes.extend((flags as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([family as u8, 0]);
        bytes.extend(number.to_be_bytes());
        Self { bytes }
    }

    /// Appends an attribute. What it holds is in the order of bytes the kernel wants.
    pub(super) fn attribute(mut self, kind: i32, payload: &[u8]) -> Self {
        self.put_header(kind, payload.len());
        self.bytes.extend(payload);
        self.pad();
        self
    }

    /// Appends an attribute that holds text.
    pub(super) fn text(self, kind: i32, text: &str) -> Self {
        let mut payload = text.as_bytes().to_vec();
        payload.push(0);
        self.attribute(kind, &payload)
    }

    /// Appends an attribute that holds others.
    pub(super) fn nest(mut self, kind: i32, inside: impl FnOnce(Self) -> Self) -> Self {
        let begins = self.bytes.len();
        self.put_header(kind | libc::NLA_F_NESTED, 0);
        self = inside(self);
        let length = (self.bytes.len() - begins) as u16;
        self.bytes[begins..begins + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// The message as it is sent.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn put_header(&mut self, kind: i32, payload_bytes: usize) {
        // The longest payload is a packet, and those end below 65,536 bytes less our headers: the
        // kernel hands over no more than that.
        let length = (ATTRIBUTE_HEADER_BYTES + payload_bytes) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend((kind as u16).to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received<'a> {
    /// The subsystem and its kind of message, as in `subsystem << 8 | kind`.
    pub(super) kind: u16,
    pub(super) sequence: u32,
    body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The error in a message of the kind `NLMSG_ERROR`: 0 is an acknowledgement.
    pub(super) fn error(&self) -> Option<i32> {
        (i32::from(self.kind) == libc::NLMSG_ERROR)
            .then(|| Some(i32::from_ne_bytes(self.body.first_chunk().copied()?)))?
    }

    /// The number after the header: a queue's.
    pub(super) fn number(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.body.get(2..NFGEN_BYTES)?.try_into().ok()?))
    }

    /// What is in it.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.body.get(NFGEN_BYTES..).unwrap_or_default() }
    }
}

/// The messages in what one read gave. A broken one ends the list.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length)?;
        let received = Received {
            kind: u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?),
            sequence: u32::from_ne_bytes(message.get(8..12)?.try_into().ok()?),
            body: message.get(HEADER_BYTES..)?,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

/// The attributes of a message, as (kind, payload). A broken one ends the list.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (i32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.rest.first_chunk()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..4)?.try_into().ok()?);
        let payload = self.rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((i32::from(kind & !(libc::NLA_F_NESTED as u16)), payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let first = Message::new(3, 2, 5, 0, 77)
            .attribute(1, b"abcde")
            .text(2, "NFQUEUE")
            .nest(4, |inner| inner.nest(1, |inner| inner.attribute(2, &[9; 8])).attribute(3, &[]));
        let both = [first.finish(42), Message::new(10, 6, 0, 1, 0).finish(43)].concat();
        assert_eq!(both.len() % 4, 0);
        let got: Vec<Received<'_>> = messages(&both).collect();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].kind, got[0].sequence, got[0].number()), (3 << 8 | 2, 42, Some(77)));
        assert_eq!((got[1].kind, got[1].sequence), (10 << 8 | 6, 43));
        assert_eq!(got[1].attributes().count(), 0);
        let attributes: Vec<_> = got[0].attributes().collect();
        assert_eq!(attributes[0], (1, &b"abcde"[..]));
        assert_eq!(attributes[1], (2, &b"NFQUEUE\0"[..]));
        let mut inner = Attributes { rest: attributes[2].1 };
        assert_eq!(attributes[2].0, 4);
        let (kind, deeper) = inner.next().unwrap();
        assert_eq!(kind, 1);
        assert_eq!(Attributes { rest: deeper }.collect::<Vec<_>>(), [(2, &[9; 8][..])]);
        assert_eq!(inner.next(), Some((3, &[][..])));
        assert_eq!(inner.next(), None);
    }

    #[test]
    fn an_acknowledgement_is_an_error_of_zero() {
        for (code, expected) in [(0, Some(0)), (-libc::EBUSY, Some(-libc::EBUSY))] {
            let mut bytes = vec![0; HEADER_BYTES];
            bytes[4] = libc::NLMSG_ERROR as u8;
            bytes.extend(i32::to_ne_bytes(code));
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&bytes).next().unwrap().error(), expected);
        }
        let other = Message::new(3, 0, 0, 0, 0).finish(1);
        assert_eq!(messages(&other).next().unwrap().error(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            for message in messages(&bytes).take(100) {
                let _ = (message.error(), message.number(), message.attributes().take(100).count());
            }
        }
    }
}
