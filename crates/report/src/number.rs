//! How figures are written: as the judge writes them in its reasons, and what only a report needs.

pub(crate) use temblor_judge::human::{
    bytes, count, counted, duration as seconds, number as plain, percent as share,
    rate as per_second,
};

/// What stands where a figure was not observed. Never 0: that would be a figure.
pub(crate) const NOT_OBSERVED: &str = "not observed";

/// A moment: seconds from the injection, with their sign and to the millisecond.
pub(crate) fn moment(value: f64) -> String {
    if !value.is_finite() {
        return NOT_OBSERVED.to_owned();
    }
    // The sign is decided after rounding: nobody means a moment of "-0.000 s".
    let rounded = (value * 1e3).round() / 1e3;
    let sign = if rounded < 0.0 { '-' } else { '+' };
    format!("{sign}{:.3} s", rounded.abs())
}

/// An amount of bytes that came out of a calculation.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are not negative and far below 2^63"
)]
pub(crate) fn whole_bytes(value: f64) -> String {
    bytes(value as u64)
}

pub(crate) fn bytes_per_second(value: f64) -> String {
    format!("{}/s", whole_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_a_sign_and_milliseconds() {
        let cases = [
            (0.2041, "+0.204 s"),
            (-20.0, "-20.000 s"),
            (-0.000_01, "+0.000 s"),
            (4.2e6, "+4200000.000 s"),
            (f64::NAN, NOT_OBSERVED),
        ];
        for (value, expected) in cases {
            assert_eq!(moment(value), expected);
        }
    }
}
