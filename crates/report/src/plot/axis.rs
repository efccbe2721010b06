//! Where an axis begins and ends, and where its ticks are.

/// Ticks at round numbers (1, 2 or 5 times a power of ten) within the range; about `wanted`.
pub(super) fn round_ticks(from: f64, to: f64, wanted: u32) -> Vec<f64> {
    let span = to - from;
    if !span.is_finite() || span <= 0.0 || wanted == 0 {
        return vec![from];
    }
    let step = round_step(span / f64::from(wanted));
    let first = (from / step - 1e-9).ceil();
    let last = (to / step + 1e-9).floor();
    // By the choice of the step there are at most 2.5 times as many as wanted.
    let mut ticks = Vec::new();
    let mut i = first;
    while i <= last && ticks.len() < 100 {
        ticks.push(i * step);
        i += 1.0;
    }
    ticks
}

/// The smallest round number that is not below `least`.
pub(super) fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    for factor in [1.0, 2.0, 5.0] {
        if factor * power >= least * (1.0 - 1e-9) {
            return factor * power;
        }
    }
    10.0 * power
}

/// Exponents of the powers of ten that enclose the values.
pub(super) fn decades(least: f64, greatest: f64) -> (i32, i32) {
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of an f64 fits")]
    let exponent = |v: f64, up: bool| {
        let log = v.log10();
        (if up { (log - 1e-9).ceil() } else { (log + 1e-9).floor() }) as i32
    };
    let low = exponent(least, false);
    (low, exponent(greatest, true).max(low + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            round_ticks(-20.0, 60.0, 8),
            [-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
        );
        assert_eq!(round_ticks(0.0, 210.0, 4), [0.0, 100.0, 200.0]);
        assert_eq!(round_ticks(5.0, 5.0, 4), [5.0]);
        assert_eq!(decades(0.002, 0.8), (-3, 0));
        assert_eq!(decades(0.01, 0.01), (-2, -1));
    }

    proptest! {
        #[test]
        fn ticks_lie_in_the_range_and_are_few(from in -1e9..1e9_f64, span in 1e-3..1e9_f64) {
            let ticks = round_ticks(from, from + span, 6);
            prop_assert!((2..=16).contains(&ticks.len()), "{} ticks", ticks.len());
            let slack = span * 1e-6;
            prop_assert!(ticks.iter().all(|t| *t >= from - slack && *t <= from + span + slack));
        }
    }
}
