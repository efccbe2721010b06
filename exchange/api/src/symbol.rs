//! What can be traded.

use std::fmt;

/// How many symbols there are.
pub const SYMBOL_COUNT: usize = 6;

/// Every symbol, in the order of its index.
pub const SYMBOLS: [Symbol; SYMBOL_COUNT] =
    [Symbol(0), Symbol(1), Symbol(2), Symbol(3), Symbol(4), Symbol(5)];

/// Name and the price around which trading begins; a tick is one cent.
const TABLE: [(&str, u64); SYMBOL_COUNT] = [
    ("BTCUSD", 5_000_000),
    ("ETHUSD", 300_000),
    ("ADAUSD", 150),
    ("SOLUSD", 15_000),
    ("DOTUSD", 700),
    ("MATICUSD", 90),
];

/// A symbol that exists: an index into the table, so that it cannot be misspelt later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u8);

impl Symbol {
    /// The symbol of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        SYMBOLS.into_iter().find(|symbol| symbol.name() == name)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[self.index()].0
    }

    /// Its place in [`SYMBOLS`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The price in ticks that the market simulator starts from and returns to.
    #[must_use]
    pub fn reference_price_ticks(self) -> u64 {
        TABLE[self.index()].1
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_found_by_its_own_name_only() {
        for symbol in SYMBOLS {
            assert_eq!(Symbol::parse(symbol.name()), Some(symbol));
            assert_eq!(Symbol::parse(&symbol.name().to_lowercase()), None);
        }
        assert_eq!(Symbol::parse(""), None);
    }
}
