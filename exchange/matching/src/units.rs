//! Numbers and names that must not be mistaken for one another.

use std::fmt;
use std::sync::Arc;

/// The highest price, in ticks.
pub const PRICE_TICKS_MAX: u64 = 1_000_000_000;
/// The largest quantity of one order, in lots.
pub const QUANTITY_LOTS_MAX: u64 = 1_000_000_000;
/// The longest user id or client order id, in bytes.
pub const TEXT_BYTES_MAX: usize = 128;

// The value of any one order (price times quantity) must fit the signed 64-bit integers of a database.
const _: () = assert!(PRICE_TICKS_MAX <= i64::MAX as u64 / QUANTITY_LOTS_MAX);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Names an order. The sequencer gives ids out in growing order.
    OrderId
}
number! {
    /// Names a trade; contiguous from 1 across all symbols.
    TradeId
}
number! {
    /// A price in ticks, the smallest step of a price.
    Ticks
}
number! {
    /// A quantity in lots, the smallest amount that is traded.
    Lots
}

/// Why a text is not a user id or a client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// The text is empty.
    Empty,
    /// The text is longer than [`TEXT_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        len_bytes: usize,
    },
    /// The text holds a control character, which would spoil logs and could not be typed back.
    ControlCharacter,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { len_bytes } => {
                write!(f, "is {len_bytes} bytes long, at most {TEXT_BYTES_MAX} are allowed")
            }
            Self::ControlCharacter => f.write_str("must not contain control characters"),
        }
    }
}

impl std::error::Error for TextError {}

fn checked(text: &str) -> Result<Arc<str>, TextError> {
    if text.is_empty() {
        Err(TextError::Empty)
    } else if text.len() > TEXT_BYTES_MAX {
        Err(TextError::TooLong { len_bytes: text.len() })
    } else if text.chars().any(char::is_control) {
        Err(TextError::ControlCharacter)
    } else {
        Ok(Arc::from(text))
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to [`TEXT_BYTES_MAX`] bytes without control characters.
            ///
            /// # Errors
            /// When the text breaks that rule.
            pub fn new(text: &str) -> Result<Self, TextError> {
                checked(text).map(Self)
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }
    };
}

text! {
    /// Who placed an order; cheap to clone. Only ever compared for equality.
    UserId
}
text! {
    /// The key by which the client knows its order; cheap to clone. The engine carries it and does not
    /// look at it: keeping keys unique is the business of whoever takes orders in.
    ClientOrderId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_bounds() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        let cases: [(&str, Result<(), TextError>); 6] = [
            ("alice", Ok(())),
            ("Zoë 2", Ok(())),
            (&longest, Ok(())),
            ("", Err(TextError::Empty)),
            (&format!("{longest}y"), Err(TextError::TooLong { len_bytes: TEXT_BYTES_MAX + 1 })),
            ("a\nb", Err(TextError::ControlCharacter)),
        ];
        for (text, expected) in cases {
            assert_eq!(UserId::new(text).map(|_| ()), expected, "{text:?}");
            assert_eq!(ClientOrderId::new(text).map(|_| ()), expected, "{text:?}");
        }
    }
}
