//! A dose in the words of netem. Pure: a dose in, bytes out.

use std::time::Duration;

use crate::netlink::Attributes;
use crate::network::Dose;

const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_PRNG_SEED: u16 = 14;

/// How many packets are held at most; one more is lost.
const HELD_MAX: u32 = 16_384;
/// How long a packet waits at most for a slower wire, and what its queue holds in any case. netem
/// counts packets, so it is full packets that are meant.
const BACKLOG: Duration = Duration::from_millis(250);
const BACKLOG_PACKETS_MIN: u32 = 32;
const PACKET_BYTES: f64 = 1514.0;
/// What Ethernet puts before an IP header, and a rate is not about.
const LINK_HEADER_BYTES: i32 = 14;
/// A rate at which a packet takes no time (bytes a second).
const NO_TIME: u64 = 1 << 40;
/// netem takes its jitter as a signed number of 32 bits, in nanoseconds.
pub(super) const JITTER_MAX: Duration = Duration::from_secs(2);

/// `tc_netem_qopt` and what follows it. What is not given keeps its former value when a queue is
/// changed, so all of it is given always.
#[derive(Debug, Default)]
struct Netem {
    limit: u32,
    loss: u32,
    gap: u32,
    duplicate: u32,
    latency: Duration,
    jitter: Duration,
    sent_at_once: u32,
    corrupt: u32,
    bytes_per_second: u64,
}

/// The options for a dose; none: packets pass as they are.
pub(super) fn options(dose: Option<&Dose>, seed: Option<u64>) -> Vec<u8> {
    let mut netem = Netem { limit: HELD_MAX, ..Netem::default() };
    match dose {
        None => {}
        Some(&Dose::Latency { delay, jitter }) => {
            (netem.latency, netem.jitter) = (delay, jitter);
            if !jitter.is_zero() {
                // With any rate netem counts a packet's delay from when the one before it leaves,
                // and so keeps their order.
                netem.bytes_per_second = NO_TIME;
            }
        }
        Some(&Dose::Loss { share }) => netem.loss = chance(share),
        Some(&Dose::Duplicate { share }) => netem.duplicate = chance(share),
        Some(&Dose::Corrupt { share }) => netem.corrupt = chance(share),
        Some(&Dose::Reorder { share, delay }) => {
            netem.latency = delay;
            // netem counts those that are not held back; with none of them it is a plain delay.
            netem.sent_at_once = chance(1.0 - share);
            netem.gap = u32::from(netem.sent_at_once > 0);
        }
        Some(&Dose::Bandwidth { bytes_per_second }) => {
            netem.bytes_per_second = bytes_per_second;
            let packets = bytes_per_second as f64 * BACKLOG.as_secs_f64() / PACKET_BYTES;
            netem.limit = (packets as u32).clamp(BACKLOG_PACKETS_MIN, HELD_MAX);
        }
    }
    netem.bytes(seed)
}

/// A share as netem takes it: of all 32-bit numbers.
fn chance(share: f64) -> u32 {
    // The cast saturates, and a share is known to fewer digits.
    (share * f64::from(u32::MAX)).round() as u32
}

