//! Figures with their units, in the words and the digits of pprof, so that both can be compared.

/// A unit and what it is in the smallest of its kind.
struct Unit {
    name: &'static str,
    /// Without a plural's "s", in small letters.
    aliases: &'static [&'static str],
    factor: f64,
}

struct Kind {
    units: &'static [Unit],
    /// What a value of less than one of the smallest unit is given in.
    default: (&'static str, f64),
}

const fn unit(name: &'static str, aliases: &'static [&'static str], factor: f64) -> Unit {
    Unit { name, aliases, factor }
}

const KINDS: [Kind; 2] = [
    Kind {
        units: &[
            unit("B", &["b", "byte"], 1.0),
            unit("kB", &["kb", "kbyte", "kilobyte"], (1_u64 << 10) as f64),
            unit("MB", &["mb", "mbyte", "megabyte"], (1_u64 << 20) as f64),
            unit("GB", &["gb", "gbyte", "gigabyte"], (1_u64 << 30) as f64),
            unit("TB", &["tb", "tbyte", "terabyte"], (1_u64 << 40) as f64),
            unit("PB", &["pb", "pbyte", "petabyte"], (1_u64 << 50) as f64),
        ],
        default: ("B", 1.0),
    },
    Kind {
        units: &[
            unit("ns", &["ns", "nanosecond"], 1.0),
            unit("us", &["μs", "us", "microsecond"], 1e3),
            unit("ms", &["ms", "millisecond"], 1e6),
            unit("s", &["s", "sec", "second"], 1e9),
            unit("hrs", &["hour", "hr"], 3.6e12),
        ],
        default: ("s", 1e9),
    },
];

impl Kind {
    fn find(&self, name: &str) -> Option<&Unit> {
        let name = name.to_lowercase();
        let singular = name.strip_suffix('s').filter(|_| name.len() > 2).unwrap_or(&name);
        self.units.iter().find(|unit| unit.aliases.contains(&singular))
    }
}

/// A value in another unit, and that unit's name, which is empty where it says nothing. `auto` is the
/// largest unit of which it is at least one.
pub(crate) fn scale(value: i64, from: &str, to: &str) -> (f64, String) {
    let value = value as f64;
    for kind in &KINDS {
        let Some(from) = kind.find(from) else { continue };
        let base = value * from.factor;
        let (name, factor) = if to == AUTO {
            let fits = kind.units.iter().rev().find(|unit| base.abs() / unit.factor >= 1.0);
            fits.map_or(kind.default, |unit| (unit.name, unit.factor))
        } else {
            kind.find(to).map_or(kind.default, |unit| (unit.name, unit.factor))
        };
        return (base / factor, name.to_owned());
    }
    let says_nothing = matches!(to, "count" | "sample" | "unit" | AUTO);
    (value, if says_nothing { String::new() } else { to.to_owned() })
}

/// The largest unit of which a value is at least one.
pub(crate) const AUTO: &str = "auto";

/// A value in a unit, with the unit: `1.50MB`, `340ms`.
#[must_use]
pub fn label(value: i64, from: &str, to: &str) -> String {
    let (scaled, unit) = scale(value, from, to);
    let digits = format!("{scaled:.2}");
    let digits = digits.strip_suffix(".00").unwrap_or(&digits);
    if matches!(digits, "0" | "-0") { "0".to_owned() } else { format!("{digits}{unit}") }
}

/// How much of a total something is, six characters wide or more.
#[must_use]
pub fn percentage(value: i64, total: i64) -> String {
    let share = if total == 0 { 0.0 } else { (value as f64 / total as f64).abs() * 100.0 };
    if (99.95..=100.05).contains(&share) {
        "  100%".to_owned()
    } else if share >= 1.0 {
        format!("{share:5.2}%")
    } else {
        format!("{:>5}%", two_digits(share))
    }
}

/// A number below one with two digits that say something, as C's `%.2g` writes it.
fn two_digits(share: f64) -> String {
    if share == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{share:.1e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let bare = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if exponent < -4 {
        return format!("{}e-{:02}", bare(digits), -exponent);
    }
    bare(&format!("{share:.*}", usize::try_from(1 - exponent).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_that_fits() {
        for (value, from, to, expected) in [
            (0, "nanoseconds", AUTO, "0"),
            (340_000_000, "nanoseconds", AUTO, "340ms"),
            (340_000_000, "nanoseconds", "s", "0.34s"),
            (30_000_000_000, "nanoseconds", AUTO, "30s"),
            (524_338, "bytes", AUTO, "512.05kB"),
            (-524_338, "bytes", AUTO, "-512.05kB"),
            (1, "byte", "mb", "0"),
            (7_200, "s", AUTO, "2hrs"),
            (11, "count", AUTO, "11"),
            (11, "", AUTO, "11"),
            (5, "apples", "apples", "5apples"),
            (i64::MIN, "count", AUTO, "-9223372036854775808"),
        ] {
            assert_eq!(label(value, from, to), expected, "{value} {from}");
        }
    }

    #[test]
    fn shares_have_two_digits_that_say_something() {
        for (value, total, expected) in [
            (0, 100, "    0%"),
            (0, 0, "    0%"),
            (100, 100, "  100%"),
            (99_960, 100_000, "  100%"),
            (12_345, 100_000, "12.35%"),
            (2_500, 1_000, "250.00%"),
            (1, 100, " 1.00%"),
            (52, 10_000, " 0.52%"),
            (5, 1_000, "  0.5%"),
            (999, 100_000, "    1%"),
            (-1, 300, " 0.33%"),
            (1, 1_000_000, "0.0001%"),
            (12, 100_000_000, "1.2e-05%"),
        ] {
            assert_eq!(percentage(value, total), expected, "{value} of {total}");
        }
    }
}
