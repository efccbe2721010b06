//! Conditions under which a run ends early.

use std::collections::BTreeMap;
use std::time::Duration;

use temblor_event::{Condition, LoadSecond};
use temblor_judge::LoadFigures;
use temblor_plan::{Abort, AbortWhen};

/// Looks at each complete second of load, and at the checks' last answers.
pub(crate) struct AbortWatch {
    load: Vec<OnLoad>,
    checks: Vec<OnCheck>,
}

struct OnLoad {
    condition: Condition,
    lasting: Duration,
    /// For how many seconds it has held without a break.
    seconds: u64,
}

struct OnCheck {
    name: String,
    lasting: Duration,
    /// Since when it has failed without a break.
    failed_since_ns: Option<u64>,
}

impl AbortWatch {
    pub(crate) fn new(aborts: &[Abort]) -> Self {
        let mut watch = Self { load: Vec::new(), checks: Vec::new() };
        for Abort { when, lasting } in aborts.iter().cloned() {
            match when {
                AbortWhen::Load(condition) => {
                    watch.load.push(OnLoad { condition, lasting, seconds: 0 });
                }
                AbortWhen::Check(name) => {
                    watch.checks.push(OnCheck { name, lasting, failed_since_ns: None });
                }
            }
        }
        watch
    }

    /// Takes the next second, and gives the reason to abort if there is one now.
    pub(crate) fn push(&mut self, second: &LoadSecond) -> Option<String> {
        let figures = LoadFigures::of_second(second);
        let mut reason = None;
        for OnLoad { condition, lasting, seconds } in &mut self.load {
            let value = figures.figure(condition.figure);
            let holds = value.is_some_and(|value| condition.op.holds(value, condition.bound));
            *seconds = if holds { *seconds + 1 } else { 0 };
            if holds && Duration::from_secs(*seconds) >= *lasting {
                reason.get_or_insert_with(|| {
                    format!(
                        "the abort condition {} {} held for {seconds} s",
                        condition.figure, condition.text
                    )
                });
            }
        }
        reason
    }

    /// Looks at the checks' last answers (whether it was yes, and what was seen), and gives the
    /// reason to abort if there is one now.
    pub(crate) fn look(
        &mut self,
        checks: &BTreeMap<String, (bool, String)>,
        now_ns: u64,
    ) -> Option<String> {
        let mut reason = None;
        for OnCheck { name, lasting, failed_since_ns } in &mut self.checks {
            match checks.get(name) {
                Some((false, seen)) => {
                    let since_ns = *failed_since_ns.get_or_insert(now_ns);
                    let failed = Duration::from_nanos(now_ns.saturating_sub(since_ns));
                    if failed >= *lasting {
                        reason.get_or_insert_with(|| {
                            let seconds = failed.as_secs_f64();
                            format!("the check \"{name}\" failed for {seconds:.1} s ({seen})")
                        });
                    }
                }
                _ => *failed_since_ns = None,
            }
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use temblor_event::{Figure, Op};

    fn second(ok: u64, failed: u64) -> LoadSecond {
        LoadSecond {
            planned: ok + failed,
            ok,
            failed,
            unsure: 0,
            unsent: 0,
            latency: String::new(),
            lag_ns_max: 0,
        }
    }

    #[test]
    fn it_takes_as_many_seconds_as_the_condition_says_without_a_break() {
        let condition =
            Condition { figure: Figure::LoadErrors, op: Op::Gt, bound: 0.5, text: "> 50%".into() };
        let lasting = Duration::from_millis(2_500);
        let abort = Abort { when: AbortWhen::Load(condition), lasting };
        let mut watch = AbortWatch::new(&[abort]);
        let mut feed = |ok, failed| watch.push(&second(ok, failed)).is_some();
        assert!(!feed(1, 9) && !feed(1, 9) && !feed(9, 1));
        assert!(!feed(1, 9) && !feed(5, 5) && !feed(1, 9) && !feed(0, 9));
        assert!(feed(0, 9));
    }

    #[test]
    fn a_check_must_fail_without_a_break() {
        let lasting = Duration::from_nanos(10);
        let abort = Abort { when: AbortWhen::Check("well".into()), lasting };
        let mut watch = AbortWatch::new(&[abort]);
        let mut look = |ok, now_ns| {
            let checks = BTreeMap::from([("well".to_owned(), (ok, "refused".to_owned()))]);
            watch.look(&checks, now_ns)
        };
        assert!(look(false, 100).is_none() && look(false, 109).is_none());
        assert!(look(true, 110).is_none() && look(false, 111).is_none());
        assert!(look(false, 121).is_some_and(|why| why.contains("\"well\" failed")));
    }
}
