//! Storages that break their promise, to show that the tests would notice.

use crate::storage::{SegmentFile, Storage};
use std::io;
use std::sync::Arc;

/// How a sync lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It says it is done and never does anything.
    Never,
    /// It says it is done and does it only before the next write: what acknowledging before syncing comes to.
    Late,
    /// Files are synced, but the directory that names them never is.
    Names,
}

/// A storage whose syncs lie. To be put around a [`super::SimStorage`].
#[derive(Debug)]
pub struct LyingStorage {
    inner: Arc<dyn Storage>,
    lie: Lie,
}

impl LyingStorage {
    /// Puts the lie around an honest storage.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, lie: Lie) -> Self {
        Self { inner, lie }
    }

    fn wrap(&self, inner: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(LyingFile { inner, lie: self.lie, owed: false })
    }
}

impl Storage for LyingStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(self.wrap(self.inner.open(name)?))
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.lie == Lie::Names { Ok(()) } else { self.inner.sync_dir() }
    }
}

struct LyingFile {
    inner: Box<dyn SegmentFile>,
    lie: Lie,
    owed: bool,
}

impl SegmentFile for LyingFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.lie == Lie::Late && std::mem::take(&mut self.owed) {
            self.inner.sync_data()?;
        }
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.owed = true;
        if self.lie == Lie::Names { self.inner.sync_data() } else { Ok(()) }
    }

    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.truncate(len_bytes)
    }
}
