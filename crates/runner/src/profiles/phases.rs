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

    /// The place among the run's phases of the one that a moment belongs to.
    pub(super) fn at(&self, t_ns: u64) -> Option<usize> {
        let is_in = |window: &Window| {
            window.start_ns <= t_ns && window.end_ns.is_none_or(|end_ns| t_ns < end_ns)
        };
        self.lock().iter().position(is_in)
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
        assert_eq!(phases.at(5), None);
        phases.begins(10);
        assert_eq!((phases.at(9), phases.at(10), phases.at(u64::MAX)), (None, Some(0), Some(0)));
        phases.ends(20);
        assert_eq!((phases.at(19), phases.at(20)), (Some(0), None));
        phases.begins(20);
        phases.ends(25);
        assert_eq!((phases.at(20), phases.at(24), phases.at(25)), (Some(1), Some(1), None));
        assert_eq!(phases.window(1).map(|window| window.lasted_ns()), Some(5));
        assert_eq!(phases.window(2), None);
    }
}
