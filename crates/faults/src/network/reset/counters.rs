//! The kernel's counters of resets, as a second witness.

use std::io;

/// What TCP has counted in a namespace since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    /// Connections that went from established to closed at once (`EstabResets`).
    pub(super) aborted: u64,
    /// Resets sent (`OutRsts`).
    pub(super) resets_sent: u64,
}

impl Counters {
    /// Reads those of the calling thread's namespace.
    pub(super) fn read() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::other("/proc/net/snmp lacks the counters of TCP resets"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (lines.next()?, lines.next()?);
        let figure = |wanted: &str| {
            let at = names.split_ascii_whitespace().position(|name| name == wanted)?;
            values.split_ascii_whitespace().nth(at)?.parse().ok()
        };
        Some(Self { aborted: figure("EstabResets")?, resets_sent: figure("OutRsts")? })
    }

    /// What was counted since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            aborted: self.aborted.saturating_sub(earlier.aborted),
            resets_sent: self.resets_sent.saturating_sub(earlier.resets_sent),
        }
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            aborted: self.aborted.saturating_add(other.aborted),
            resets_sent: self.resets_sent.saturating_add(other.resets_sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn EstabResets OutRsts\nTcp: -1 7 9\n";
        let read = Counters::parse(text).unwrap();
        assert_eq!(read, Counters { aborted: 7, resets_sent: 9 });
        assert_eq!(read.since(Counters { aborted: 5, resets_sent: 10 }).aborted, 2);
        assert_eq!(read.since(Counters { aborted: 5, resets_sent: 10 }).resets_sent, 0);
        assert_eq!(Counters::parse("Tcp: MaxConn EstabResets\nTcp: -1 7\n"), None);
        assert_eq!(Counters::parse("Tcp: EstabResets OutRsts\n"), None);
    }
}
