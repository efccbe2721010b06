//! DNS messages (RFC 1035), as far as it takes to know what is asked and to answer otherwise.
//!
//! Nothing is ever added to a message: a rewritten answer is its header and its question with
//! another response code, and so is never longer than the answer that it replaces.

use super::name::Name;

const HEADER_BYTES: usize = 12;
/// Bits of the second header word.
const IS_RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const RESPONSE_CODE: u16 = 0x000f;
const IS_CUT: u16 = 0x0200;
const IS_AUTHENTIC: u16 = 0x0020;
const RECURSION_DESIRED: u16 = 0x0100;

/// Response codes.
pub(super) const SERVER_FAILED: u16 = 2;
pub(super) const NO_SUCH_NAME: u16 = 3;
pub(super) const REFUSED: u16 = 5;

/// What a message asks, or what it is an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) is_response: bool,
    /// The response code, of a response.
    pub(super) code: u16,
    pub(super) name: Name,
    /// Where the question ends.
    end: usize,
}

impl Question {
    /// None: it is no message with one question of the usual kind.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
        let (id, flags, questions) = (word(0)?, word(2)?, word(4)?);
        // All four counts are there.
        word(10)?;
        if flags & OPCODE != 0 || questions != 1 {
            return None;
        }
        let (name, length) = Name::parse(message.get(HEADER_BYTES..)?)?;
        // A type and a class follow the name.
        let end = HEADER_BYTES + length + 4;
        (end <= message.len()).then_some(Self {
            id,
            is_response: flags & IS_RESPONSE != 0,
            code: flags & RESPONSE_CODE,
            name,
            end,
        })
    }
}

/// Makes a response say `code` and nothing else, and gives its new length. None: it is no
/// response, and stays as it is.
pub(super) fn answer_otherwise(message: &mut [u8], code: u16) -> Option<usize> {
    let question = Question::parse(message).filter(|question| question.is_response)?;
    let flags = u16::from_be_bytes([message[2], message[3]]);
    let flags = flags & !(RESPONSE_CODE | IS_CUT | IS_AUTHENTIC) | code & RESPONSE_CODE;
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    // No answers, no authorities, nothing additional.
    message[6..HEADER_BYTES].fill(0);
    Some(question.end)
}

/// A query for the IPv4 addresses of a name.
pub(super) fn query(id: u16, name: &Name) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(name.wire());
    for word in [1_u16, 1] {
        message.extend(word.to_be_bytes());
    }
    message
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answer of one address to a query.
    pub(in super::super) fn response(query: &[u8]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2] |= 0x80;
        message[7] = 1;
        // A pointer to the question's name, then type A, class IN, a time to live, an address.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 9]);
        message
    }

    fn name(given: &str) -> Name {
        Name::written(given).unwrap()
    }

    #[test]
    fn a_response_is_answered_otherwise() {
        let query = query(0x1234, &name("db.example.com"));
        let mut message = response(&query);
        let whole = message.len();
        let length = answer_otherwise(&mut message, NO_SUCH_NAME).unwrap();
        assert_eq!(length, whole - 16);
        message.truncate(length);
        assert_eq!(message[..4], [0x12, 0x34, 0x81, 3]);
        assert_eq!(message[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
        let read = Question::parse(&message).unwrap();
        assert_eq!((read.id, read.is_response, read.code), (0x1234, true, NO_SUCH_NAME));
        assert_eq!(read.name, name("db.example.com"));
    }

    #[test]
    fn what_is_no_response_stays_as_it_is() {
        let asked = query(7, &name("example.com"));
        let mut two = response(&asked);
        two[5] = 2;
        let mut update = response(&asked);
        update[2] |= 0x28;
        for message in [asked.clone(), two, update, asked[..20].to_vec(), Vec::new()] {
            let mut after = message.clone();
            assert_eq!(answer_otherwise(&mut after, SERVER_FAILED), None);
            assert_eq!(after, message);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            code in 0_u16..16,
        ) {
            // One question of a response, so that more than noise gets past the header.
            if bytes.len() > 5 { (bytes[2], bytes[4], bytes[5]) = (0x81, 0, 1); }
            let before = bytes.clone();
            match answer_otherwise(&mut bytes, code) {
                None => prop_assert_eq!(bytes, before),
                Some(length) => {
                    prop_assert!(length <= before.len());
                    let read = Question::parse(&bytes[..length]).unwrap();
                    prop_assert_eq!(read.code, code);
                    prop_assert_eq!(read.name, Question::parse(&before).unwrap().name);
                    prop_assert_eq!(&bytes[..2], &before[..2]);
                    prop_assert_eq!(&bytes[12..], &before[12..]);
                }
            }
        }
    }
}
