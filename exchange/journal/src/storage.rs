//! What the journal asks of a file system.

use std::fmt;
use std::io;

/// A flat directory of files.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The names of all files.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file. Its name is durable only after [`Storage::sync_dir`].
    ///
    /// # Errors
    /// When the file exists already or cannot be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// When it does not exist or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;

    /// Makes the names of all files durable.
    ///
    /// # Errors
    /// When it is not certain that they are.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file. Several handles of one file see the same bytes.
pub trait SegmentFile: Send {
    /// How long the file is.
    ///
    /// # Errors
    /// When that cannot be told.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Reads into `buffer` and tells how much; zero means the end of the file.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at the offset, lengthening the file where needed. They are durable only after
    /// [`SegmentFile::sync_data`].
    ///
    /// # Errors
    /// When not all bytes were written; some may have been.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes all that was written through any handle durable, with the length that is needed to read it.
    ///
    /// # Errors
    /// When it is not certain that it is. A later success then says nothing about the bytes of now: the
    /// system may have dropped them and call the rest clean.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Shortens the file; the new length is durable when this returns.
    ///
    /// # Errors
    /// When it is not certain that it is.
    fn truncate(&mut self, len_bytes: u64) -> io::Result<()>;
}
