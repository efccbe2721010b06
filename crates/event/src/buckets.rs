//! Counts by bucket: the histograms that the kernel halves of probes count, of one window or of
//! many together.

use serde::{Deserialize, Serialize};

/// Values below this have a bucket each; from here on each doubling has as many as this.
const SUB_BUCKETS: u64 = 16;

/// How many samples fell into each bucket. A bucket is at most a sixteenth of its lowest value
/// wide. The unit is that of the figure it stands beside.
///
/// As JSON: `[[bucket, count], …]`, only those that have any, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct Buckets {
    /// In order of their buckets, no bucket twice, no count of 0.
    counts: Vec<(u16, u64)>,
}

impl Buckets {
    /// Adds samples to a bucket.
    pub fn add(&mut self, bucket: u16, count: u64) {
        if count == 0 {
            return;
        }
        match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(count),
            Err(at) => self.counts.insert(at, (bucket, count)),
        }
    }

    /// Adds the samples of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            self.add(*bucket, *count);
        }
    }

    /// No samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The bucket in which the sample of this rank lies, by the greatest value that it can hold.
    /// None: there are no samples.
    #[must_use]
    pub fn percentile(&self, hundredths: u64) -> Option<u64> {
        let rank = u128::from(self.samples()) * u128::from(hundredths);
        let rank = rank.div_ceil(100).max(1);
        let mut seen = 0_u128;
        let bucket = self.counts.iter().find(|(_, count)| {
            seen += u128::from(*count);
            seen >= rank
        });
        bucket.or(self.counts.last()).map(|(bucket, _)| Self::upper_bound(*bucket))
    }

    /// The same, but never more than the greatest sample, where that is known (not 0). 0: there
    /// are no samples.
    #[must_use]
    pub fn percentile_up_to(&self, max: u64, hundredths: u64) -> u64 {
        let bound = self.percentile(hundredths).unwrap_or(0);
        if max == 0 { bound } else { bound.min(max) }
    }

    /// The greatest value of each bucket that has samples, and how many it has, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(bucket, count)| (Self::upper_bound(*bucket), *count))
    }

    /// The bucket into which a value falls, as the kernel half's `histogram_bucket` has it.
    #[must_use]
    pub fn bucket_of(value: u64) -> u16 {
        if value < SUB_BUCKETS {
            return u16::try_from(value).unwrap_or(u16::MAX);
        }
        let doubling = value.ilog2() - SUB_BUCKETS.ilog2();
        let bucket = u64::from(doubling + 1) * SUB_BUCKETS + (value >> doubling) % SUB_BUCKETS;
        u16::try_from(bucket).unwrap_or(u16::MAX)
    }

    /// The greatest value that falls into a bucket. The kernel half's `histogram_bucket` is the
    /// inverse.
    #[must_use]
    pub fn upper_bound(bucket: u16) -> u64 {
        let bucket = u64::from(bucket);
        if bucket < SUB_BUCKETS {
            return bucket;
        }
        let doubling = u32::try_from(bucket / SUB_BUCKETS - 1).unwrap_or(u32::MAX);
        let above = u128::from(SUB_BUCKETS + bucket % SUB_BUCKETS + 1);
        // A log may name a bucket that no kernel half has.
        let above = if doubling < 64 { above << doubling } else { u128::MAX };
        u64::try_from(above - 1).unwrap_or(u64::MAX)
    }
}

impl From<Vec<(u16, u64)>> for Buckets {
    fn from(counts: Vec<(u16, u64)>) -> Self {
        let mut buckets = Self::default();
        for (bucket, count) in counts {
            buckets.add(bucket, count);
        }
        buckets
    }
}

impl From<Buckets> for Vec<(u16, u64)> {
    fn from(histogram: Buckets) -> Self {
        histogram.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel half does, written the slow way.
    fn bucket_of(value: u64) -> u16 {
        (0..544).find(|bucket| Buckets::upper_bound(*bucket) >= value).unwrap_or(543)
    }

    #[test]
    fn the_bucket_of_a_value_is_the_one_that_holds_it() {
        for value in (0..5_000).chain((4..37).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 1])) {
            if value < 1 << 37 {
                assert_eq!(Buckets::bucket_of(value), bucket_of(value), "{value}");
            }
        }
        assert_eq!(Buckets::upper_bound(Buckets::bucket_of(u64::MAX)), u64::MAX);
    }

    fn of(samples: &[u64]) -> Buckets {
        let mut buckets = Buckets::default();
        samples.iter().for_each(|value| buckets.add(bucket_of(*value), 1));
        buckets
    }

    #[test]
    fn buckets_are_at_most_a_sixteenth_wide_and_leave_no_gap() {
        for bucket in 1..544 {
            let lowest = Buckets::upper_bound(bucket - 1) + 1;
            let width = Buckets::upper_bound(bucket) - lowest + 1;
            assert!(width * 16 <= lowest.max(16), "bucket {bucket}: {lowest} is {width} wide");
        }
        assert_eq!(Buckets::upper_bound(383), (1 << 27) - 1);
        assert_eq!(Buckets::upper_bound(543), (1 << 37) - 1);
        assert_eq!(Buckets::upper_bound(u16::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_sixteenth_also_of_what_was_merged(
            mut samples in prop::collection::vec(1_u64..100_000_000_000, 1..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(samples.len());
            let mut buckets = of(&samples[..cut]);
            buckets.merge(&of(&samples[cut..]));
            prop_assert_eq!(&buckets, &of(&samples));
            samples.sort_unstable();
            for hundredths in [50, 99, 100] {
                let rank = (samples.len() * hundredths).div_ceil(100).max(1);
                let exact = samples[rank - 1];
                let told = buckets.percentile(hundredths as u64).unwrap();
                prop_assert!(told >= exact && (told - exact) * 16 <= exact, "{told} for {exact}");
            }
        }
    }

    #[test]
    fn the_log_has_only_buckets_with_samples_and_may_have_them_in_any_order() {
        let buckets = of(&[3, 3, 100]);
        assert_eq!(serde_json::to_string(&buckets).unwrap(), "[[3,2],[57,1]]");
        let read: Buckets = serde_json::from_str("[[57,1],[3,1],[9,0],[3,1]]").unwrap();
        assert_eq!(read, buckets);
        assert_eq!(Buckets::default().percentile(50), None);
    }
}
