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

    /// A line that is cut short is one that the guest did not live to tell. Of what was run again in
    /// a later guest the later outcome counts; but what one guest did not live to run is missing.
    pub(super) fn of(text: &str) -> Self {
        let mut all = Self { died_at: Some("its start".into()), ..Self::default() };
        let mut died_before = None;
        for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match record {
                Record::Kernel { release, version, cgroups } => {
                    if !all.release.is_empty() {
                        died_before = died_before.or(all.died_at.take());
                    }
                    (all.release, all.version, all.cgroups) = (release, version, cgroups);
                }
                Record::Doctor(offers) => all.doctor = offers,
                Record::Began(what) => all.died_at = Some(what),
                Record::Test(test) => put(&mut all.tests, test, |one| {
                    (one.of.clone(), one.program.clone(), one.name.clone())
                }),
                Record::Fault(fault) => put(&mut all.faults, fault, |one| one.name.clone()),
                Record::Done => all.died_at = None,
            }
        }
        all.died_at = all.died_at.or(died_before);
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

/// Takes the place of an earlier one of the same name.
fn put<T, Name: PartialEq>(all: &mut Vec<T>, new: T, name: impl Fn(&T) -> Name) {
    match all.iter_mut().find(|one| name(one) == name(&new)) {
        Some(earlier) => *earlier = new,
        None => all.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record) -> String {
        format!("{}\r\n", serde_json::to_string(record).unwrap())
    }

    fn told() -> String {
        told_of_b(Outcome::Skipped { why: "needs x".into() })
    }

    fn told_of_b(b: Outcome) -> String {
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
            test("b", b),
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
    fn what_was_run_again_counts_once_and_what_was_never_run_is_missing() {
        let again = told_of_b(Outcome::Passed) + &line(&Record::Done);
        let whole = told() + &line(&Record::Done) + &again;
        assert_eq!(Told::of(&whole).counts(), [2, 0, 0]);
        let cut_short = told() + &again;
        assert_eq!(Told::of(&cut_short).died_at.as_deref(), Some("tcp c"));
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
