//! The fixed list of what is traded.

use std::fmt;
use std::str::FromStr;

/// A cent, whatever is traded: journals and databases hold prices in ticks, and what a tick means must not
/// change under them.
const TICK_SIZE: &str = "0.01";

/// What the engine's whole numbers stand for. It never looks at this: sizes are exact decimal texts, for
/// whoever shows prices and quantities to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// What is bought and sold.
    pub base: &'static str,
    /// What it is paid with.
    pub quote: &'static str,
    /// The price of one tick, in the quote.
    pub tick_size: &'static str,
    /// The quantity of one lot, in the base.
    pub lot_size: &'static str,
}

macro_rules! symbols {
    ($($variant:ident = $base:literal $quote:literal, a lot is $lot:literal;)+) => {
        /// What is traded. The list is fixed: a book exists for each from the start.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Symbol {
            $(#[doc = concat!($base, $quote)] $variant),+
        }

        impl Symbol {
            /// Every symbol, in a fixed order: a symbol's index here is its [`Symbol::index`].
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The symbol as written in requests and tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($base, $quote)),+
                }
            }

            /// What a tick and a lot of it are.
            #[must_use]
            pub const fn units(self) -> &'static Units {
                match self {
                    $(Self::$variant => &Units {
                        base: $base,
                        quote: $quote,
                        tick_size: TICK_SIZE,
                        lot_size: $lot,
                    }),+
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
    BtcUsd = "BTC" "USD", a lot is "0.0001";
    EthUsd = "ETH" "USD", a lot is "0.001";
    AdaUsd = "ADA" "USD", a lot is "1";
    SolUsd = "SOL" "USD", a lot is "0.01";
    DotUsd = "DOT" "USD", a lot is "0.1";
    MaticUsd = "MATIC" "USD", a lot is "1";
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

    #[test]
    fn sizes_are_exact_decimals_above_zero() {
        for symbol in Symbol::ALL {
            let units = symbol.units();
            assert_eq!(symbol.as_str(), format!("{}{}", units.base, units.quote));
            for size in [units.tick_size, units.lot_size] {
                let (whole, fraction) = size.split_once('.').unwrap_or((size, ""));
                let digits = format!("{whole}{fraction}");
                assert!(digits.parse::<u64>().is_ok_and(|number| number > 0), "{symbol}: {size}");
                assert!(!fraction.ends_with('0') && !whole.is_empty(), "{symbol}: {size}");
            }
        }
        assert_eq!(
            (Symbol::BtcUsd.units().tick_size, Symbol::BtcUsd.units().lot_size),
            ("0.01", "0.0001")
        );
    }
}
