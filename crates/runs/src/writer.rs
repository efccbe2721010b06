use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use temblor_event::{Event, clock};

use crate::compress::compress_if_long;
use crate::{EVENTS_FILE, EXPERIMENT_FILE, LINE_BYTES_MAX, RunDir, RunError};

/// Lines on their way to the disk. A producer waits once this many are: better a late request,
/// which the load accounts for, than an event that is missing.
const QUEUE_LINES_MAX: usize = 65_536;

/// What was appended is with the kernel after this long, so that SIGKILL takes no more than that.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

const BUFFER_BYTES: usize = 256 << 10;

/// A run that is being written.
///
/// Events are appended through its [`Sink`]s from any thread and go to the disk on a thread of
/// their own, so that a stalled disk does not delay a load worker's next request.
#[derive(Debug)]
pub struct Writer {
    dir: RunDir,
    log: Log,
}

impl Writer {
    /// Begins a run in `<parent>/<UTC time>-<name>/`.
    pub fn create(parent: &Path, name: &str, experiment_yaml: &str) -> Result<Self, RunError> {
        let wall = i128::from(clock::wall_unix_ns());
        let wall = Timestamp::from_nanosecond(wall).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::begin(RunDir::create_under(parent, name, wall)?, experiment_yaml)
    }

    /// Begins a run in exactly this directory, which must be empty or not exist yet.
    pub fn create_at(dir: &Path, experiment_yaml: &str) -> Result<Self, RunError> {
        Self::begin(RunDir::create_at(dir)?, experiment_yaml)
    }

    fn begin(dir: RunDir, experiment_yaml: &str) -> Result<Self, RunError> {
        dir.write_file(EXPERIMENT_FILE, experiment_yaml.as_bytes())?;
        let path = dir.path().join(EVENTS_FILE);
        let file = File::create_new(&path).map_err(|e| RunError::io("create", &path, e))?;
        let log = Log::start(file, &path).map_err(|e| RunError::io("write", &path, e))?;
        Ok(Self { dir, log })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// A handle to append with; as many as there are producers.
    #[must_use]
    pub fn sink(&self) -> Sink {
        self.log.sink.clone()
    }

    /// Appends an event.
    pub fn append(&self, event: &Event) -> Result<(), RunError> {
        self.log.sink.append(event)
    }

    /// Writes a file beside the events, whole or not at all.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        self.dir.write_file(name, bytes)
    }

    /// Makes a file beside the events that grows while the run goes on.
    pub fn create_file(&self, name: &str) -> Result<File, RunError> {
        self.dir.create_file(name)
    }

    /// Writes out what is under way, syncs it, and compresses the log if it is long. Appending
    /// fails from here on, through every sink.
    pub fn finish(self) -> Result<RunDir, RunError> {
        let Self { dir, mut log } = self;
        log.close()?;
        let path = dir.path().join(EVENTS_FILE);
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|e| RunError::io("sync", &path, e))?;
        compress_if_long(&dir)?;
        Ok(dir)
    }
}

/// Appends events to a run's log, from any thread.
#[derive(Debug, Clone)]
pub struct Sink {
    lines: SyncSender<Message>,
    failure: Arc<OnceLock<Arc<io::Error>>>,
    path: Arc<Path>,
}

impl Sink {
    /// Appends an event. It is on its way when this returns; that the disk is full, or that an
    /// earlier event could not be written, is the error of a later call and of
    /// [`Writer::finish`].
    pub fn append(&self, event: &Event) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(event).map_err(|e| RunError::Encode(Arc::new(e)))?;
        line.push(b'\n');
        if line.len() > LINE_BYTES_MAX {
            return Err(RunError::EventTooLong { bytes: line.len(), bytes_max: LINE_BYTES_MAX });
        }
        self.lines.send(Message::Line(line)).map_err(|_closed| self.why_closed())
    }

    fn why_closed(&self) -> RunError {
        match self.failure.get() {
            Some(source) => RunError::Io {
                action: "write",
                path: self.path.to_path_buf(),
                source: Arc::clone(source),
            },
            None => RunError::Finished(self.path.to_path_buf()),
        }
    }
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Sent last by the writer: sinks may still be held elsewhere, so the queue does not close by
    /// itself.
    Close,
}

/// The queue's two ends: the sinks, and the thread that writes.
#[derive(Debug)]
struct Log {
    sink: Sink,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    fn start(out: impl Write + Send + 'static, path: &Path) -> io::Result<Self> {
        let (sender, lines) = sync_channel(QUEUE_LINES_MAX);
        let failure = Arc::new(OnceLock::new());
        let sink = Sink { lines: sender, failure: Arc::clone(&failure), path: path.into() };
        let thread = thread::Builder::new().name("event-log".to_owned()).spawn(move || {
            if let Err(e) = write_lines(&lines, out) {
                // Set before the queue closes, so that whoever finds it closed finds the reason.
                let _ = failure.set(Arc::new(e));
            }
            drop(lines);
        })?;
        Ok(Self { sink, thread: Some(thread) })
    }

    fn close(&mut self) -> Result<(), RunError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // An error means the thread has ended already; why is told below.
        let _ = self.sink.lines.send(Message::Close);
        let panicked = thread.join().is_err();
        if panicked {
            let _ = self.sink.failure.set(Arc::new(io::Error::other("the log's thread panicked")));
        }
        if self.sink.failure.get().is_some() { Err(self.sink.why_closed()) } else { Ok(()) }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `finish`.
        let _ = self.close();
    }
}

