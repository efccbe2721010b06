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

#[cfg(test)]
pub(crate) mod tests {
    use std::error::Error;
    use std::fs;

    use proptest::prelude::*;
    use temblor_event::{Gauge, HostFacts, RunStarted};

    use super::*;

    pub(crate) fn started() -> Event {
        let started = RunStarted {
            schema: SCHEMA,
            temblor: "0.1.0".to_owned(),
            name: "n".to_owned(),
            title: "t".to_owned(),
            wall_unix_ns: u64::MAX,
            seed: 1,
            host: HostFacts::default(),
            phases: Vec::new(),
            load: None,
            steady_state: Vec::new(),
            steady_hold_ns: 0,
            expect: Vec::new(),
            backlogs: Vec::new(),
            hypothesis: None,
            learn: Vec::new(),
        };
        Event::at(1, started)
    }

    fn gauge(value: f64) -> Event {
        Event::at(2, Gauge { gauge: "backlog".to_owned(), value })
    }

    fn lines(events: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in events {
            serde_json::to_writer(&mut bytes, event).unwrap();
            bytes.push(b'\n');
        }
        bytes
    }

    fn read(log: &[u8]) -> Result<Recorded, RunError> {
        Reader::new(io::Cursor::new(log.to_vec()), "events.ndjson").read_all()
    }

    #[test]
    fn a_log_that_cannot_be_read_says_why() {
        let start = String::from_utf8(lines(&[started()])).unwrap();
        let newer = start
            .replace(r#""schema":1"#, r#""schema":2"#)
            .replace(r#""temblor":"0.1.0""#, r#""temblor":"0.9.3""#);
        for (log, expected) in [
            (String::new(), "events.ndjson has no events"),
            ("{\"t_ns\":1".to_owned(), "events.ndjson has no events"),
            (
                String::from_utf8(lines(&[gauge(1.0)])).unwrap(),
                "events.ndjson does not begin with a `run.started` event",
            ),
            ("garbage\n".to_owned(), "line 1 of events.ndjson is no event"),
            (format!("{start}{start}{{}}\n{start}"), "line 3 of events.ndjson is no event"),
            (format!("{start}\n{start}"), "line 2 of events.ndjson is no event"),
            (
                newer,
                "events.ndjson was written by temblor 0.9.3 in version 2 of the event vocabulary, \
                 and this program reads up to version 1: use temblor 0.9.3 or later",
            ),
            // Whatever else a later version may have changed.
            (
                r#"{"event":"run.started","schema":7,"temblor":"2"}"#.to_owned() + "\n",
                "events.ndjson was written by temblor 2 in version 7",
            ),
        ] {
            let error = read(log.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{log:?}: {error}");
            // Nothing is said twice when the chain of causes is printed.
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(cause.is_empty() || !error.to_string().contains(&cause));
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_read_into_memory() {
        let mut log = lines(&[started()]);
        log.resize(log.len() + LINE_BYTES_MAX + 1, b' ');
        let error = read(&log).unwrap_err();
        assert!(matches!(error, RunError::LineTooLong { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_number_that_json_cannot_write_comes_back() {
        let recorded = read(&lines(&[started(), gauge(f64::NAN), gauge(f64::INFINITY)])).unwrap();
        for event in &recorded.events[1..] {
            let Body::Gauge(gauge) = &event.body else { panic!("{event:?}") };
            assert!(gauge.value.is_nan());
        }
    }

    #[test]
    fn a_directory_that_is_no_run_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| Reader::open(path).err().unwrap();
        assert!(matches!(open(&dir.path().join("absent")), RunError::Missing(_)));
        assert!(matches!(open(dir.path()), RunError::NoRun(_)));
        // A plain log stands before a compressed one that may be half-written.
        fs::write(dir.path().join(EVENTS_FILE_COMPRESSED), b"half").unwrap();
        fs::write(dir.path().join(EVENTS_FILE), lines(&[started()])).unwrap();
        assert_eq!(Reader::open(dir.path()).unwrap().count(), 1);
        fs::remove_file(dir.path().join(EVENTS_FILE)).unwrap();
        let error = Reader::open(dir.path()).unwrap().read_all().unwrap_err();
        assert!(matches!(error, RunError::Io { action: "read", .. }), "{error}");
    }

    #[test]
    fn a_compressed_log_that_was_cut_off_is_an_error_and_not_a_shorter_run() {
        let events: Vec<Event> =
            std::iter::once(started()).chain((0..2_000).map(|i| gauge(f64::from(i)))).collect();
        let whole = zstd::encode_all(&lines(&events)[..], 3).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(EVENTS_FILE_COMPRESSED);
        let read = || Reader::open(dir.path()).unwrap().read_all();
        fs::write(&file, &whole).unwrap();
        assert_eq!(read().unwrap().events, events);
        fs::write(&file, &whole[..whole.len() - 5]).unwrap();
        assert!(matches!(read().unwrap_err(), RunError::Io { action: "read", .. }));
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_or_events_and_never_a_panic(
            log in prop::collection::vec(any::<u8>(), 0..300),
            begins_well in any::<bool>(),
        ) {
            let mut bytes = if begins_well { lines(&[started()]) } else { Vec::new() };
            bytes.extend(log);
            if let Ok(recorded) = read(&bytes) {
                prop_assert!(begins_well && !recorded.events.is_empty());
            }
        }

        #[test]
        fn a_damaged_byte_is_an_error_or_an_event_and_never_a_panic(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = lines(&[started(), gauge(1.5)]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
        }

        #[test]
        fn a_log_cut_off_anywhere_gives_the_events_that_are_whole(
            n in 1..5_u8,
            at in any::<prop::sample::Index>(),
        ) {
            let mut events = vec![started()];
            events.extend((0..n).map(|i| gauge(f64::from(i))));
            let whole = lines(&events);
            let cut = at.index(whole.len() + 1);
            let ends = events.iter().scan(0, |end, event| {
                *end += lines(std::slice::from_ref(event)).len();
                Some(*end)
            });
            // A line that lacks nothing but its newline is whole too.
            let kept = ends.clone().filter(|end| end - 1 <= cut).count();
            let torn = ends.filter(|end| *end <= cut).last().unwrap_or(0) < cut
                && !(kept > 0 && whole.get(cut) == Some(&b'\n'));
            match read(&whole[..cut]) {
                Ok(recorded) => {
                    prop_assert_eq!(&recorded.events[..], &events[..kept]);
                    prop_assert_eq!(recorded.torn.is_some(), torn);
                }
                Err(error) => {
                    prop_assert!(matches!(error, RunError::Empty(_)), "{}", error);
                    prop_assert_eq!(kept, 0);
                }
            }
        }
    }
}
