//! What a script prints: each line with the time at which it came, the first and the last of it
//! kept, and what was left out between counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, Write};

/// So much from the beginning is kept: with the end, 16 MiB.
const HEAD_BYTES_MAX: u64 = 12 << 20;
/// And so much of the end: a script prints its maps last.
const TAIL_BYTES_MAX: u64 = 4 << 20;
/// What the time before a line takes: ten digits of seconds at most, a point, nine digits, a space.
const TIME_BYTES: u64 = 21;
/// A longer line becomes several.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The bounds, smaller in tests.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    head: u64,
    tail: u64,
    line: usize,
}

/// Counts of what was printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Lines that were printed.
    pub(super) lines: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Of the lines, those that are in no file.
    pub(super) lines_cut: u64,
    /// Their bytes.
    pub(super) bytes_cut: u64,
    /// Events that bpftrace says it lost.
    pub(super) events_lost: u64,
}

#[derive(Debug)]
struct Line {
    t_ns: u64,
    text: Vec<u8>,
}

impl Line {
    /// With its newline.
    fn bytes(&self) -> u64 {
        self.text.len() as u64 + 1
    }

    /// As much as it takes in the file.
    fn file_bytes(&self) -> u64 {
        self.bytes() + TIME_BYTES
    }

    /// As it stands in the file: seconds of CLOCK_MONOTONIC, a space, the text.
    fn write(&self, out: &mut Vec<u8>) {
        let (seconds, ns) = (self.t_ns / 1_000_000_000, self.t_ns % 1_000_000_000);
        // Writing into memory does not fail.
        let _ = write!(out, "{seconds}.{ns:09} ");
        out.extend_from_slice(&self.text);
        out.push(b'\n');
    }
}

/// A script's output.
#[derive(Debug)]
pub(super) struct Output<W = File> {
    bounds: Bounds,
    /// None: there is no file yet.
    file: Option<W>,
    /// The beginning, as long as there is no file.
    held: Vec<Line>,
    head_bytes: u64,
    head_full: bool,
    tail: VecDeque<Line>,
    tail_bytes: u64,
    /// A line that has not ended yet, and when it began.
    open: Option<Line>,
    counts: Counts,
    error: Option<String>,
}

impl<W> Default for Output<W> {
    fn default() -> Self {
        Self::bounded(Bounds { head: HEAD_BYTES_MAX, tail: TAIL_BYTES_MAX, line: LINE_BYTES_MAX })
    }
}

