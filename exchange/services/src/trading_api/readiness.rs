//! What the service can do for its clients now, told as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exchange_api::{Readiness, ReadyState};
use exchange_journal::Journal;

use super::projection::RedisState;
use super::relay::RelayState;
use super::timed::SyncWatch;

/// A sync that takes longer than this is a disk that does not answer.
const SYNC_STALLED_AFTER: Duration = Duration::from_secs(5);

/// Those who know how things are.
#[derive(Clone, Debug)]
pub struct Witnesses {
    /// The database.
    pub relay: Arc<RelayState>,
    /// Redis.
    pub redis: Arc<RedisState>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// Its syncs.
    pub sync_watch: Arc<SyncWatch>,
    /// The bound on orders waiting for the database.
    pub backlog_orders_max: u64,
}

impl Witnesses {
    /// What is wrong with the journal, if anything.
    #[must_use]
    pub fn journal_trouble(&self) -> Option<String> {
        if let Err(failure) = self.journal.health() {
            return Some(failure.to_string());
        }
        let under_way = self.sync_watch.under_way()?;
        (under_way > SYNC_STALLED_AFTER)
            .then(|| format!("stalled: a sync has taken {:.0} s so far", under_way.as_secs_f64()))
    }

    /// The answer to `/ready`.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let journal = self.journal_trouble();
        let postgres = self.relay.trouble();
        let redis = self.redis.trouble();
        let backlog = self.relay.backlog_orders_now();
        let reason = if let Some(trouble) = &journal {
            Some(format!("journal: {trouble}"))
        } else if let Some(reason) = self.relay.halted() {
            Some(format!("postgres: {reason}"))
        } else {
            (backlog >= self.backlog_orders_max).then(|| {
                format!(
                    "{backlog} orders wait for PostgreSQL, at most {} may",
                    self.backlog_orders_max
                )
            })
        };
        let status = if reason.is_some() {
            ReadyState::Refusing
        } else if postgres.is_some() || redis.is_some() {
            ReadyState::Degraded
        } else {
            ReadyState::Ready
        };
        let dependencies = [("journal", journal), ("postgres", postgres), ("redis", redis)]
            .map(|(name, trouble)| (name.to_owned(), trouble.unwrap_or_else(|| "ok".to_owned())));
        Readiness { status, dependencies: BTreeMap::from(dependencies), reason }
    }
}
