//! The windows in which figures are counted, and what was lost meanwhile.

use std::time::Duration;

use temblor_event::{Event, ProbeLost, clock};

use crate::Error;
use crate::object::Loaded;

/// How long a window is.
const LENGTH_NS: u64 = 1_000_000_000;
/// The kernel halves' number of the window.
const SECTION: &str = ".data.window";

/// The window that is open.
#[derive(Debug)]
pub(crate) struct Window {
    number: u32,
    began_ns: u64,
}

/// A window that has just been closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    /// The number that the kernel half put beside its maxima.
    pub(crate) number: u32,
    /// Its end, CLOCK_MONOTONIC.
    pub(crate) ended_ns: u64,
    pub(crate) length_ns: u64,
}

impl Window {
    /// The first, which begins now.
    pub(crate) fn first() -> Self {
        Self { number: 1, began_ns: clock::now_ns() }
    }

    /// How long until it is due to be closed; zero: it is.
    pub(crate) fn left(&self) -> Duration {
        let due_ns = self.began_ns + LENGTH_NS;
        Duration::from_nanos(due_ns.saturating_sub(clock::now_ns()))
    }

    /// Waits until it is due, but not longer than `timeout`. Whether it is due.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        std::thread::park_timeout(self.left().min(timeout));
        self.left().is_zero()
    }

    /// Has the kernel half count into the next window from now on.
    pub(crate) fn turn(&mut self, loaded: &Loaded) -> Result<Closed, Error> {
        let number = self.number;
        self.number = number.wrapping_add(1);
        loaded.set_global(SECTION, self.number)?;
        Ok(self.close(number))
    }

    /// As [`Window::turn`], where the kernel half keeps nothing by window.
    pub(crate) fn turn_unnumbered(&mut self) -> Closed {
        self.close(self.number)
    }

    fn close(&mut self, number: u32) -> Closed {
        let ended_ns = clock::now_ns();
        let length_ns = ended_ns.saturating_sub(self.began_ns);
        self.began_ns = ended_ns;
        Closed { number, ended_ns, length_ns }
    }
}

/// Events that were lost, as far as they have been told of.
#[derive(Debug)]
pub(crate) struct Losses {
    /// What is lost, as the log names it: the probe, or a part of it.
    of: &'static str,
    told: u64,
}

impl Losses {
    pub(crate) fn of(of: &'static str) -> Self {
        Self { of, told: 0 }
    }

    /// Tells of what has been lost since, given how much was in all.
    pub(crate) fn tell(&mut self, now_ns: u64, lost: u64, sink: &mut dyn FnMut(Event)) {
        let events = lost.saturating_sub(self.told);
        if events > 0 {
            sink(Event::at(now_ns, ProbeLost { probe: self.of.into(), events }));
        }
        self.told = self.told.max(lost);
    }
}
