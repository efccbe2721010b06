//! The fixed list of what is traded.

use std::fmt;
use std::str::FromStr;

macro_rules! symbols {
    ($($variant:ident = $text:literal),+ $(,)?) => {
        /// What is traded. The list is fixed: a book exists for each from the start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Symbol {
            $(#[doc = $text] $variant),+
        }

        impl Symbol {
            /// Every symbol, in a fixed order: a symbol's index here is its [`Symbol::index`].
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The symbol as written in requests and tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// Its place in [`Symbol::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

symbols! {
    BtcUsd = "BTCUSD",
    EthUsd = "ETHUSD",
    AdaUsd = "ADAUSD",
    SolUsd = "SOLUSD",
    DotUsd = "DOTUSD",
    MaticUsd = "MATICUSD",
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no symbol that is traded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSymbol;

impl fmt::Display for UnknownSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown symbol, traded are")?;
        for (i, symbol) in Symbol::ALL.iter().enumerate() {
            write!(f, "{}{symbol}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownSymbol {}

impl FromStr for Symbol {
    type Err = UnknownSymbol;

    fn from_str(text: &str) -> Result<Self, UnknownSymbol> {
        Self::ALL.iter().copied().find(|symbol| symbol.as_str() == text).ok_or(UnknownSymbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_read_back_as_written() {
        for (i, symbol) in Symbol::ALL.iter().enumerate() {
            assert_eq!(symbol.index(), i);
            assert_eq!(symbol.to_string().parse(), Ok(*symbol));
        }
        assert_eq!("btcusd".parse::<Symbol>(), Err(UnknownSymbol));
        assert_eq!(
            UnknownSymbol.to_string(),
            "unknown symbol, traded are BTCUSD, ETHUSD, ADAUSD, SOLUSD, DOTUSD, MATICUSD"
        );
    }
}
