//! What follows a message's fixed part: typed values, which may hold such values themselves.

use netlink_packet_core::{
    DefaultNla, Emitable as _, NLA_HEADER_SIZE, NLA_TYPE_MASK, NlaBuffer, NlasIterator,
};

/// Attributes in the order in which they were put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds a value as it is.
    #[must_use]
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let at = self.0.len();
        self.0.resize(at + attribute.buffer_len().next_multiple_of(4), 0);
        attribute.emit(&mut self.0[at..]);
        self
    }

    /// Adds a string, with the zero that ends it.
    #[must_use]
    pub(crate) fn with_text(self, kind: u16, text: &str) -> Self {
        self.with(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// Adds attributes inside an attribute.
    #[must_use]
    pub(crate) fn with_nested(self, kind: u16, inner: &Self) -> Self {
        self.with(kind, &inner.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The value of the first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(bytes)
        .map_while(Result::ok)
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() & NLA_TYPE_MASK == kind)?;
    let length = found.value_length();
    found.into_inner().get(NLA_HEADER_SIZE..NLA_HEADER_SIZE + length)
}

/// The same, as text.
pub(crate) fn text(bytes: &[u8], kind: u16) -> Option<String> {
    let value = attribute(bytes, kind)?;
    let value = value.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found() {
        let inner = Attributes::default().with(3, &[1, 2, 3, 4, 5]);
        let outer =
            Attributes::default().with_text(1, "netem").with_nested(2, &inner).with(9, &[7]);
        assert_eq!(outer.bytes().len() % 4, 0);
        assert_eq!(text(outer.bytes(), 1).as_deref(), Some("netem"));
        let found = attribute(outer.bytes(), 2).unwrap();
        assert_eq!(attribute(found, 3), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(attribute(outer.bytes(), 9), Some(&[7][..]));
        assert_eq!(attribute(outer.bytes(), 4), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..60), kind: u16) {
            let _ = (attribute(&bytes, kind), text(&bytes, kind));
        }
    }
}
