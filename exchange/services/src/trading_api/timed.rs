//! A storage that tells how long its syncs take.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use exchange_journal::{SegmentFile, Storage};

use super::metrics::Metrics;
use crate::common::monotonic;

/// When the sync that is under way began, for those who ask whether the journal works.
#[derive(Debug, Default)]
pub struct SyncWatch(Mutex<Option<Instant>>);

impl SyncWatch {
    fn set(&self, began: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }

    /// How long the sync that is under way has taken so far.
    #[must_use]
    pub fn under_way(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|began| began.elapsed())
    }
}

/// Wraps a storage and measures it.
#[derive(Debug)]
pub struct TimedStorage {
    inner: Arc<dyn Storage>,
    watch: Arc<SyncWatch>,
    metrics: Metrics,
}

impl TimedStorage {
    /// Measures `inner` into `metrics` and `watch`.
    pub fn new(inner: Arc<dyn Storage>, watch: Arc<SyncWatch>, metrics: Metrics) -> Self {
        Self { inner, watch, metrics }
    }

    fn timed(&self, inner: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        let (watch, metrics) = (Arc::clone(&self.watch), self.metrics.clone());
        Box::new(TimedFile { inner, watch, metrics })
    }
}

impl Storage for TimedStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.inner.create(name).map(|file| self.timed(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.inner.open(name).map(|file| self.timed(file))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

struct TimedFile {
    inner: Box<dyn SegmentFile>,
    watch: Arc<SyncWatch>,
    metrics: Metrics,
}

impl SegmentFile for TimedFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let began = monotonic();
        self.watch.set(Some(began));
        let synced = self.inner.sync_data();
        self.watch.set(None);
        self.metrics.journal_fsync_duration.observe(began.elapsed().as_secs_f64());
        self.metrics.journal_fsyncs.inc();
        synced
    }

    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.truncate(len_bytes)
    }
}
