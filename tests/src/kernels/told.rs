//! What one guest has told, put together.

use std::io;
use std::path::Path;

use super::record::{Fault, Offer, Outcome, Record, Test};

/// Everything that is known of one kernel.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// The layout of the cgroups.
    pub cgroups: String,
    /// What `temblor doctor` said.
    pub doctor: Vec<Offer>,
    /// Every test.
    pub tests: Vec<Test>,
    /// Every fault that was put in place.
    pub faults: Vec<Fault>,
    /// What ended the guest, if anything did.
    pub died_at: Option<String>,
}

impl Told {
    /// Reads a file of records.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&std::fs::read_to_string(path)?))
    }

    /// A line that is cut short is one that the guest did not live to tell.
    pub(super) fn of(text: &str) -> Self {
        let mut all = Self { died_at: Some("its start".into()), ..Self::default() };
        for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match record {
                Record::Kernel { release, version, cgroups } => {
                    (all.release, all.version, all.cgroups) = (release, version, cgroups);
                }
                Record::Doctor(offers) => all.doctor = offers,
                Record::Began(what) => all.died_at = Some(what),
                Record::Test(test) => all.tests.push(test),
                Record::Fault(fault) => all.faults.push(fault),
                Record::Done => all.died_at = None,
            }
        }
        all
    }

    /// What came of everything.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let tests = self.tests.iter().map(|test| &test.outcome);
        tests.chain(self.faults.iter().map(|fault| &fault.outcome))
    }

    /// How many passed, were skipped, failed. A guest that died has failed at least at that.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let count = |word| self.outcomes().filter(|outcome| outcome.word() == word).count();
        [count("passed"), count("skipped"), count("FAILED") + usize::from(self.died_at.is_some())]
    }

    /// `Linux 5.10`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut parts = self.release.split('.');
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => format!("Linux {major}.{minor}"),
            _ => "a kernel that did not start".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record) -> String {
        format!("{}\r\n", serde_json::to_string(record).unwrap())
    }

    fn told() -> String {
        let test = |name: &str, outcome| {
            let (of, program) = ("probes".to_owned(), "tcp".to_owned());
            Record::Test(Test { of, program, name: name.into(), outcome, took_ms: 1 })
        };
        [
            Record::Kernel {
                release: "5.10.0-32-amd64".into(),
                version: "#1 SMP".into(),
                cgroups: "v2".into(),
            },
            Record::Began("tcp a".into()),
            test("a", Outcome::Passed),
            Record::Began("tcp b".into()),
            test("b", Outcome::Skipped { why: "needs x".into() }),
            Record::Began("tcp c".into()),
        ]
        .iter()
        .map(line)
        .collect()
    }

    #[test]
    fn a_guest_that_dies_has_failed_at_what_it_began_last() {
        let cut_short = told() + r#"{"test":{"of":"#;
        let dead = Told::of(&cut_short);
        assert_eq!(dead.died_at.as_deref(), Some("tcp c"));
        assert_eq!(dead.counts(), [1, 1, 1]);
        assert_eq!(dead.name(), "Linux 5.10");
    }

    #[test]
    fn a_guest_that_has_done_everything_has_not_died() {
        assert_eq!(Told::of(&(told() + &line(&Record::Done))).counts(), [1, 1, 0]);
    }

    #[test]
    fn a_guest_that_never_said_anything_has_failed() {
        assert_eq!(Told::of("").counts(), [0, 0, 1]);
    }
}
