//! Open-loop traffic and the client's own ledger.
