//! Faults: applied, proven by a counter, undone.
