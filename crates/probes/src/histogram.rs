//! Histograms that a kernel half counts: from growing counts to percentiles of a window.

use std::collections::BTreeMap;

use temblor_event::Latency;

/// Values below this have a bucket each; from here on each doubling has as many as this.
const SUB_BUCKETS: u64 = 16;

/// The greatest value that falls into a bucket. The kernel half's `histogram_bucket` is the inverse.
pub(crate) fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let doubling = bucket / SUB_BUCKETS - 1;
    ((SUB_BUCKETS + bucket % SUB_BUCKETS + 1) << doubling) - 1
}

/// The counts of one window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    counts: BTreeMap<usize, u64>,
    pub(crate) samples: u64,
    pub(crate) max: u64,
}

impl Window {
    pub(crate) fn add(&mut self, bucket: usize, count: u64) {
        *self.counts.entry(bucket).or_default() += count;
        self.samples += count;
    }

    /// The bucket in which the sample of this rank lies, by its upper bound; never more than the
    /// greatest sample there was.
    pub(crate) fn percentile(&self, hundredths: u64) -> u64 {
        let rank = (self.samples * hundredths).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        let bound = bucket.map_or(0, |(bucket, _)| upper_bound(*bucket));
        if self.max == 0 { bound } else { bound.min(self.max) }
    }
}

/// One processor's histogram of latencies, as it lies in memory.
pub(crate) struct Reading<'a> {
    pub(crate) buckets: &'a [u32],
    pub(crate) sum_ns: u64,
    pub(crate) max_ns: [u64; 2],
    pub(crate) window: [u32; 2],
}

/// Takes differences between readings of a histogram of latencies, whose counts never go back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    before: Vec<u32>,
    sum_before_ns: u64,
}

impl Latencies {
    /// Closes window number `window`, from one reading a processor.
    pub(crate) fn close<'a>(
        &mut self,
        window: u32,
        readings: impl Iterator<Item = Reading<'a>>,
    ) -> Latency {
        let mut counts: Vec<u32> = Vec::new();
        let (mut sum_ns, mut max_ns) = (0_u64, 0);
        let slot = (window & 1) as usize;
        for reading in readings {
            counts.resize(reading.buckets.len(), 0);
            for (count, more) in counts.iter_mut().zip(reading.buckets) {
                *count = count.wrapping_add(*more);
            }
            sum_ns = sum_ns.wrapping_add(reading.sum_ns);
            if reading.window[slot] == window {
                max_ns = max_ns.max(reading.max_ns[slot]);
            }
        }
        self.before.resize(counts.len(), 0);
        let mut seen = Window { max: max_ns, ..Window::default() };
        for (bucket, (now, then)) in counts.iter().zip(&self.before).enumerate() {
            let grown = now.wrapping_sub(*then);
            if grown > 0 {
                seen.add(bucket, u64::from(grown));
            }
        }
        let sum_grown_ns = sum_ns.wrapping_sub(self.sum_before_ns);
        (self.before, self.sum_before_ns) = (counts, sum_ns);
        let (p50_ns, p99_ns) = (seen.percentile(50), seen.percentile(99));
        // A sample that lands while the reader turns the page is counted in one window and its
        // maximum in the next.
        let max_ns = max_ns.max(p99_ns);
        Latency { samples: seen.samples, sum_ns: sum_grown_ns, p50_ns, p99_ns, max_ns }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel half does, written the slow way.
    fn bucket_of(value: u64) -> usize {
        (0..544).find(|bucket| upper_bound(*bucket) >= value).unwrap_or(543)
    }

    #[test]
    fn buckets_are_at_most_a_sixteenth_wide_and_leave_no_gap() {
        for bucket in 1..544 {
            let lowest = upper_bound(bucket - 1) + 1;
            let width = upper_bound(bucket) - lowest + 1;
            assert!(width * 16 <= lowest.max(16), "bucket {bucket}: {lowest} is {width} wide");
        }
        assert_eq!(upper_bound(383), (1 << 27) - 1);
        assert_eq!(upper_bound(543), (1 << 37) - 1);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_sixteenth(
            mut samples in prop::collection::vec(1_u64..100_000_000_000, 1..300),
        ) {
            let mut window = Window::default();
            for value in &samples {
                window.add(bucket_of(*value), 1);
                window.max = window.max.max(*value);
            }
            samples.sort_unstable();
            for hundredths in [50, 99] {
                let rank = (samples.len() * hundredths).div_ceil(100).max(1);
                let exact = samples[rank - 1];
                let told = window.percentile(hundredths as u64);
                prop_assert!(told >= exact && (told - exact) * 16 <= exact, "{told} for {exact}");
            }
        }
    }

    #[test]
    fn a_window_is_what_has_grown_on_all_processors() {
        let reading = |buckets, sum_ns, max_ns, window| Reading {
            buckets,
            sum_ns,
            max_ns: [0, max_ns],
            window: [0, window],
        };
        let mut latencies = Latencies::default();
        let (a, b) = ([0, 2, 0, 1], [0, 0, 0, 1]);
        let readings = [reading(&a, 5, 3, 1), reading(&b, 3, 9, 1)];
        let first = latencies.close(1, readings.into_iter());
        assert_eq!((first.samples, first.sum_ns, first.p50_ns, first.max_ns), (4, 8, 1, 9));
        let readings = [reading(&a, 5, 3, 1), reading(&b, 3, 9, 1)];
        let second = latencies.close(2, readings.into_iter());
        assert_eq!(second, Latency::default(), "nothing new");
    }
}