impl<W> Output<W> {
    fn bounded(bounds: Bounds) -> Self {
        Self {
            bounds,
            file: None,
            held: Vec::new(),
            head_bytes: 0,
            head_full: false,
            tail: VecDeque::new(),
            tail_bytes: 0,
            open: None,
            counts: Counts::default(),
            error: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Why the file could not be written.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The lines so far, as long as there is no file for them.
    pub(super) fn held(&self) -> impl Iterator<Item = &[u8]> {
        self.held.iter().map(|line| line.text.as_slice())
    }
}

impl<W: Write> Output<W> {
    /// Writes what has come so far into a file, and from here on what comes.
    pub(super) fn keep_in(&mut self, file: W) {
        self.file = Some(file);
        let held = std::mem::take(&mut self.held);
        self.write(&held);
    }

    /// Takes what was printed, and came at this time.
    pub(super) fn push(&mut self, t_ns: u64, mut bytes: &[u8]) {
        let mut whole = Vec::new();
        while !bytes.is_empty() {
            let mut line = self.open.take().unwrap_or(Line { t_ns, text: Vec::new() });
            // One more than there is room for: a newline may come just then.
            let room = self.bounds.line + 1 - line.text.len();
            let mut part = &bytes[..bytes.len().min(room)];
            // Reading from memory does not fail.
            let taken = part.read_until(b'\n', &mut line.text).unwrap_or_default();
            bytes = &bytes[taken..];
            if line.text.last() == Some(&b'\n') {
                line.text.pop();
                whole.push(line);
            } else if let Some(next) = line.text.pop_if(|_| taken == room) {
                whole.push(line);
                self.open = Some(Line { t_ns, text: vec![next] });
            } else {
                self.open = Some(line);
            }
        }
        self.take(whole);
    }

    /// Nothing more will come: writes the end.
    pub(super) fn finish(&mut self) {
        let open = self.open.take();
        self.take(open.into_iter().collect());
        let tail: Vec<Line> = std::mem::take(&mut self.tail).into();
        self.tail_bytes = 0;
        if self.file.is_none() {
            self.held.extend(tail);
            return;
        }
        if let (1.., Some(first)) = (self.counts.lines_cut, tail.first()) {
            let Counts { lines_cut, bytes_cut, .. } = self.counts;
            let said =
                format!("[temblor: {lines_cut} lines, {bytes_cut} bytes, are left out here]");
            let mut text = Vec::new();
            Line { t_ns: first.t_ns, text: said.into() }.write(&mut text);
            self.put(&text);
        }
        self.write(&tail);
    }

    fn take(&mut self, lines: Vec<Line>) {
        let mut head = Vec::new();
        for line in lines {
            self.counts.lines += 1;
            self.counts.bytes += line.bytes();
            self.counts.events_lost += events_lost(&line.text);
            // What comes once the beginning is full belongs to the end, however short it is.
            if !self.head_full && self.head_bytes + line.file_bytes() <= self.bounds.head {
                self.head_bytes += line.file_bytes();
                head.push(line);
                continue;
            }
            self.head_full = true;
            self.tail_bytes += line.file_bytes();
            self.tail.push_back(line);
            while self.tail_bytes > self.bounds.tail {
                let Some(oldest) = self.tail.pop_front() else { break };
                self.tail_bytes -= oldest.file_bytes();
                self.cut(&oldest);
            }
        }
        if self.file.is_some() {
            self.write(&head);
        } else {
            self.held.extend(head);
        }
    }

    fn cut(&mut self, line: &Line) {
        self.counts.lines_cut += 1;
        self.counts.bytes_cut += line.bytes();
    }

    fn write(&mut self, lines: &[Line]) {
        let mut text = Vec::new();
        lines.iter().for_each(|line| line.write(&mut text));
        if !self.put(&text) {
            // A part of them may be there: fewer are promised than there may be.
            lines.iter().for_each(|line| self.cut(line));
        }
    }

    /// Whether the file took it. Once it has not, it is left alone.
    fn put(&mut self, text: &[u8]) -> bool {
        let Some(file) = self.file.as_mut().filter(|_| self.error.is_none()) else { return false };
        match file.write_all(text) {
            Ok(()) => true,
            Err(error) => {
                self.error = Some(error.to_string());
                false
            }
        }
    }
}

/// `Lost 3 events`, in which bpftrace says that its buffer was full.
fn events_lost(line: &[u8]) -> u64 {
    let number = line.strip_prefix(b"Lost ").and_then(|rest| rest.strip_suffix(b" events"));
    number.and_then(|n| std::str::from_utf8(n).ok()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A file, or a full disk.
    #[derive(Debug, Default)]
    struct Disk {
        written: Vec<u8>,
        room: Option<usize>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room.is_some_and(|room| self.written.len() + bytes.len() > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(head: u64, tail: u64, line: usize) -> Output<Disk> {
        Output::bounded(Bounds { head, tail, line })
    }

    fn text(output: &Output<Disk>) -> String {
        String::from_utf8(output.file.as_ref().unwrap().written.clone()).unwrap()
    }

    #[test]
    fn lines_have_the_time_at_which_they_began_to_come() {
        let mut output = output(1000, 100, 100);
        output.push(1_000_000_001, b"one\ntw");
        assert_eq!(output.held().collect::<Vec<_>>(), [b"one"]);
        output.keep_in(Disk::default());
        output.push(2_500_000_000, b"o\n\nLost 12 events\nno end");
        output.finish();
        assert_eq!(
            text(&output),
            "1.000000001 one\n1.000000001 two\n2.500000000 \n2.500000000 Lost 12 events\n\
             2.500000000 no end\n"
        );
        let counts = Counts { lines: 5, bytes: 31, events_lost: 12, ..Counts::default() };
        assert_eq!(output.counts(), counts);
    }

    #[test]
    fn of_too_much_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        let mut output = output(50, 74, 100);
        output.keep_in(Disk::default());
        for n in 0..9 {
            output.push(n, format!("ln{n}\n").as_bytes());
        }
        // The beginning and the end are two lines each.
        output.finish();
        assert_eq!(
            text(&output),
            "0.000000000 ln0\n0.000000001 ln1\n\
             0.000000007 [temblor: 5 lines, 20 bytes, are left out here]\n\
             0.000000007 ln7\n0.000000008 ln8\n"
        );
        let counts = Counts { lines: 9, bytes: 36, lines_cut: 5, bytes_cut: 20, events_lost: 0 };
        assert_eq!(output.counts(), counts);
    }

    #[test]
    fn a_line_without_end_becomes_several() {
        let mut output = output(1000, 100, 4);
        output.keep_in(Disk::default());
        output.push(0, b"aaaabbbbcc");
        output.push(0, b"cc\ndddd\n");
        output.finish();
        let lines: Vec<String> = text(&output).lines().map(|l| l[12..].to_owned()).collect();
        assert_eq!(lines, ["aaaa", "bbbb", "cccc", "dddd"]);
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_as_cut() {
        let mut output = output(1000, 100, 100);
        output.keep_in(Disk { room: Some(20), ..Disk::default() });
        output.push(0, b"one\n");
        output.push(0, b"two\n");
        output.push(0, b"3\n");
        output.finish();
        assert_eq!(text(&output), "0.000000000 one\n");
        let Counts { lines, lines_cut, bytes_cut, .. } = output.counts();
        assert_eq!((lines, lines_cut, bytes_cut), (3, 2, 6));
        assert_eq!(output.error(), Some("no storage space"));
    }
}
