//! Conditions on the load under which a run ends early.

use std::time::Duration;

use temblor_event::LoadSecond;
use temblor_judge::LoadFigures;
use temblor_plan::Abort;

/// Looks at each complete second of load.
pub(crate) struct AbortWatch {
    /// With the seconds for which the condition has held without a break.
    conditions: Vec<(Abort, u64)>,
}

impl AbortWatch {
    pub(crate) fn new(aborts: &[Abort]) -> Self {
        Self { conditions: aborts.iter().map(|a| (a.clone(), 0)).collect() }
    }

    /// Takes the next second, and gives the reason to abort if there is one now.
    pub(crate) fn push(&mut self, second: &LoadSecond) -> Option<String> {
        let figures = LoadFigures::of_second(second);
        let mut reason = None;
        for (abort, seconds) in &mut self.conditions {
            let condition = &abort.condition;
            let value = figures.figure(condition.figure);
            let holds = value.is_some_and(|value| condition.op.holds(value, condition.bound));
            *seconds = if holds { *seconds + 1 } else { 0 };
            if !holds {
                continue;
            }
            if Duration::from_secs(*seconds) >= abort.lasting {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use temblor_event::{Condition, Figure, Op};

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
        let abort = Abort { condition, lasting };
        let mut watch = AbortWatch::new(&[abort]);
        let mut feed = |ok, failed| watch.push(&second(ok, failed)).is_some();
        assert!(!feed(1, 9) && !feed(1, 9) && !feed(9, 1));
        assert!(!feed(1, 9) && !feed(5, 5) && !feed(1, 9) && !feed(0, 9));
        assert!(feed(0, 9));
    }
}
