//! What crosses crates: the tests are in `tests/`.
