//! Figures as people read them: one way for the verdict's sentences and for the reports.
//!
//! Rounding never turns a figure into another statement: less than all is never `100%`, more
//! than nothing never `0%`, and [`beside`] shows as many digits as it takes to tell a figure from
//! its bound.

use temblor_event::Unit;

/// A length of time: `204 ms`, `4.2 s`, `12 min 4 s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    duration_with(seconds, 0)
}

/// A whole number with its thousands apart: `15,998`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things whose name is that of several: `3,482 packets dropped`,
/// `1 process ended`.
#[must_use]
pub fn counted(n: u64, what: &str) -> String {
    /// Every noun that is counted.
    const ONE_OF: &[(&str, &str)] = &[
        ("connections", "connection"),
        ("edges", "edge"),
        ("events", "event"),
        ("figures", "figure"),
        ("lines", "line"),
        ("lives", "life"),
        ("looks", "look"),
        ("operations", "operation"),
        ("packets", "packet"),
        ("peers", "peer"),
        ("periods", "period"),
        ("processes", "process"),
        ("queries", "query"),
        ("readings", "reading"),
        ("runs", "run"),
        ("signals", "signal"),
        ("switches", "switch"),
        ("syncs", "sync"),
        ("times", "time"),
        ("waits", "wait"),
    ];
    if n != 1 {
        return format!("{} {what}", count(n));
    }
    let words: Vec<&str> = what.split(' ').collect();
    // `main processes ended`: the noun is the first of these that comes.
    let noun = words.iter().position(|word| ONE_OF.iter().any(|(many, _)| many == word));
    let singular = words.iter().enumerate().map(|(at, word)| {
        let one = ONE_OF.iter().find(|(many, _)| many == word && noun == Some(at));
        one.map_or(*word, |(_, one)| one)
    });
    format!("1 {}", singular.collect::<Vec<_>>().join(" "))
}

/// A share of 0 to 1 as a percentage: `99.95%`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    percent_with(ratio, 2)
}

/// Bytes, in powers of 1024: `1.5 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = as_f64(n) / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 belongs to the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(value, 1), UNITS[unit])
}

/// Events per second: `198.4/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    format!("{}/s", trimmed(per_second, 1))
}

/// A figure that may have no unit of its own, such as a gauge's: `5,812`, `0.25`.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let text = trimmed(value.abs(), 3);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    let sign = if value < 0.0 && text != "0" { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// How many times as much: `×9.8`, `×120`, `×0.02`.
#[must_use]
pub fn times(factor: f64) -> String {
    if !factor.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let digits = match factor.abs() {
        f if f >= 99.5 => 0,
        f if f >= 0.95 => 1,
        _ => 2,
    };
    format!("×{}", trimmed(factor, digits))
}

/// A moment on the axis that begins at the injection: `+1.3 s`, `-20.0 s`.
#[must_use]
pub fn moment(seconds: f64) -> String {
    let sign = if seconds >= 0.0 { "+" } else { "" };
    format!("{sign}{}", duration(seconds))
}

/// A figure in its unit.
#[must_use]
pub fn figure(value: f64, unit: Unit) -> String {
    figure_with(value, unit, 0)
}

/// A figure in its unit, with as many digits as tell it from `bound`: `10.04 s` beside 10 s.
#[must_use]
pub fn beside(value: f64, bound: f64, unit: Unit) -> String {
    let mut text = figure(value, unit);
    for more in 1..=6 {
        if value == bound || text != figure_with(bound, unit, more - 1) {
            break;
        }
        text = figure_with(value, unit, more);
    }
    text
}

const NOT_A_NUMBER: &str = "not a number";

fn figure_with(value: f64, unit: Unit, more_digits: usize) -> String {
    match unit {
        Unit::Seconds => duration_with(value, more_digits),
        Unit::Ratio => percent_with(value, 2 + more_digits),
        Unit::PerSecond if more_digits == 0 => rate(value),
        Unit::PerSecond => format!("{}/s", trimmed(value, 1 + more_digits)),
        Unit::Count => number(value),
    }
}

fn duration_with(seconds: f64, more_digits: usize) -> String {
    if !seconds.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    // Each bound is half a last digit below the unit, so that nothing is rounded to `1000 ms`.
    let text = if s == 0.0 {
        "0 s".to_owned()
    } else if s < 0.000_999_5 {
        format!("{} µs", trimmed(s * 1e6, usize::from(s < 0.000_01) + more_digits))
    } else if s < 0.999_5 {
        format!("{} ms", trimmed(s * 1e3, usize::from(s < 0.009_95) + more_digits))
    } else if s < 99.95 {
        format!("{:.*} s", 1 + more_digits, s)
    } else if s < 599.5 {
        format!("{:.*} s", more_digits, s)
    } else {
        let whole = s.round();
        format!("{} min {} s", number((whole / 60.0).floor()), whole % 60.0)
    };
    format!("{sign}{text}")
}

