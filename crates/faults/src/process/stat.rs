//! What `/proc/PID/stat` and `/proc/PID/status` say of a process.

use std::fs;

/// The figures of one line of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: u32,
    /// User and system time, clock ticks.
    pub(crate) cpu_ticks: u64,
    /// When it was started, clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// As `wait` would give it; it means something once the process has ended, and is 0 to
    /// readers who may not trace the process.
    pub(crate) exit_code: i32,
}

impl Stat {
    /// `None` when there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command (field 2) may hold anything; what follows its last parenthesis is regular.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        // Field 3 of the line is the first here.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        let ticks = |number| field(number)?.parse::<u64>().ok();
        Some(Self {
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            cpu_ticks: ticks(14)? + ticks(15)?,
            start_ticks: ticks(22)?,
            exit_code: field(52).and_then(|code| code.parse().ok()).unwrap_or(0),
        })
    }

    /// Ended, and not yet waited for.
    pub(crate) fn has_ended(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Whether a thread has ended, or was never there. One that has ended, and is still listed, can be
/// traced no more: the kernel refuses with the error that stands for a missing right.
pub(crate) fn thread_has_ended(pid: u32, tid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))
        .ok()
        .and_then(|line| Stat::parse(&line))
        .is_none_or(Stat::has_ended)
}

/// How many of `/proc`'s clock ticks make a second.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: sysconf reads a constant of the system's.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// What a process does with one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Disposition {
    pub(crate) caught: bool,
    pub(crate) ignored: bool,
    /// By its main thread.
    pub(crate) blocked: bool,
    /// Sent, and not yet taken.
    pub(crate) pending: bool,
}

impl Disposition {
    /// `None` when there is no such process.
    pub(crate) fn of(pid: u32, signal: i32) -> Option<Self> {
        Some(Self::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, signal))
    }

    fn parse(status: &str, signal: i32) -> Self {
        let has = |name: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix(name));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .is_some_and(|mask| mask & (1u64 << (signal - 1)) != 0)
        };
        Self {
            caught: has("SigCgt:"),
            ignored: has("SigIgn:"),
            blocked: has("SigBlk:"),
            pending: has("ShdPnd:") || has("SigPnd:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_command_is_called() {
        let rest = "S 17 1 1 0 -1 4194560 1 2 3 4 50 6 7 8 20 0 1 0 777 11 12 13 14 15 16 17 18 \
                    19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 9\n";
        for command in ["redis", "a) Z 1 2", "((", "x y"] {
            let stat = Stat::parse(&format!("42 ({command}) {rest}")).unwrap();
            let expected = Stat {
                state: 'S',
                parent: 17,
                cpu_ticks: 56,
                start_ticks: 777,
                exit_code: stat.exit_code,
            };
            assert_eq!(stat, expected, "{command}");
        }
        assert_eq!(Stat::parse("42 (redis) S 1 2"), None);
        assert_eq!(Stat::of(u32::MAX), None);
    }

    #[test]
    fn what_is_done_with_a_signal_is_read_from_its_masks() {
        let status = "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n\
                      SigBlk:\t0000000000000200\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004000\n";
        let of = |signal| Disposition::parse(status, signal);
        assert_eq!(of(15), Disposition { caught: true, pending: true, ..Default::default() });
        assert_eq!(of(13), Disposition { ignored: true, ..Default::default() });
        assert_eq!(of(10), Disposition { blocked: true, ..Default::default() });
        assert_eq!(of(64), Disposition::default());
    }
}