impl Netem {
    fn bytes(&self, seed: Option<u64>) -> Vec<u8> {
        // Latency and jitter follow in nanoseconds; the words here are in the scheduler's ticks.
        let [latency_ticks, jitter_ticks, correlation] = [0; 3];
        let nanoseconds =
            |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).to_ne_bytes();
        let mut rate = Vec::new();
        // The rate itself follows in 64 bits; cells are an older network's.
        for word in [0, -LINK_HEADER_BYTES, 0, 0] {
            rate.extend(word.to_ne_bytes());
        }
        let mut attributes = Attributes::default()
            .with(TCA_NETEM_REORDER, &words(&[self.sent_at_once, correlation]))
            .with(TCA_NETEM_CORRUPT, &words(&[self.corrupt, correlation]))
            .with(TCA_NETEM_RATE, &rate)
            .with(TCA_NETEM_RATE64, &self.bytes_per_second.to_ne_bytes())
            .with(TCA_NETEM_LATENCY64, &nanoseconds(self.latency))
            .with(TCA_NETEM_JITTER64, &nanoseconds(self.jitter));
        if let Some(seed) = seed {
            attributes = attributes.with(TCA_NETEM_PRNG_SEED, &seed.to_ne_bytes());
        }
        let fixed =
            words(&[latency_ticks, self.limit, self.loss, self.gap, self.duplicate, jitter_ticks]);
        [&fixed, attributes.bytes()].concat()
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap())
    }

    fn long(bytes: &[u8], kind: u16) -> u64 {
        u64::from_ne_bytes(attribute(&bytes[24..], kind).unwrap().try_into().unwrap())
    }

    /// (limit, loss, gap, duplicate, latency ns, jitter ns, sent at once, corrupt, rate)
    type Read = (u32, u32, u32, u32, u64, u64, u32, u32, u64);

    fn read(dose: Option<Dose>) -> Read {
        let bytes = options(dose.as_ref(), None);
        assert_eq!((word(&bytes, 0), word(&bytes, 5)), (0, 0));
        let first = |kind| word(attribute(&bytes[24..], kind).unwrap(), 0);
        (
            word(&bytes, 1),
            word(&bytes, 2),
            word(&bytes, 3),
            word(&bytes, 4),
            long(&bytes, TCA_NETEM_LATENCY64),
            long(&bytes, TCA_NETEM_JITTER64),
            first(TCA_NETEM_REORDER),
            first(TCA_NETEM_CORRUPT),
            long(&bytes, TCA_NETEM_RATE64),
        )
    }

    #[test]
    fn each_dose_is_said_as_netem_takes_it() {
        const HALF: u32 = 1 << 31;
        for (dose, expected) in [
            (None, (HELD_MAX, 0, 0, 0, 0, 0, 0, 0, 0)),
            (
                Some(Dose::Latency { delay: MS(20), jitter: MS(0) }),
                (HELD_MAX, 0, 0, 0, 20_000_000, 0, 0, 0, 0),
            ),
            (
                Some(Dose::Latency { delay: MS(20), jitter: MS(5) }),
                (HELD_MAX, 0, 0, 0, 20_000_000, 5_000_000, 0, 0, NO_TIME),
            ),
            (Some(Dose::Loss { share: 1.0 }), (HELD_MAX, u32::MAX, 0, 0, 0, 0, 0, 0, 0)),
            (Some(Dose::Loss { share: 0.5 }), (HELD_MAX, HALF, 0, 0, 0, 0, 0, 0, 0)),
            (Some(Dose::Duplicate { share: 0.5 }), (HELD_MAX, 0, 0, HALF, 0, 0, 0, 0, 0)),
            (Some(Dose::Corrupt { share: 0.5 }), (HELD_MAX, 0, 0, 0, 0, 0, 0, HALF, 0)),
            (
                Some(Dose::Reorder { share: 0.5, delay: MS(10) }),
                (HELD_MAX, 0, 1, 0, 10_000_000, 0, HALF, 0, 0),
            ),
            (
                Some(Dose::Reorder { share: 1.0, delay: MS(10) }),
                (HELD_MAX, 0, 0, 0, 10_000_000, 0, 0, 0, 0),
            ),
            (
                Some(Dose::Bandwidth { bytes_per_second: 1_000_000 }),
                (165, 0, 0, 0, 0, 0, 0, 0, 1_000_000),
            ),
            (
                Some(Dose::Bandwidth { bytes_per_second: 1000 }),
                (BACKLOG_PACKETS_MIN, 0, 0, 0, 0, 0, 0, 0, 1000),
            ),
            (
                Some(Dose::Bandwidth { bytes_per_second: u64::MAX }),
                (HELD_MAX, 0, 0, 0, 0, 0, 0, 0, u64::MAX),
            ),
        ] {
            assert_eq!(read(dose), expected, "{dose:?}");
        }
    }

    #[test]
    fn a_rate_does_not_count_the_link_header() {
        let bytes = options(Some(&Dose::Bandwidth { bytes_per_second: 1 }), None);
        let rate = attribute(&bytes[24..], TCA_NETEM_RATE).unwrap();
        assert_eq!(word(rate, 1) as i32, -14);
        assert_eq!(rate.len(), 16);
    }

    #[test]
    fn the_seed_is_told() {
        let bytes = options(None, Some(42));
        assert_eq!(long(&bytes, TCA_NETEM_PRNG_SEED), 42);
    }
}
