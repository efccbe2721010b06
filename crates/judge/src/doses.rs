//! A dose that was asked against what somebody else measured of it, in words.

use temblor_event::DoseSeen;

use crate::human::{bytes, count, number};

/// `added round-trip time: asked 50 ms, observed 50.4 ms (1,200 samples, within 2.5 ms), as asked;
/// by the handshakes of new connections`.
pub(crate) fn dose_sentence(dose: &DoseSeen) -> String {
    let asked = dose_figure(dose.asked, &dose.unit);
    let Some(observed) = dose.observed else {
        return format!("{}: asked {asked}, not observed ({})", dose.what, dose.source);
    };
    let mut seen = dose_figure(observed, &dose.unit);
    let mut asked = asked;
    if dose.holds() == Some(false) && seen == asked {
        (seen, asked) = (plain(observed, &dose.unit), plain(dose.asked, &dose.unit));
    }
    let samples = count(dose.samples);
    let within = dose_figure(dose.within, &dose.unit);
    format!(
        "{}: asked {asked}, observed {seen} ({samples} samples, may differ by {within}), {}; \
         measured by {}",
        dose.what,
        verdict_words(dose),
        dose.source
    )
}

/// Whether a dose was as asked, in words.
#[must_use]
pub fn verdict_words(dose: &DoseSeen) -> &'static str {
    match dose.holds() {
        Some(true) => "as asked",
        Some(false) => "off",
        None => "not observed",
    }
}

/// A figure in a dose's own unit.
#[must_use]
pub fn dose_figure(value: f64, unit: &str) -> String {
    // A size is read in powers of 1024; one that is no whole number of bytes is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be positive and far below 2^53"
    )]
    let size = (0.0..9e15).contains(&value).then(|| bytes(value.round() as u64));
    match (unit, size) {
        ("bytes", Some(size)) => size,
        ("bytes/s", Some(size)) => format!("{size}/s"),
        _ => plain(value, unit),
    }
}

fn plain(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        "%" => format!("{}%", number(value)),
        _ => format!("{} {unit}", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(unit: &str, asked: f64, observed: Option<f64>, within: f64) -> DoseSeen {
        DoseSeen {
            what: "dose".to_owned(),
            unit: unit.to_owned(),
            asked,
            observed,
            within,
            samples: 1_200,
            source: "somebody".to_owned(),
        }
    }

    #[test]
    fn doses_in_words() {
        for (dose, expected) in [
            (
                seen("ms", 50.0, Some(50.4), 2.5),
                "dose: asked 50 ms, observed 50.4 ms (1,200 samples, may differ by 2.5 ms), as \
                 asked; measured by somebody",
            ),
            (
                seen("%", 10.0, Some(12.0), 1.0),
                "dose: asked 10%, observed 12% (1,200 samples, may differ by 1%), off; measured by \
                 somebody",
            ),
            (
                seen("bytes/s", 1_048_576.0, None, 1.0),
                "dose: asked 1 MiB/s, not observed (somebody)",
            ),
            (
                seen("bytes", 67_108_864.0, Some(67_108_865.0), 0.0),
                "dose: asked 67,108,864 bytes, observed 67,108,865 bytes (1,200 samples, may \
                 differ by 0 B), off; measured by somebody",
            ),
        ] {
            assert_eq!(dose_sentence(&dose), expected);
        }
        assert_eq!(dose_figure(f64::NAN, "bytes"), "not a number bytes");
    }
}
