//! For tests that hold what a program got done in a while against what was asked.

/// Whether the processor is an emulated one (`make test-kernels` says so, by
/// `TEMBLOR_TEST_EMULATED`): how much is got done there is anybody's guess, and only what is never
/// exceeded, or what a counter says, can be held against it.
pub(crate) fn emulated() -> bool {
    std::env::var_os("TEMBLOR_TEST_EMULATED").is_some()
}
