//! How a target's cgroup is held back by its own quota, as `cpu.stat` counts it.

use std::fs;
use std::path::{Path, PathBuf};

use temblor_event::Throttled;
use temblor_host::target::Target;

use crate::group::own_file;

/// A target's `cpu.stat`, and what it said last.
#[derive(Debug)]
pub(super) struct Throttling {
    file: Result<PathBuf, &'static str>,
    before: Option<Throttled>,
}

impl Throttling {
    pub(super) fn of(target: &Target) -> Self {
        let file = own_file(target, &["cpu.stat"], "its cgroup has no cpu.stat");
        let before = file.as_deref().ok().and_then(read);
        Self { file, before }
    }

    /// Where the figures come from, or why there are none.
    pub(super) fn source(&self) -> Result<&Path, &'static str> {
        self.file.as_deref().map_err(|why| *why)
    }

    /// What was added since the last reading. None: it cannot be read.
    pub(super) fn grown(&mut self) -> Option<Throttled> {
        let now = read(self.file.as_deref().ok()?)?;
        let before = self.before.replace(now)?;
        Some(Throttled {
            periods: now.periods.saturating_sub(before.periods),
            periods_throttled: now.periods_throttled.saturating_sub(before.periods_throttled),
            ns: now.ns.saturating_sub(before.ns),
        })
    }
}

fn read(file: &Path) -> Option<Throttled> {
    parse(&fs::read_to_string(file).ok()?)
}

/// Version 1 counts `throttled_time` in nanoseconds, version 2 `throttled_usec`. A group of version
/// 2 without the controller has neither.
fn parse(text: &str) -> Option<Throttled> {
    let figure = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(of, _)| *of == name).and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    let us = || figure("throttled_usec").map(|us| us.saturating_mul(1_000));
    Some(Throttled {
        periods: figure("nr_periods")?,
        periods_throttled: figure("nr_throttled")?,
        ns: figure("throttled_time").or_else(us)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let expected = Throttled { periods: 200, periods_throttled: 197, ns: 17_500_000_000 };
        let v1 = "nr_periods 200\nnr_throttled 197\nthrottled_time 17500000000\n";
        assert_eq!(parse(v1), Some(expected));
        let v2 = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 200\nnr_throttled 197\n\
                  throttled_usec 17500000\nnr_bursts 0\nburst_usec 0\n";
        assert_eq!(parse(v2), Some(expected));
        assert_eq!(parse("usage_usec 9\nuser_usec 5\nsystem_usec 4\n"), None);
        assert_eq!(parse(""), None);
    }
}
