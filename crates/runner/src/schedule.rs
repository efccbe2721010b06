//! What a phase does to its faults, and when.

use std::time::Duration;

use temblor_plan::Fault as Planned;

/// How often the dose of a ramp is raised: often enough to look even beside figures that are
/// kept by the second.
const RAMP_EVERY_NS: u64 = 250_000_000;

/// One thing to do to a fault of the phase, by its number within the phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Action {
    /// Put it in place.
    Inject(usize),
    /// Change the share of its dose.
    Level(usize, f64),
    /// Undo it.
    Revert(usize),
}

/// What is still to be done in a phase, in order of time.
#[derive(Debug, PartialEq)]
pub(crate) struct Schedule {
    /// The last is the next; with its time, nanoseconds.
    actions: Vec<(u64, Action)>,
}

impl Schedule {
    /// Everything that a phase does which begins at `start_ns` and ends at `end_ns`. What lasts to
    /// the phase's end is not undone here.
    pub(crate) fn new(faults: &[Planned], start_ns: u64, end_ns: u64) -> Self {
        let mut actions = Vec::new();
        for (of, fault) in faults.iter().enumerate() {
            let begin_ns = start_ns.saturating_add(ns(fault.after));
            let until_ns = fault.lasting.map_or(end_ns, |d| begin_ns.saturating_add(ns(d)));
            actions.push((begin_ns, Action::Inject(of)));
            if let Some(ramp) = fault.ramp {
                actions.extend(ramp_levels(of, begin_ns, ns(ramp)));
            }
            let steps = u64::try_from(fault.steps.len()).unwrap_or(u64::MAX).max(1);
            let step_ns = until_ns.saturating_sub(begin_ns) / steps;
            for (at_ns, level) in
                (0..).map(|step| begin_ns + step * step_ns).zip(fault.steps.iter().copied())
            {
                actions.push((at_ns, Action::Level(of, level)));
            }
            if fault.lasting.is_some() {
                actions.push((until_ns, Action::Revert(of)));
            }
        }
        // Stable: at the same moment a fault goes in before its dose changes.
        actions.sort_by_key(|(at_ns, _)| *at_ns);
        actions.reverse();
        Self { actions }
    }

    /// When there is something to do next.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.actions.last().map(|(at_ns, _)| *at_ns)
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<Action> {
        self.actions.pop_if(|(at_ns, _)| *at_ns <= now_ns).map(|(_, action)| action)
    }
}

/// From nothing to the whole dose; the last level is the whole.
fn ramp_levels(of: usize, begin_ns: u64, ramp_ns: u64) -> impl Iterator<Item = (u64, Action)> {
    let raises = (ramp_ns / RAMP_EVERY_NS).max(1);
    (0..=raises).map(move |raise| {
        #[expect(clippy::cast_precision_loss, reason = "a day has fewer quarters of a second")]
        let level = raise as f64 / raises as f64;
        (begin_ns + ramp_ns / raises * raise, Action::Level(of, level))
    })
}

fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use temblor_plan::fault::fault_spec;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn fault(after: u64, lasting: Option<u64>, ramp: Option<u64>, steps: &[f64]) -> Planned {
        Planned {
            spec: fault_spec("network.latency").unwrap(),
            values: [].into(),
            after: Duration::from_secs(after),
            lasting: lasting.map(Duration::from_secs),
            ramp: ramp.map(Duration::from_secs),
            steps: steps.to_vec(),
        }
    }

    fn all(mut schedule: Schedule) -> Vec<(u64, Action)> {
        let mut done = Vec::new();
        while let Some(at_ns) = schedule.next_ns() {
            assert_eq!(schedule.due(at_ns - 1), None, "nothing is done early");
            done.push((at_ns / SECOND, schedule.due(at_ns).unwrap()));
        }
        done
    }

    #[test]
    fn faults_begin_and_end_staggered() {
        let faults = [fault(0, None, None, &[]), fault(5, Some(10), None, &[])];
        let expected =
            [(100, Action::Inject(0)), (105, Action::Inject(1)), (115, Action::Revert(1))];
        assert_eq!(all(Schedule::new(&faults, 100 * SECOND, 130 * SECOND)), expected);
    }

    #[test]
    fn steps_share_the_faults_time_evenly() {
        let steps = [fault(0, None, None, &[0.25, 0.5, 1.0])];
        let expected = [
            (100, Action::Inject(0)),
            (100, Action::Level(0, 0.25)),
            (110, Action::Level(0, 0.5)),
            (120, Action::Level(0, 1.0)),
        ];
        assert_eq!(all(Schedule::new(&steps, 100 * SECOND, 130 * SECOND)), expected);
    }

    #[test]
    fn a_ramp_grows_evenly_from_nothing_to_the_whole_dose() {
        let actions = all(Schedule::new(&[fault(0, None, Some(10), &[])], SECOND, 31 * SECOND));
        let levels: Vec<f64> = actions
            .iter()
            .filter_map(|(_, action)| match action {
                Action::Level(_, level) => Some(*level),
                _ => None,
            })
            .collect();
        assert_eq!(levels.len(), 41);
        assert!(levels[0] == 0.0 && levels[40] == 1.0 && levels.is_sorted());
        assert_eq!(actions.last().unwrap().0, 11);
    }
}
