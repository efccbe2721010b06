//! Values with units, as people write them: `20s`, `200/s`, `99.9%`.

use std::time::Duration;

use temblor_event::{Op, Unit};

/// The longest duration that an experiment may name: a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The highest rate that an experiment may name, per second.
const RATE_MAX: f64 = 1_000_000.0;

/// Reads `500ms`, `20s`, `1.5m`, `2h`.
///
/// # Errors
/// In words for the file's author: no unit, an unknown unit, not a number, out of range.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const WANTED: &str = "write a number and a unit: us, ms, s, m or h, such as 500ms or 20s";
    let (number, unit) = split_unit(text);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("the duration \"{text}\" has no unit: {WANTED}")),
        other => return Err(format!("\"{other}\" is not a unit of time: {WANTED}")),
    };
    let value: f64 =
        number.parse().map_err(|_| format!("\"{text}\" is not a duration: {WANTED}"))?;
    if !value.is_finite() || value < 0.0 {
        return Err(format!("the duration \"{text}\" is out of range: it cannot be negative"));
    }
    let seconds = value * scale;
    if seconds > DURATION_MAX.as_secs_f64() {
        return Err(format!("the duration \"{text}\" is out of range: at most 24h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads `200/s`, `6000/m`, as a rate per second.
///
/// # Errors
/// In words for the file's author.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    const WANTED: &str = "write requests per second or minute, such as 200/s";
    let (number, unit) = text.split_once('/').unwrap_or((text, ""));
    let per_second = match unit.trim() {
        "s" => 1.0,
        "m" => 1.0 / 60.0,
        "" => return Err(format!("the rate \"{text}\" has no unit: {WANTED}")),
        other => return Err(format!("\"/{other}\" is not a unit of a rate: {WANTED}")),
    };
    let value: f64 =
        number.trim().parse().map_err(|_| format!("\"{text}\" is not a rate: {WANTED}"))?;
    let rate = value * per_second;
    if !rate.is_finite() || rate <= 0.0 || rate > RATE_MAX {
        return Err(format!("the rate \"{text}\" is out of range: above 0 and at most 1000000/s"));
    }
    Ok(rate)
}

/// Reads `>= 99.9%`, `<= 50ms`, `0` (which means `== 0`) as a comparison with a bound in `unit`.
pub(crate) fn parse_comparison(text: &str, unit: Unit) -> Result<(Op, f64), String> {
    let text = text.trim();
    let operators = [(">=", Op::Ge), ("<=", Op::Le), ("==", Op::Eq), (">", Op::Gt), ("<", Op::Lt)];
    let (op, rest) = operators
        .iter()
        .find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)))
        .unwrap_or((Op::Eq, text));
    Ok((op, parse_bound(rest.trim(), unit)?))
}

fn parse_bound(text: &str, unit: Unit) -> Result<f64, String> {
    match unit {
        Unit::Ratio => {
            let wanted = || format!("\"{text}\" is not a share: write a percentage, such as 99.9%");
            let number = text.strip_suffix('%').ok_or_else(wanted)?;
            let value: f64 = number.trim().parse().map_err(|_| wanted())?;
            if !(0.0..=100.0).contains(&value) {
                return Err(format!("{text} is out of range: from 0% to 100%"));
            }
            Ok(value / 100.0)
        }
        Unit::Seconds => Ok(parse_duration(text)?.as_secs_f64()),
        Unit::PerSecond => parse_rate(text),
        Unit::Count => {
            let value: u64 = text
                .replace('_', "")
                .parse()
                .map_err(|_| format!("\"{text}\" is not a count: write a whole number from 0"))?;
            // Counts of orders stay far below 2^53, where an f64 is exact.
            u32::try_from(value)
                .map(f64::from)
                .map_err(|_| format!("{text} is out of range: at most {}", u32::MAX))
        }
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].trim(), text[end..].trim())
}

/// Writes a duration so that [`parse_duration`] reads the same one back.
pub(crate) fn write_duration(d: Duration) -> String {
    let us = d.as_nanos() / 1000;
    if us.is_multiple_of(1_000_000) {
        format!("{}s", us / 1_000_000)
    } else if us.is_multiple_of(1000) {
        format!("{}ms", us / 1000)
    } else {
        format!("{us}us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("20s", Ok(20_000)),
            ("500ms", Ok(500)),
            ("1.5m", Ok(90_000)),
            ("2 h", Ok(7_200_000)),
            ("20", Err("no unit")),
            ("20 parsecs", Err("not a unit")),
            ("-1s", Err("negative")),
            ("25h", Err("at most 24h")),
            ("NaNs", Err("not a unit")),
            ("1e400s", Err("not a")),
            ("", Err("no unit")),
        ] {
            match (parse_duration(text), expected) {
                (Ok(d), Ok(ms)) => assert_eq!(d.as_millis(), ms, "{text}"),
                (Err(e), Err(part)) => assert!(e.contains(part), "{text}: {e}"),
                (got, want) => panic!("{text}: {got:?}, wanted {want:?}"),
            }
        }
    }

    #[test]
    fn comparisons() {
        for (text, unit, expected) in [
            (">= 99.9%", Unit::Ratio, Ok((Op::Ge, 0.999))),
            ("<=50ms", Unit::Seconds, Ok((Op::Le, 0.05))),
            ("0", Unit::Count, Ok((Op::Eq, 0.0))),
            ("> 100/s", Unit::PerSecond, Ok((Op::Gt, 100.0))),
            (">= 99.9", Unit::Ratio, Err("percentage")),
            ("< 101%", Unit::Ratio, Err("out of range")),
            ("<= 50", Unit::Seconds, Err("no unit")),
            ("-1", Unit::Count, Err("whole number")),
            ("=> 1", Unit::Count, Err("whole number")),
        ] {
            match (parse_comparison(text, unit), expected) {
                (Ok((op, bound)), Ok((want_op, want))) => {
                    assert!(op == want_op && (bound - want).abs() < 1e-12, "{text}: {bound}");
                }
                (Err(e), Err(part)) => assert!(e.contains(part), "{text}: {e}"),
                (got, want) => panic!("{text}: {got:?}, wanted {want:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(us in 0u64..86_400_000_000) {
            let d = Duration::from_micros(us);
            let read = parse_duration(&write_duration(d)).unwrap();
            // Whole microseconds survive the way through f64 seconds up to a day.
            prop_assert!(read.abs_diff(d) < Duration::from_micros(1));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
            let _ = parse_rate(&text);
            for unit in [Unit::Ratio, Unit::Seconds, Unit::PerSecond, Unit::Count] {
                let _ = parse_comparison(&text, unit);
            }
        }
    }
}
