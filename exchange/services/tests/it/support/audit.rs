//! The whole audit: journal, database and clients.

use exchange_audit::{Evidence, Report, audit, replayed, stored};
use exchange_journal::Storage;

use super::ledger::Ledger;
use super::postgres::Postgres;

/// What `exchange-audit` says, once all is relayed. The clients' keys begin with the prefix.
pub(crate) async fn audited(
    journal: &dyn Storage,
    postgres: &Postgres,
    ledger: &Ledger,
    prefix: &str,
) -> Report {
    let stored = stored::read(&mut postgres.client().await).await.unwrap();
    let replayed = replayed::replay(journal, stored.cursor).unwrap();
    let awaited_seq = replayed.end.last_seq;
    let ledger = ledger.as_lines();
    let clients = Some((&ledger, prefix));
    audit(&Evidence { stored: &stored, replayed: &replayed, awaited_seq, clients })
}
