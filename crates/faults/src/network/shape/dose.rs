//! How much worse the wire is.

use std::collections::BTreeMap;
use std::time::Duration;

/// What becomes of the packets that pass. Shares are of packets, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dose {
    /// Each packet arrives later, in the order in which it was sent: one that would overtake
    /// another waits for it.
    Latency {
        /// How much later.
        delay: Duration,
        /// By how much the delay differs from packet to packet, evenly, either way. At most the
        /// delay.
        jitter: Duration,
    },
    /// Packets vanish, each by chance, and nobody is told.
    Loss {
        /// How many of them.
        share: f64,
    },
    /// Packets arrive twice, each by chance.
    Duplicate {
        /// How many of them.
        share: f64,
    },
    /// Packets are held back, each by chance, so that those sent after them arrive first. (To
    /// netem this is `delay DELAY reorder 100%-SHARE`: it counts those that are not held back.)
    Reorder {
        /// How many of them.
        share: f64,
        /// For how long; what is sent within this time overtakes.
        delay: Duration,
    },
    /// One bit of a packet's payload is flipped, each by chance, and the checksum left as it was.
    Corrupt {
        /// How many of them.
        share: f64,
    },
    /// Packets queue for a slower wire; what finds the queue full is lost.
    Bandwidth {
        /// How many bytes pass in a second, IP headers included, in each direction that is asked
        /// for.
        bytes_per_second: u64,
    },
}

impl Dose {
    /// The fault's name in an experiment file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "network.latency",
            Self::Loss { .. } => "network.loss",
            Self::Duplicate { .. } => "network.duplicate",
            Self::Reorder { .. } => "network.reorder",
            Self::Corrupt { .. } => "network.corrupt",
            Self::Bandwidth { .. } => "network.bandwidth",
        }
    }

    /// A part of the dose, for ramps and steps: `level` is 0 to 1, and 1 is all of it. Delays and
    /// shares are multiplied by it (the delay of a reordering stays: the share is its dose). A
    /// bandwidth is divided by it: half the dose lets twice as much through. None: nothing is left
    /// of it.
    #[must_use]
    pub fn at(&self, level: f64) -> Option<Self> {
        let level = level.clamp(0.0, 1.0);
        if level == 0.0 || level.is_nan() {
            return None;
        }
        Some(match *self {
            Self::Latency { delay, jitter } => {
                Self::Latency { delay: delay.mul_f64(level), jitter: jitter.mul_f64(level) }
            }
            Self::Loss { share } => Self::Loss { share: share * level },
            Self::Duplicate { share } => Self::Duplicate { share: share * level },
            Self::Reorder { share, delay } => Self::Reorder { share: share * level, delay },
            Self::Corrupt { share } => Self::Corrupt { share: share * level },
            Self::Bandwidth { bytes_per_second } => {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive, and the cast saturates; a rate is known to far fewer digits"
                )]
                let bytes_per_second = (bytes_per_second as f64 / level) as u64;
                Self::Bandwidth { bytes_per_second }
            }
        })
    }

    /// What is asked, in words.
    pub(super) fn words(&self) -> BTreeMap<String, String> {
        let pairs = match *self {
            Self::Latency { delay, jitter } if jitter.is_zero() => vec![("delay", ms(delay))],
            Self::Latency { delay, jitter } => vec![("delay", ms(delay)), ("jitter", ms(jitter))],
            Self::Loss { share } | Self::Duplicate { share } | Self::Corrupt { share } => {
                vec![("share", percent(share))]
            }
            Self::Reorder { share, delay } => {
                vec![("share", percent(share)), ("delay", ms(delay))]
            }
            Self::Bandwidth { bytes_per_second } => {
                vec![("bandwidth", format!("{bytes_per_second} bytes/s"))]
            }
        };
        pairs.into_iter().map(|(what, how)| (what.into(), how)).collect()
    }
}

/// `20 ms`, `0.5 ms`, `1500 ms`.
pub(super) fn ms(time: Duration) -> String {
    // A shortest decimal: what was written is what is shown.
    format!("{} ms", time.as_nanos() as f64 / 1e6)
}

/// `1 %`, `0.5 %`.
pub(super) fn percent(share: f64) -> String {
    // Twelve digits are more than anybody writes, and fewer than a product is wrong by.
    let text = format!("{:.10}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_were_written() {
        for (dose, words) in [
            (
                Dose::Latency { delay: Duration::from_millis(20), jitter: Duration::ZERO },
                "delay=20 ms",
            ),
            (
                Dose::Latency {
                    delay: Duration::from_micros(1500),
                    jitter: Duration::from_micros(500),
                },
                "delay=1.5 ms jitter=0.5 ms",
            ),
            (Dose::Loss { share: 0.07 }, "share=7 %"),
            (Dose::Duplicate { share: 0.005 }, "share=0.5 %"),
            (Dose::Corrupt { share: 1.0 }, "share=100 %"),
            (
                Dose::Reorder { share: 0.25, delay: Duration::from_secs(1) },
                "delay=1000 ms share=25 %",
            ),
            (Dose::Bandwidth { bytes_per_second: 125_000 }, "bandwidth=125000 bytes/s"),
        ] {
            let said: Vec<String> =
                dose.words().iter().map(|(what, how)| format!("{what}={how}")).collect();
            assert_eq!(said.join(" "), words);
        }
    }

    #[test]
    fn a_level_is_a_part_of_the_dose() {
        let delay = Duration::from_millis(20);
        let jitter = Duration::from_millis(4);
        for (dose, level, part) in [
            (
                Dose::Latency { delay, jitter },
                0.5,
                Some(Dose::Latency { delay: delay / 2, jitter: jitter / 2 }),
            ),
            (Dose::Loss { share: 0.5 }, 0.5, Some(Dose::Loss { share: 0.25 })),
            (Dose::Reorder { share: 0.5, delay }, 0.5, Some(Dose::Reorder { share: 0.25, delay })),
            (
                Dose::Bandwidth { bytes_per_second: 1000 },
                0.25,
                Some(Dose::Bandwidth { bytes_per_second: 4000 }),
            ),
            (Dose::Bandwidth { bytes_per_second: 1000 }, 0.0, None),
            (Dose::Loss { share: 0.5 }, 0.0, None),
            (Dose::Loss { share: 0.5 }, 1.0, Some(Dose::Loss { share: 0.5 })),
            (Dose::Loss { share: 0.5 }, 7.0, Some(Dose::Loss { share: 0.5 })),
            (Dose::Loss { share: 0.5 }, f64::NAN, None),
        ] {
            assert_eq!(dose.at(level), part, "{dose:?} at {level}");
        }
    }
}
