//! The owner's side of a journal.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;

use serde::Serialize;

use super::store::{LogFile, Store};
use super::{ENDING, Header, Line, NEW_ENDING, encode};

/// A journal that is written. The file is there from the first line on.
#[derive(Debug)]
pub(crate) struct Journal<U, S> {
    store: S,
    /// Without its ending.
    name: String,
    header: Header,
    file: Option<Box<dyn LogFile>>,
    /// How long the file is up to the last line that is whole.
    len_bytes: u64,
    last_id: u64,
    /// What is on record and not undone.
    open: BTreeSet<u64>,
    /// Why nothing can be recorded any more.
    broken: Option<String>,
    of: PhantomData<fn(U)>,
}

impl<U: Serialize + Debug, S: Store> Journal<U, S> {
    /// A journal that is not there yet.
    pub(crate) fn new(store: S, name: String, header: Header) -> Self {
        Self {
            store,
            name,
            header,
            file: None,
            len_bytes: 0,
            last_id: 0,
            open: BTreeSet::new(),
            broken: None,
            of: PhantomData,
        }
    }

    /// Makes the file, with its header, under its name; nothing where it is there.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let (new, name) = (format!("{}.{NEW_ENDING}", self.name), self.file_name());
        let header = encode::<U>(&Line::Header(self.header.clone()))?;
        let mut file = self.store.create(&new)?;
        // Under its name it has a whole header: nobody finds a journal that is nobody's.
        let made = file
            .append(&header)
            .and_then(|()| file.sync())
            .and_then(|()| self.store.rename(&new, &name))
            .and_then(|()| self.store.sync_names());
        if let Err(error) = made {
            let _ = self.store.remove(&new);
            let _ = self.store.remove(&name);
            return Err(error);
        }
        self.len_bytes = header.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Puts a change on record. When this returns it is on the disk.
    pub(crate) fn record(&mut self, undo: U) -> io::Result<u64> {
        self.begin()?;
        let id = self.last_id + 1;
        self.write(&Line::Record { id, undo })?;
        self.last_id = id;
        self.open.insert(id);
        Ok(id)
    }

    /// Says who replays it from now on; on the disk when this returns.
    pub(crate) fn guarded_by(
        &mut self,
        guardian: temblor_host::process::Identity,
    ) -> io::Result<()> {
        self.begin()?;
        self.write(&Line::Guardian { guardian })
    }

    /// Marks a change as undone. That the mark could not be written does no harm: the change is
    /// then undone once more, which changes nothing.
    pub(crate) fn done(&mut self, id: u64) {
        self.open.remove(&id);
        if self.broken.is_none()
            && let Ok(bytes) = encode::<U>(&Line::Done { id })
        {
            let _ = self.append(&bytes);
        }
    }

    /// Whether a change that was recorded after this one is still open.
    pub(crate) fn is_covered(&self, id: u64) -> bool {
        self.open.range(id + 1..).next().is_some()
    }

    /// Removes the file if nothing is open; says whether it is gone.
    pub(crate) fn end(&mut self) -> bool {
        if !self.open.is_empty() {
            return false;
        }
        match self.file.take() {
            None => true,
            Some(_) => self.store.remove(&self.file_name()).is_ok(),
        }
    }

    /// Whose it is.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The name of the file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{ENDING}", self.name)
    }

    fn write(&mut self, line: &Line<U>) -> io::Result<()> {
        if let Some(why) = &self.broken {
            return Err(io::Error::other(why.clone()));
        }
        let before = self.len_bytes;
        let bytes = encode(line)?;
        self.append(&bytes)?;
        let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync());
        if let Err(error) = synced {
            // The kernel may have dropped what was written and call the file clean: a later
            // success would prove nothing.
            self.broken = Some(format!("the journal could not be written to the disk: {error}"));
            self.take_back(before);
            return Err(error);
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        match file.append(bytes) {
            Ok(()) => {
                self.len_bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line in the middle of the file would be taken for damage.
                self.take_back(self.len_bytes);
                Err(error)
            }
        }
    }

    fn take_back(&mut self, len_bytes: u64) {
        let Some(file) = self.file.as_mut() else { return };
        match file.cut(len_bytes) {
            Ok(()) => self.len_bytes = len_bytes,
            Err(error) => {
                self.broken = Some(format!("half a line of the journal could not be cut: {error}"));
            }
        }
    }
}
