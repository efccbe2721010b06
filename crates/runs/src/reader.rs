use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use temblor_event::{Body, Event, SCHEMA};

use crate::{EVENTS_FILE, EVENTS_FILE_COMPRESSED, LINE_BYTES_MAX, RunError};

/// Most events that [`Reader::read_all`] holds: about a day at the default load.
pub const EVENTS_MAX: usize = 20_000_000;

/// The events of a run, in the order they were written.
///
/// A last line that was cut off in the middle, as a crash leaves it, is not an error: it ends the
/// events and is told by [`Reader::torn`].
pub struct Reader {
    lines: Box<dyn BufRead + Send>,
    path: PathBuf,
    line: u64,
    torn: Option<Torn>,
    done: bool,
}

/// The rest of a line that was cut off when its writer died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Its number, from 1.
    pub line: u64,
    /// How much of it there is.
    pub bytes: usize,
}

/// A run, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// In the order they were written. The first is [`Body::RunStarted`].
    pub events: Vec<Event>,
    /// The last line was cut off.
    pub torn: Option<Torn>,
}

impl Reader {
    /// Opens the event log of a run directory, plain or compressed.
    pub fn open(dir: &Path) -> Result<Self, RunError> {
        if !dir.is_dir() {
            return Err(RunError::Missing(dir.to_owned()));
        }
        // Both are there if compressing was cut short: the plain one is removed last, so it is
        // whole.
        let plain = dir.join(EVENTS_FILE);
        match File::open(&plain) {
            Ok(file) => return Ok(Self::new(file, plain)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(RunError::io("read", plain, e)),
        }
        let compressed = dir.join(EVENTS_FILE_COMPRESSED);
        match File::open(&compressed).and_then(zstd::Decoder::new) {
            Ok(decoder) => Ok(Self::new(decoder, compressed)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(RunError::NoRun(dir.to_owned())),
            Err(e) => Err(RunError::io("read", compressed, e)),
        }
    }

    /// Reads a log from anywhere; `path` is what errors call it.
    pub fn new(log: impl Read + Send + 'static, path: impl Into<PathBuf>) -> Self {
        Self {
            lines: Box::new(BufReader::with_capacity(256 << 10, log)),
            path: path.into(),
            line: 0,
            torn: None,
            done: false,
        }
    }

    /// The line that was cut off; known once the iterator has ended.
    #[must_use]
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// All events at once, at most [`EVENTS_MAX`].
    pub fn read_all(mut self) -> Result<Recorded, RunError> {
        let mut events = Vec::new();
        for event in self.by_ref() {
            if events.len() == EVENTS_MAX {
                return Err(RunError::TooManyEvents { path: self.path, events_max: EVENTS_MAX });
            }
            events.push(event?);
        }
        if events.is_empty() {
            Err(RunError::Empty(self.path))
        } else {
            Ok(Recorded { events, torn: self.torn })
        }
    }

    fn read_event(&mut self) -> Result<Option<Event>, RunError> {
        let mut bytes = Vec::new();
        // One more than the bound, so that a line just as long as allowed is told from a longer one.
        let mut limited = (&mut self.lines).take(LINE_BYTES_MAX as u64 + 1);
        limited.read_until(b'\n', &mut bytes).map_err(|e| RunError::io("read", &self.path, e))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if bytes.len() > LINE_BYTES_MAX {
            return Err(RunError::LineTooLong {
                path: self.path.clone(),
                line: self.line,
                bytes_max: LINE_BYTES_MAX,
            });
        }
        let whole = bytes.ends_with(b"\n");
        if self.line == 1 {
            self.refuse_newer(&bytes)?;
        }
        match serde_json::from_slice::<Event>(&bytes) {
            Ok(event) if self.line == 1 && !matches!(event.body, Body::RunStarted(_)) => {
                Err(RunError::NoStart(self.path.clone()))
            }
            Ok(event) => Ok(Some(event)),
            // No proper beginning of a JSON object is one itself: what was cut off cannot parse.
            Err(_) if !whole => {
                self.torn = Some(Torn { line: self.line, bytes: bytes.len() });
                Ok(None)
            }
            Err(source) => Err(RunError::Line {
                path: self.path.clone(),
                line: self.line,
                source: Arc::new(source),
            }),
        }
    }

    /// A later version may have changed anything but these three fields of the first event.
    fn refuse_newer(&self, line: &[u8]) -> Result<(), RunError> {
        #[derive(Deserialize)]
        struct Head {
            event: String,
            #[serde(default)]
            schema: u64,
            #[serde(default)]
            temblor: String,
        }
        match serde_json::from_slice::<Head>(line) {
            Ok(head) if head.event == "run.started" && head.schema > u64::from(SCHEMA) => {
                Err(RunError::Newer {
                    path: self.path.clone(),
                    schema: head.schema,
                    supported: SCHEMA,
                    temblor: head.temblor,
                })
            }
            // Whatever else is wrong with it is told when the whole event is read.
            _ => Ok(()),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Event, RunError>;

    /// The first error is the last item: what follows a damaged line is not to be trusted.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read_event().transpose();
        self.done = !matches!(read, Some(Ok(_)));
        read
    }
}
