//! What stands behind the question mark.

use std::collections::HashMap;

use exchange_api::{ApiError, ErrorCode};

/// The parameters by their names; those that nobody asks for are let pass.
pub(super) type Parameters = HashMap<String, String>;

/// A list's length, unless something else is asked for.
pub(super) const LIST_DEFAULT: usize = 50;
/// And the longest that is given at once.
pub(super) const LIST_MAX: usize = 1000;

/// A whole number from 1 to `max`.
pub(super) fn bounded(
    query: &Parameters,
    name: &str,
    default: usize,
    max: usize,
) -> Result<usize, ApiError> {
    let Some(text) = query.get(name) else { return Ok(default) };
    text.parse().ok().filter(|value| (1..=max).contains(value)).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidParameter,
            format!("{name} is a whole number from 1 to {max}"),
        )
    })
}

/// Where a page of a list begins: before the order or trade of that number.
pub(super) fn before(query: &Parameters) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get("before") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        ApiError::new(
            ErrorCode::InvalidParameter,
            "before is the number of an order or trade, as next_before gives it",
        )
    })
}

/// A page of a list, and where the next one begins: `found` is looked at for one more than fits.
pub(super) fn page<T>(found: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let mut found: Vec<T> = found.take(limit + 1).collect();
    let is_more = found.len() > limit;
    found.truncate(limit);
    (found, is_more)
}
