//! Where prices begin.

use exchange_matching::{Symbol, Ticks};

/// The price around which a symbol trades; a tick is one cent.
#[must_use]
pub fn reference_price(symbol: Symbol) -> Ticks {
    Ticks(match symbol {
        Symbol::BtcUsd => 5_000_000,
        Symbol::EthUsd => 300_000,
        Symbol::AdaUsd => 150,
        Symbol::SolUsd => 15_000,
        Symbol::DotUsd => 700,
        Symbol::MaticUsd => 90,
    })
}
