//! Domain names, as they are asked for and as they are meant.

use std::fmt;

use crate::Refusal;

/// RFC 1035: a label's and a name's greatest lengths, on the wire.
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 255;

/// A domain name: its labels in lower case, the last one first, so that a domain is the beginning
/// of every name in it.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Name {
    labels: Vec<Vec<u8>>,
}

impl Name {
    /// A name as people write it: `example.com`, with or without a dot at the end.
    pub(super) fn written(given: &str) -> Result<Self, Refusal> {
        let wrong = |why: &'static str| Refusal::NotADomain { given: given.to_owned(), why };
        let text = given.strip_suffix('.').unwrap_or(given);
        if text.is_empty() {
            return Err(wrong("is no name: leave the names out to mean all of them"));
        }
        if text.starts_with("*.") {
            return Err(wrong("has a star: a name stands for all names that end with it"));
        }
        if !text.is_ascii() {
            return Err(wrong(
                "has letters that are not ASCII: write it as it is asked for (xn--)",
            ));
        }
        let mut labels = Vec::new();
        for label in text.split('.').rev() {
            match label.len() {
                0 => return Err(wrong("has an empty label between two dots")),
                1..=LABEL_BYTES_MAX => labels.push(label.to_ascii_lowercase().into_bytes()),
                _ => return Err(wrong("has a label of more than 63 characters")),
            }
        }
        // Each label has its length before it, and the root's zero ends the name.
        if text.len() + 2 > NAME_BYTES_MAX {
            return Err(wrong("is longer than a name can be (253 characters)"));
        }
        Ok(Self { labels })
    }

    /// Reads a name of a question, and how many bytes it takes. None: it is cut off, or is not
    /// written out (a question stands first, so there is nothing that it could point to).
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (mut labels, mut at) = (Vec::new(), 0);
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            if length > LABEL_BYTES_MAX || at + length > NAME_BYTES_MAX {
                return None;
            }
            labels.push(bytes.get(at..at + length)?.to_ascii_lowercase());
            at += length;
        }
        labels.reverse();
        Some((Self { labels }, at))
    }

    /// As it stands in a question.
    pub(super) fn wire(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in self.labels.iter().rev() {
            // A label is at most 63 bytes long.
            bytes.push(label.len() as u8);
            bytes.extend(label);
        }
        bytes.push(0);
        bytes
    }

    /// Whether it is `domain` or lies in it.
    pub(super) fn is_in(&self, domain: &Self) -> bool {
        self.labels.starts_with(&domain.labels)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> =
            self.labels.iter().rev().map(|label| String::from_utf8_lossy(label)).collect();
        f.write_str(&labels.join("."))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(given: &str) -> Name {
        Name::written(given).unwrap()
    }

    #[test]
    fn a_name_is_in_its_domain_and_in_no_other() {
        for (inner, outer, expected) in [
            ("db.example.com", "example.com", true),
            ("DB.Example.COM.", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("badexample.com", "example.com", false),
            ("example.com", "db.example.com", false),
            ("example.com.evil.org", "example.com", false),
            ("postgres", "postgres", true),
        ] {
            assert_eq!(name(inner).is_in(&name(outer)), expected, "{inner} in {outer}");
        }
        assert!(name("a.b").is_in(&Name::default()), "the root has all names");
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let long = format!("{}.com", "a".repeat(64));
        let longer = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        for (given, says) in [
            ("", "leave the names out"),
            (".", "leave the names out"),
            ("a..b", "an empty label"),
            (".a", "an empty label"),
            ("*.example.com", "all names that end with it"),
            ("bücher.example", "xn--"),
            (&long, "more than 63"),
            (&longer, "253 characters"),
        ] {
            let said = Name::written(given).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        name(&longer[1..]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some((name, length)) = Name::parse(&bytes) {
                prop_assert!(length <= NAME_BYTES_MAX + 1);
                prop_assert_eq!(&name.wire(), &bytes[..length].to_ascii_lowercase());
            }
        }

        #[test]
        fn what_is_written_is_read(given in "[a-z0-9-]{1,63}(\\.[a-z0-9-]{1,20}){0,5}") {
            let written = name(&given);
            let wire = written.wire();
            prop_assert_eq!(Name::parse(&wire), Some((written.clone(), wire.len())));
            prop_assert_eq!(written.to_string(), given);
        }
    }
}
