//! What counts as the same figure.

/// Within a share, or within a few.
pub(crate) fn near(told: u64, truth: u64, share: f64, few: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let allowed = (truth as f64 * share).max(few as f64);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let off = told.abs_diff(truth) as f64;
    off <= allowed
}
