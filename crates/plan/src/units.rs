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
    let scale = scale_of(unit).ok_or_else(|| match unit {
        "" => format!("the duration \"{text}\" has no unit: {WANTED}"),
        other => format!("\"{other}\" is not a unit of time: {WANTED}"),
    })?;
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

/// How many seconds a unit of time has.
fn scale_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
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

/// The same, with days as well and no bound: how far a clock is moved.
pub(crate) fn parse_offset(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    match unit {
        "d" => seconds(text, number, 86_400.0),
        _ => match scale_of(unit) {
            Some(scale) => seconds(text, number, scale),
            None => parse_duration(text),
        },
    }
}

fn seconds(text: &str, number: &str, scale: f64) -> Result<Duration, String> {
    let value: f64 = number
        .parse()
        .map_err(|_| format!("\"{text}\" is not a length of time: write one such as 90s or 1d"))?;
    Duration::try_from_secs_f64(value * scale).map_err(|_| format!("{text} is out of range"))
}

/// Reads `12.5%` as a share, 0 to 1.
///
/// # Errors
/// It is no percentage of 0 to 100, in words for whoever wrote it.
pub fn parse_share(text: &str) -> Result<f64, String> {
    parse_bound(text.trim(), Unit::Ratio)
}

/// Reads a whole number; underscores may stand between its digits.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    text.trim()
        .replace('_', "")
        .parse()
        .map_err(|_| format!("\"{text}\" is not a count: write a whole number from 0"))
}

const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads `64MiB`, `1.5GB`, `4096B`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const WANTED: &str = "write a number and a unit: B, KiB, MiB, GiB, KB, MB or GB, such as 64MiB";
    let (number, unit) = split_unit(text);
    let scale = match BYTE_UNITS.iter().find(|(known, _)| *known == unit) {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => {
            return Err(format!("the size \"{text}\" has no unit: {WANTED}"));
        }
        None => return Err(format!("\"{unit}\" is not a unit of size: {WANTED}")),
    };
    scaled(text, number, scale, WANTED)
}

/// Reads `1MiB/s`, and `8Mbit/s` as a million bytes a second.
pub(crate) fn parse_bytes_per_second(text: &str) -> Result<u64, String> {
    const WANTED: &str = "write bytes or bits in a second, such as 1MiB/s or 8Mbit/s";
    let amount = text
        .trim()
        .strip_suffix("/s")
        .ok_or_else(|| format!("\"{text}\" is not a rate of bytes: {WANTED}"))?;
    let (number, unit) = split_unit(amount);
    let bits = match unit {
        "bit" => Some(1),
        "kbit" | "Kbit" => Some(1_000),
        "Mbit" => Some(1_000_000),
        "Gbit" => Some(1_000_000_000_u64),
        _ => None,
    };
    match bits {
        Some(bits) => Ok(scaled(text, number, bits, WANTED)? / 8),
        None => parse_bytes(amount),
    }
}

/// Reads `100/s` as a whole number of operations a second.
pub(crate) fn parse_per_second(text: &str) -> Result<u64, String> {
    const WANTED: &str = "write a whole number in a second, such as 100/s";
    let number = text
        .trim()
        .strip_suffix("/s")
        .ok_or_else(|| format!("\"{text}\" has no unit: {WANTED}"))?;
    number.trim().parse().map_err(|_| format!("\"{text}\" is not a rate: {WANTED}"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "bounded just before"
)]
fn scaled(text: &str, number: &str, scale: u64, wanted: &str) -> Result<u64, String> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(|| format!("{text} is out of range"));
    }
    let value: f64 = number.parse().map_err(|_| format!("\"{text}\" is not a size: {wanted}"))?;
    let bytes = value * scale as f64;
    if !(0.0..1e18).contains(&bytes) {
        return Err(format!("{text} is out of range"));
    }
    Ok(bytes.round() as u64)
}

/// A size in the greatest unit that it is a whole number of.
pub(crate) fn write_bytes(bytes: u64) -> String {
    let unit = BYTE_UNITS
        .iter()
        .filter(|(name, _)| name.ends_with("iB") || *name == "B")
        .find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{bytes}B"), |(name, scale)| format!("{}{name}", bytes / scale))
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
            let value = parse_count(text)?;
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
    if !d.as_nanos().is_multiple_of(1000) {
        // Whoever writes fractions of a microsecond gets them back.
        return format!("{us}.{:03}us", d.as_nanos() % 1000);
    }
    if us.is_multiple_of(1_000_000) {
        format!("{}s", us / 1_000_000)
    } else if us.is_multiple_of(1000) {
        format!("{}ms", us / 1000)
    } else {
        format!("{us}us")
    }
}

/// Writes a share so that [`parse_share`] reads the same one back: of the percentages nearby the one
/// whose hundredth it is.
pub(crate) fn write_share(share: f64) -> String {
    let percent = share * 100.0;
    let rounded = (percent * 1e6).round() / 1e6;
    let nearby = [rounded, percent, percent.next_down(), percent.next_up()];
    let exact = nearby.into_iter().find(|percent| (percent / 100.0).to_bits() == share.to_bits());
    format!("{}%", exact.unwrap_or(percent))
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

    #[test]
    fn sizes_and_their_rates() {
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("1.5 KiB", Some(1536)),
            ("1GB", Some(1_000_000_000)),
            ("12B", Some(12)),
            ("12", None),
            ("12 elephants", None),
            ("-1MiB", None),
            ("99999999999999999999B", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
        assert_eq!(parse_bytes_per_second("8Mbit/s"), Ok(1_000_000));
        assert_eq!(parse_bytes_per_second("1MiB/s"), Ok(1 << 20));
        assert!(parse_bytes_per_second("1MiB").unwrap_err().contains("in a second"));
        assert_eq!(parse_per_second("100/s"), Ok(100));
        assert!(parse_per_second("100").unwrap_err().contains("no unit"));
        assert_eq!(parse_offset("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(parse_offset("48h"), Ok(Duration::from_secs(172_800)));
        assert!(parse_offset("x").is_err());
    }

    #[test]
    fn quantities_that_no_round_number_is_are_written_as_they_are_read() {
        for text in ["1.5us", "0.001us", "0.0000017s", "86399.999999999s", "250ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&write_duration(duration)), Ok(duration), "{text}");
        }
        for text in ["2d", "36h", "90000s", "1.5us"] {
            let offset = parse_offset(text).unwrap();
            assert_eq!(parse_offset(&write_duration(offset)), Ok(offset), "{text}");
        }
        assert_eq!(write_share(0.29), "29%");
    }

    proptest! {
        #[test]
        fn a_written_share_reads_back(percent in 0.0..=100.0_f64) {
            let share = parse_share(&format!("{percent}%")).unwrap();
            prop_assert_eq!(parse_share(&write_share(share)), Ok(share));
        }

        #[test]
        fn a_written_size_reads_back(bytes in 0u64..1 << 50) {
            prop_assert_eq!(parse_bytes(&write_bytes(bytes)), Ok(bytes));
        }

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
            let _ = parse_offset(&text);
            let _ = parse_bytes(&text);
            let _ = parse_bytes_per_second(&text);
            let _ = parse_per_second(&text);
            for unit in [Unit::Ratio, Unit::Seconds, Unit::PerSecond, Unit::Count] {
                let _ = parse_comparison(&text, unit);
            }
        }
    }
}
