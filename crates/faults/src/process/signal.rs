//! A signal by its name or number.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;
use temblor_event::SIGNALS;

use super::ProcessRefusal;

/// The kernel's first real-time signal, two of which the C library keeps to itself.
const FIRST_REALTIME: i32 = 32;
/// What the C library calls `SIGRTMIN`.
const SIGRTMIN: i32 = 34;
/// The last signal there is.
const SIGRTMAX: i32 = 64;

/// A signal: every one but 0 and the two that the C library uses between threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signo(i32);

impl Signo {
    /// The one that nobody can catch.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The one that asks.
    pub const TERM: Self = Self(libc::SIGTERM);

    /// A signal by its number.
    ///
    /// # Errors
    /// There is no such signal, or it is the C library's own.
    pub fn new(number: i32) -> Result<Self, ProcessRefusal> {
        match number {
            0 => Err(ProcessRefusal::SignalZero),
            FIRST_REALTIME..SIGRTMIN => Err(ProcessRefusal::LibrarySignal { number }),
            1..=SIGRTMAX => Ok(Self(number)),
            _ => Err(ProcessRefusal::NotASignal { given: number.to_string() }),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    pub(crate) fn signal(self) -> Signal {
        // SAFETY: the number is that of a signal, and none of the C library's own (see `new`).
        unsafe { Signal::from_raw_unchecked(self.0) }
    }

    pub(crate) fn default_action(self) -> DefaultAction {
        match self.0 {
            libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH => DefaultAction::Nothing,
            libc::SIGCONT => DefaultAction::Continue,
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }

    /// Its name, where it has one of its own.
    pub(crate) fn name(self) -> Option<&'static str> {
        SIGNALS.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }
}

/// What the kernel does to a process that has not said what it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    End,
    Stop,
    Continue,
    Nothing,
}

impl fmt::Display for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == SIGRTMIN => f.write_str("SIGRTMIN"),
            None => write!(f, "SIGRTMIN+{}", self.0 - SIGRTMIN),
        }
    }
}

impl FromStr for Signo {
    type Err = ProcessRefusal;

    /// `SIGTERM`, `TERM`, `term`, `15`, `SIGRTMIN+2`.
    fn from_str(given: &str) -> Result<Self, ProcessRefusal> {
        let not = || ProcessRefusal::NotASignal { given: given.to_owned() };
        if let Ok(number) = given.parse() {
            return Self::new(number);
        }
        let upper = given.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        let number = match name.strip_prefix("RTM") {
            Some("IN") => Some(SIGRTMIN),
            Some("AX") => Some(SIGRTMAX),
            Some(rest) => match (rest.strip_prefix("IN+"), rest.strip_prefix("AX-")) {
                (Some(n), _) => n.parse::<u8>().ok().map(|n| SIGRTMIN + i32::from(n)),
                (_, Some(n)) => n.parse::<u8>().ok().map(|n| SIGRTMAX - i32::from(n)),
                _ => None,
            },
            None => None,
        };
        number.filter(|n| (SIGRTMIN..=SIGRTMAX).contains(n)).map(Self).ok_or_else(not)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_and_number() {
        for (given, number, shown) in [
            ("SIGKILL", 9, "SIGKILL"),
            ("kill", 9, "SIGKILL"),
            ("Term", 15, "SIGTERM"),
            ("15", 15, "SIGTERM"),
            ("SIGRTMIN", 34, "SIGRTMIN"),
            ("rtmin+2", 36, "SIGRTMIN+2"),
            ("SIGRTMAX", 64, "SIGRTMIN+30"),
            ("SIGRTMAX-1", 63, "SIGRTMIN+29"),
            ("64", 64, "SIGRTMIN+30"),
        ] {
            let signal: Signo = given.parse().unwrap();
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, shown), "{given}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_with_a_sentence() {
        for (given, expected) in [
            ("0", "signal 0 is sent to nobody: give a signal such as SIGTERM, or 15"),
            ("SIGNOPE", "`SIGNOPE` is not a signal"),
            ("", "`` is not a signal"),
            ("-9", "`-9` is not a signal"),
            ("65", "`65` is not a signal"),
            ("SIGRTMIN+31", "`SIGRTMIN+31` is not a signal"),
            ("SIGRTMAX-31", "`SIGRTMAX-31` is not a signal"),
            ("32", "signal 32 belongs to the C library"),
            ("33", "signal 33 belongs to the C library"),
        ] {
            let said = given.parse::<Signo>().unwrap_err().to_string();
            assert!(said.starts_with(expected), "{given}: {said}");
        }
    }
}
