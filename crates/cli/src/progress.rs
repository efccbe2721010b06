//! A run's progress: on a terminal one line that is written over, elsewhere a plain line now and
//! then.

use std::io::{self, Write};
use std::time::Duration;

use temblor_judge::human::counted;
use temblor_runner::{Standing, Update};

use crate::terminal;

/// Without a terminal, how things stand is said this often: often enough for a log that somebody
/// follows, seldom enough for one that somebody keeps.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows updates on standard error.
pub(crate) struct Progress {
    rewrite: bool,
    quiet: bool,
    last_plain: Option<Duration>,
    line_open: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { rewrite: terminal::can_rewrite(), quiet, last_plain: None, line_open: false }
    }

    pub(crate) fn show(&mut self, update: &Update) {
        if self.quiet {
            return;
        }
        match update {
            Update::Said { at, what } => {
                self.close_line();
                terminal::say(&format!("{} {}", stamp(*at), terminal::plain(what)));
            }
            Update::Tick(standing) if self.rewrite => {
                let text = terminal::fit(&line(standing), terminal::columns() - 1);
                let _ = write!(io::stderr().lock(), "\r\x1b[K{text}");
                let _ = io::stderr().flush();
                self.line_open = true;
            }
            Update::Tick(standing) => {
                if self.last_plain.is_none_or(|last| standing.at - last >= PLAIN_EVERY) {
                    self.last_plain = Some(standing.at);
                    terminal::say(&terminal::plain(&line(standing)));
                }
            }
        }
    }

    /// Leaves the terminal on a fresh line.
    pub(crate) fn close_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn stamp(at: Duration) -> String {
    format!("[{:>6.1}s]", at.as_secs_f64())
}

/// How things stand, what matters most first: a narrow terminal cuts the end off.
fn line(s: &Standing) -> String {
    let mut text = stamp(s.at);
    if !s.phase.is_empty() {
        let (at, length) = (s.phase_at.as_secs(), s.phase_length.as_secs());
        text.push_str(&format!(" {} {at}/{length} s", s.phase));
    }
    text.push_str(&format!(" | {} ok", s.ok));
    if s.failed > 0 {
        text.push_str(&format!(", {} refused", s.failed));
    }
    if s.unsure > 0 {
        text.push_str(&format!(", {} unsure", s.unsure));
    }
    if let Some(p99) = s.p99_seconds {
        text.push_str(&format!(" | p99 {:.1} ms", p99 * 1000.0));
    }
    for (count, what) in &s.effects {
        text.push_str(&format!(" | {}", counted(*count, what)));
    }
    for (name, value) in &s.gauges {
        text.push_str(&format!(" | {value} {name}"));
    }
    if s.retransmitted > 0 {
        text.push_str(&format!(" | {} segments sent again", s.retransmitted));
    }
    for (name, ok, seen) in &s.checks {
        if !ok {
            text.push_str(&format!(" | {name}: no ({seen})"));
        }
    }
    text
}
