//! Waiting for what the kernel tells nobody about, with a bound.

use std::time::Duration;

use rustix::event::{Timespec, poll};
use temblor_event::clock::now_ns;

/// Asks again every `pause` until the answer is yes or the bound has passed.
pub(crate) fn within(bound: Duration, pause: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let bound_ns = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    let deadline_ns = now_ns().saturating_add(bound_ns);
    loop {
        if ask() {
            return true;
        }
        if now_ns() >= deadline_ns {
            return false;
        }
        // Interrupted is as good as elapsed: the question is asked again either way.
        let _ = poll(&mut [], Timespec::try_from(pause).ok().as_ref());
    }
}