/// Runs until [`Message::Close`], until every sink is gone, or until the disk refuses.
fn write_lines(lines: &Receiver<Message>, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let mut unflushed_since_ns = None;
    loop {
        let message = match unflushed_since_ns {
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since_ns) => {
                let waited = Duration::from_nanos(clock::now_ns().saturating_sub(since_ns));
                lines.recv_timeout(FLUSH_EVERY.saturating_sub(waited))
            }
        };
        match message {
            Ok(Message::Line(line)) => {
                out.write_all(&line)?;
                unflushed_since_ns.get_or_insert_with(clock::now_ns);
            }
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return out.flush(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let due = unflushed_since_ns
            .is_some_and(|since| clock::now_ns().saturating_sub(since) >= as_ns(FLUSH_EVERY));
        if due {
            out.flush()?;
            unflushed_since_ns = None;
        }
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use temblor_event::{Body, Gauge};

    use super::*;
    use crate::reader::tests::started;
    use crate::{EVENTS_FILE_COMPRESSED, Reader};

    fn gauge(gauge: impl Into<String>, value: f64) -> Event {
        Event::now(Gauge { gauge: gauge.into(), value })
    }

    #[test]
    fn what_is_appended_from_many_threads_is_read_back_in_each_ones_order() {
        let parent = tempfile::tempdir().unwrap();
        let writer = Writer::create(parent.path(), "many", "kind: Experiment\n").unwrap();
        writer.append(&started()).unwrap();
        thread::scope(|scope| {
            for producer in 0..4 {
                let sink = writer.sink();
                scope.spawn(move || {
                    for i in 0..500 {
                        sink.append(&gauge(producer.to_string(), f64::from(i))).unwrap();
                    }
                });
            }
        });
        let dir = writer.finish().unwrap();
        assert_eq!(dir.experiment().unwrap(), "kind: Experiment\n");
        let recorded = Reader::open(dir.path()).unwrap().read_all().unwrap();
        assert_eq!((recorded.events.len(), recorded.torn), (2_001, None));
        for producer in 0..4 {
            let values: Vec<f64> = recorded
                .events
                .iter()
                .filter_map(|event| match &event.body {
                    Body::Gauge(gauge) if gauge.gauge == producer.to_string() => Some(gauge.value),
                    _ => None,
                })
                .collect();
            assert_eq!(values, (0..500).map(f64::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_long_log_is_compressed_and_the_same_and_a_short_one_is_left() {
        let parent = tempfile::tempdir().unwrap();
        for (name, padding, compressed) in [("short", 10, false), ("long", 600_000, true)] {
            let writer = Writer::create(parent.path(), name, "").unwrap();
            let events =
                [started(), gauge("x".repeat(padding), 1.0), gauge("y".repeat(padding), 2.0)];
            for event in &events {
                writer.append(event).unwrap();
            }
            let dir = writer.finish().unwrap();
            let is = |file: &str| dir.path().join(file).exists();
            assert_eq!((is(EVENTS_FILE), is(EVENTS_FILE_COMPRESSED)), (!compressed, compressed));
            assert!(!is("events.ndjson.zst.tmp"));
            let recorded = Reader::open(dir.path()).unwrap().read_all().unwrap();
            assert_eq!(recorded.events, events);
        }
    }

    #[test]
    fn it_is_on_disk_soon_though_nobody_finishes() {
        let parent = tempfile::tempdir().unwrap();
        let writer = Writer::create(parent.path(), "soon", "").unwrap();
        writer.append(&started()).unwrap();
        writer.append(&gauge("a", 1.0)).unwrap();
        let deadline_ns = clock::now_ns() + as_ns(Duration::from_secs(20));
        let on_disk = || Reader::open(writer.dir().path()).unwrap().count();
        while on_disk() < 2 {
            assert!(clock::now_ns() < deadline_ns, "not written out within 20 s");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_writer_that_is_dropped_has_written_everything() {
        let parent = tempfile::tempdir().unwrap();
        let writer = Writer::create(parent.path(), "dropped", "").unwrap();
        let dir = writer.dir().clone();
        let sink = writer.sink();
        sink.append(&started()).unwrap();
        drop(writer);
        assert_eq!(Reader::open(dir.path()).unwrap().read_all().unwrap().events, [started()]);
        let refused = sink.append(&started()).unwrap_err();
        assert!(matches!(refused, RunError::Finished(_)), "{refused}");
    }

    #[test]
    fn a_full_disk_is_an_error_for_every_producer_and_for_the_finish() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut log = Log::start(full, Path::new("events.ndjson")).unwrap();
        let (sink, event) = (log.sink.clone(), gauge("x".repeat(1_000), 0.0));
        // A producer may be ahead by the queue and the buffer, but not for ever.
        let refused = (0..1_000_000).find_map(|_| sink.append(&event).err());
        for error in [refused.unwrap(), sink.append(&event).unwrap_err(), log.close().unwrap_err()]
        {
            assert_eq!(error.to_string(), "cannot write events.ndjson");
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(why.contains("No space left on device"), "{why}");
        }
    }

    #[test]
    fn an_event_too_long_for_a_line_is_refused_and_the_log_goes_on() {
        let parent = tempfile::tempdir().unwrap();
        let writer = Writer::create(parent.path(), "long", "").unwrap();
        writer.append(&started()).unwrap();
        let refused = writer.append(&gauge("x".repeat(LINE_BYTES_MAX), 0.0)).unwrap_err();
        assert!(matches!(refused, RunError::EventTooLong { .. }), "{refused}");
        writer.append(&gauge("a", 1.0)).unwrap();
        let dir = writer.finish().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(EVENTS_FILE)).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_directory_in_use_is_not_written_into() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("out");
        Writer::create_at(&out, "").unwrap().finish().unwrap();
        assert!(matches!(Writer::create_at(&out, "").unwrap_err(), RunError::NotEmpty(_)));
    }
}
