//! One flag that ends a run early, from wherever it is raised.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use temblor_event::clock;

/// Raised by a signal, an abort condition or a failure; waited on by the run.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    why: Option<String>,
    /// Raised a second time: the user does not want to wait for what can be waited for.
    hurry: bool,
}

impl Stop {
    /// Asks the run to heal, report and end. The first reason stays; a second request hurries.
    pub fn request(&self, why: impl Into<String>) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.why.is_some() {
            state.hurry = true;
        } else {
            state.why = Some(why.into());
        }
        self.0.1.notify_all();
    }

    /// Why the run is to end, if it is.
    #[must_use]
    pub fn requested(&self) -> Option<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).why.clone()
    }

    /// Asked twice.
    #[must_use]
    pub fn hurried(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).hurry
    }

    /// Waits until `deadline_ns` (CLOCK_MONOTONIC) or until the run is to end.
    pub(crate) fn wait_until(&self, deadline_ns: u64) -> Option<String> {
        self.wait(deadline_ns, |state| state.why.is_some())
    }

    /// Waits until `deadline_ns` or until the user hurries.
    pub(crate) fn wait_unhurried_until(&self, deadline_ns: u64) {
        self.wait(deadline_ns, |state| state.hurry);
    }

    fn wait(&self, deadline_ns: u64, over: impl Fn(&State) -> bool) -> Option<String> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !over(&state) {
            let left_ns = deadline_ns.saturating_sub(clock::now_ns());
            if left_ns == 0 {
                break;
            }
            let left = Duration::from_nanos(left_ns);
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.why.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_who_waits_and_the_first_reason_stays() {
        let stop = Stop::default();
        assert_eq!(stop.wait_until(clock::now_ns() + 1_000_000), None);
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait_until(clock::now_ns() + 60_000_000_000)
        });
        stop.request("first");
        assert!(!stop.hurried());
        stop.request("second");
        assert_eq!(waiter.join().unwrap().as_deref(), Some("first"));
        assert!(stop.hurried());
    }
}
