//! What crosses crates: repository rules, end to end.
