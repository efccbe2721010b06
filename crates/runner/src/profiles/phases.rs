//! When the phases of the run were, for whoever cuts what was collected by them.

use std::sync::{Arc, Mutex, PoisonError};

use temblor_event::clock;

/// The phases that have begun, in order. A handle: the run tells, the collectors ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Phases(Arc<Mutex<Vec<Window>>>);

/// When a phase was, from its beginning up to, and not including, its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start_ns: u64,
    /// None: it goes on.
    pub(super) end_ns: Option<u64>,
}

impl Window {
    pub(super) fn lasted_ns(&self) -> u64 {
        self.end_ns.unwrap_or_else(clock::now_ns).saturating_sub(self.start_ns)
    }
}

impl Phases {
    pub(super) fn begins(&self, start_ns: u64) {
        self.lock().push(Window { start_ns, end_ns: None });
    }

    pub(super) fn ends(&self, end_ns: u64) {
        if let Some(window) = self.lock().last_mut() {
            window.end_ns = Some(end_ns);
        }
    }

    /// The place among the run's phases of the one that a moment belongs to, if it belongs to one, and
    /// until when that is so.
    pub(super) fn at(&self, t_ns: u64) -> (Option<usize>, u64) {
        for (place, window) in self.lock().iter().enumerate() {
            let end_ns = window.end_ns.unwrap_or(u64::MAX);
            if t_ns < window.start_ns {
                return (None, window.start_ns);
            }
            if t_ns < end_ns {
                return (Some(place), end_ns);
            }
        }
        (None, u64::MAX)
    }

    /// None: the phase did not begin.
    pub(super) fn window(&self, place: usize) -> Option<Window> {
        self.lock().get(place).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_belongs_to_the_phase_whose_beginning_it_is() {
        let phases = Phases::default();
        assert_eq!(phases.at(5), (None, u64::MAX));
        phases.begins(10);
        assert_eq!((phases.at(9), phases.at(10)), ((None, 10), (Some(0), u64::MAX)));
        phases.ends(20);
        assert_eq!((phases.at(19), phases.at(20)), ((Some(0), 20), (None, u64::MAX)));
        phases.begins(22);
        phases.ends(27);
        assert_eq!((phases.at(20), phases.at(26)), ((None, 22), (Some(1), 27)));
        assert_eq!(phases.window(1).map(|window| window.lasted_ns()), Some(5));
        assert_eq!(phases.window(2), None);
    }
}