fn percent_with(ratio: f64, digits: usize) -> String {
    if !ratio.is_finite() {
        return NOT_A_NUMBER.to_owned();
    }
    let mut text = trimmed(ratio * 100.0, digits);
    for more in digits + 1..=digits + 12 {
        let says_all = text == "100" && ratio < 1.0;
        let says_none = text == "0" && ratio > 0.0;
        if !says_all && !says_none {
            break;
        }
        text = trimmed(ratio * 100.0, more);
    }
    format!("{text}%")
}

/// At most so many digits after the point, and no zeros at the end.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits only")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: Copy + std::fmt::Debug>(show: impl Fn(T) -> String, cases: &[(T, &str)]) {
        for (input, expected) in cases {
            assert_eq!(show(*input), *expected, "{input:?}");
        }
    }

    #[test]
    fn durations() {
        check(
            duration,
            &[
                (0.0, "0 s"),
                (0.000_000_4, "0.4 µs"),
                (0.000_042, "42 µs"),
                (0.000_999_4, "999 µs"),
                (0.000_999_6, "1 ms"),
                (0.004_2, "4.2 ms"),
                (0.009_96, "10 ms"),
                (0.204, "204 ms"),
                (0.999_4, "999 ms"),
                (0.999_6, "1.0 s"),
                (4.2, "4.2 s"),
                (-4.2, "-4.2 s"),
                (42.42, "42.4 s"),
                (99.96, "100 s"),
                (599.4, "599 s"),
                (599.6, "10 min 0 s"),
                (724.0, "12 min 4 s"),
                (f64::NAN, "not a number"),
                (f64::INFINITY, "not a number"),
            ],
        );
    }

    #[test]
    fn counts_shares_bytes_rates() {
        check(
            count,
            &[
                (0, "0"),
                (999, "999"),
                (1_000, "1,000"),
                (15_998, "15,998"),
                (u64::MAX, "18,446,744,073,709,551,615"),
            ],
        );
        check(
            percent,
            &[
                (0.0, "0%"),
                (1.0, "100%"),
                (0.5, "50%"),
                (0.9995, "99.95%"),
                (0.999_999, "99.9999%"),
                (0.000_001, "0.0001%"),
                (f64::NAN, "not a number"),
            ],
        );
        check(
            bytes,
            &[
                (0, "0 B"),
                (1_023, "1023 B"),
                (1_024, "1 KiB"),
                (1_572_864, "1.5 MiB"),
                (1_048_575, "1 MiB"),
                (u64::MAX, "16 EiB"),
            ],
        );
        check(rate, &[(198.44, "198.4/s"), (200.0, "200/s"), (0.0, "0/s")]);
        check(
            number,
            &[
                (5_812.0, "5,812"),
                (0.25, "0.25"),
                (-1_234.5, "-1,234.5"),
                (-0.000_01, "0"),
                (f64::NAN, "not a number"),
            ],
        );
    }

    #[test]
    fn one_of_what_is_counted() {
        for (n, what, expected) in [
            (1, "processes ended", "1 process ended"),
            (1, "main processes ended", "1 main process ended"),
            (1, "lives ended", "1 life ended"),
            (1, "MiB taken", "1 MiB taken"),
            (1, "times that memory did not fit", "1 time that memory did not fit"),
            (
                1,
                "looks at which a process had no descriptor left",
                "1 look at which a process had no descriptor left",
            ),
            (
                1,
                "packets past a queue that delays packets",
                "1 packet past a queue that delays packets",
            ),
            (0, "packets dropped", "0 packets dropped"),
            (3_482, "packets dropped", "3,482 packets dropped"),
        ] {
            assert_eq!(counted(n, what), expected);
        }
    }

    #[test]
    fn a_figure_is_told_from_its_bound() {
        for (value, bound, unit, expected) in [
            (10.04, 10.0, Unit::Seconds, "10.04 s"),
            (10.0, 10.0, Unit::Seconds, "10.0 s"),
            (9.0, 10.0, Unit::Seconds, "9.0 s"),
            (10.000_4, 10.0, Unit::Seconds, "10.0004 s"),
            (0.998_999, 0.999, Unit::Ratio, "99.8999%"),
            (0.050_2, 0.05, Unit::Seconds, "50.2 ms"),
            (3.0, 0.0, Unit::Count, "3"),
        ] {
            assert_eq!(beside(value, bound, unit), expected, "{value} beside {bound}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_shown(bits in any::<u64>(), other in any::<u64>()) {
            let (value, bound) = (f64::from_bits(bits), f64::from_bits(other));
            for unit in [Unit::Ratio, Unit::Seconds, Unit::PerSecond, Unit::Count] {
                prop_assert!(!beside(value, bound, unit).is_empty());
            }
            prop_assert_eq!(count(bits).replace(',', ""), bits.to_string());
            prop_assert!(!bytes(bits).is_empty());
        }

        #[test]
        fn a_part_is_never_shown_as_all_or_nothing(part in 1_u32..1_000_000) {
            let text = percent(f64::from(part) / 1_000_000.0);
            prop_assert!(text != "0%" && text != "100%");
        }
    }
}
