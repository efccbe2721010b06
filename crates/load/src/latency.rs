//! Latency histograms as the events carry them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

/// The greatest latency a histogram holds. A time-out may not be longer, so nothing is cut; an
/// answer that a scheduler delayed past this is counted as this.
pub(crate) const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Shorter latencies share one bucket: nothing answers HTTP in less than a microsecond.
const LATENCY_NS_MIN: u64 = 1_000;
const DIGITS: u8 = 3;

/// Latencies in nanoseconds with three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants, tested below")]
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS)
                .expect("constant bounds are valid"),
        )
    }

    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn p99_ns(&self) -> u64 {
        self.0.value_at_quantile(0.99)
    }

    /// V2 with deflate, in base64.
    #[expect(clippy::expect_used, reason = "writing to memory has no way to fail")]
    pub(crate) fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("a histogram is written to memory");
        STANDARD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Histogram<u64> {
        let bytes = STANDARD.decode(text).unwrap();
        Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
    }

    #[test]
    fn an_empty_histogram_is_read_back_empty() {
        assert_eq!(decode(&Latencies::new().encode()).len(), 0);
    }

    #[test]
    fn a_latency_beyond_the_bound_is_counted_at_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX);
        let read = decode(&latencies.encode());
        assert_eq!(read.len(), 1);
        assert!(read.max() >= LATENCY_NS_MAX, "{}", read.max());
    }

    proptest! {
        #[test]
        fn quantiles_survive_the_text_form(
            mut values in prop::collection::vec(1_000_u64..LATENCY_NS_MAX, 1..200),
        ) {
            let mut latencies = Latencies::new();
            for &value in &values {
                latencies.record(value);
            }
            let read = decode(&latencies.encode());
            prop_assert_eq!(read.len(), values.len() as u64);
            values.sort_unstable();
            for quantile in [0.0, 0.5, 0.99, 1.0] {
                let rank = ((quantile * values.len() as f64).ceil() as usize).max(1) - 1;
                let (exact, found) = (values[rank] as f64, read.value_at_quantile(quantile) as f64);
                // Three digits, and never less than the granularity at the low bound.
                prop_assert!((found - exact).abs() <= exact / 500.0 + 1_024.0, "{exact} {found}");
            }
        }
    }
}
