//! Round-trip times: from the kernel's growing histograms to one line per pair and window.

use std::collections::{BTreeMap, HashMap};

use temblor_event::TcpRtt;

use super::attribution::Attribution;
use super::decode::address;
use super::skeleton::{rtt_histogram, rtt_key};

/// Values below this have a bucket each; from here on each doubling has as many as this.
const SUB_BUCKETS: u64 = 16;

/// The greatest value that falls into a bucket.
fn upper_bound_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let doubling = bucket / SUB_BUCKETS - 1;
    ((SUB_BUCKETS + bucket % SUB_BUCKETS + 1) << doubling) - 1
}

/// The histograms of one pair over one window.
#[derive(Debug, Clone, Default)]
struct Window {
    counts: BTreeMap<usize, u64>,
    samples: u64,
    max_us: u64,
}

impl Window {
    fn add(&mut self, bucket: usize, count: u64) {
        *self.counts.entry(bucket).or_default() += count;
        self.samples += count;
    }

    /// The bucket in which the sample of this rank lies, by its upper bound; never more than the
    /// greatest sample there was.
    fn percentile_us(&self, hundredths: u64) -> u64 {
        let rank = (self.samples * hundredths).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        let bound = bucket.map_or(0, |(bucket, _)| upper_bound_us(*bucket));
        if self.max_us == 0 { bound } else { bound.min(self.max_us) }
    }
}

/// Takes differences between readings of counters that never go back.
#[derive(Debug, Default)]
pub(super) struct Windows {
    before: HashMap<(u32, u32, [u8; 16]), Vec<u32>>,
}

impl Windows {
    /// Closes window number `window`, which was `window_ns` long. `readings` has each pair with
    /// the histogram of every processor.
    pub(super) fn close(
        &mut self,
        window: u32,
        window_ns: u64,
        readings: &[(rtt_key, Vec<rtt_histogram>)],
        attribution: &Attribution,
    ) -> Vec<TcpRtt> {
        let mut pairs: BTreeMap<(String, String), Window> = BTreeMap::new();
        for (key, histograms) in readings {
            let Some(remote) = address(key.family, &key.remote) else { continue };
            let Some(service) = attribution.service(key.netns) else { continue };
            let peer = attribution.peer(remote).map_or_else(|| remote.to_string(), str::to_owned);
            let pair = pairs.entry((service.to_owned(), peer)).or_default();

            let counts = sum(histograms);
            let before = self
                .before
                .entry((key.netns, key.family, key.remote))
                .or_insert_with(|| vec![0; counts.len()]);
            for (bucket, (now, then)) in counts.iter().zip(before.iter()).enumerate() {
                let grown = now.wrapping_sub(*then);
                if grown > 0 {
                    pair.add(bucket, u64::from(grown));
                }
            }
            *before = counts;
            pair.max_us = pair.max_us.max(max_us(histograms, window));
        }
        pairs
            .into_iter()
            .filter(|(_, pair)| pair.samples > 0)
            .map(|((service, peer), pair)| {
                let (p50_us, p99_us) = (pair.percentile_us(50), pair.percentile_us(99));
                // A sample that lands while the reader turns the page is counted in one window
                // and its maximum in the next.
                let max_us = pair.max_us.max(p99_us);
                let samples = pair.samples;
                TcpRtt { service, peer, window_ns, samples, p50_us, p99_us, max_us }
            })
            .collect()
    }
}

fn sum(histograms: &[rtt_histogram]) -> Vec<u32> {
    let mut counts = vec![0_u32; histograms.first().map_or(0, |one| one.buckets.len())];
    for histogram in histograms {
        for (count, more) in counts.iter_mut().zip(histogram.buckets) {
            *count = count.wrapping_add(more);
        }
    }
    counts
}

fn max_us(histograms: &[rtt_histogram], window: u32) -> u64 {
    let slot = (window & 1) as usize;
    let of_window = histograms.iter().filter(|one| one.window[slot] == window);
    of_window.map(|one| u64::from(one.max_us[slot])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel half does, written the slow way.
    fn bucket_of(us: u32) -> usize {
        (0..384).find(|bucket| upper_bound_us(*bucket) >= u64::from(us)).unwrap_or(383)
    }

    #[test]
    fn buckets_are_at_most_a_sixteenth_wide_and_leave_no_gap() {
        for bucket in 1..384 {
            let lowest = upper_bound_us(bucket - 1) + 1;
            let width = upper_bound_us(bucket) - lowest + 1;
            assert!(width * 16 <= lowest.max(16), "bucket {bucket}: {lowest} is {width} wide");
        }
        assert_eq!(upper_bound_us(383), (1 << 27) - 1);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_sixteenth(
            mut samples in prop::collection::vec(1_u32..100_000_000, 1..300),
        ) {
            let mut window = Window::default();
            for us in &samples {
                window.add(bucket_of(*us), 1);
                window.max_us = window.max_us.max(u64::from(*us));
            }
            samples.sort_unstable();
            for hundredths in [50, 99] {
                let rank = (samples.len() * hundredths).div_ceil(100).max(1);
                let exact = u64::from(samples[rank - 1]);
                let told = window.percentile_us(hundredths as u64);
                prop_assert!(told >= exact && (told - exact) * 16 <= exact, "{told} for {exact}");
            }
        }
    }

    #[test]
    fn windows_are_differences_and_pairs_of_one_name_are_joined() {
        let mut attribution = Attribution::default();
        let netns = temblor_host::netns::Netns::of_this_thread().unwrap();
        attribution.watch("api", &netns);
        attribution.name("10.0.0.1".parse().unwrap(), "db");
        attribution.name("10.0.0.2".parse().unwrap(), "db");
        let key = |last: u8| {
            let mut key = rtt_key { family: 2, ..rtt_key::default() };
            key.netns = u32::try_from(netns.inode()).unwrap();
            key.remote[..4].copy_from_slice(&[10, 0, 0, last]);
            key
        };
        let mut reading = rtt_histogram::default();
        reading.buckets[7] = 3;
        reading.window = [2, 1];
        reading.max_us = [9, 7];
        let readings = [(key(1), vec![reading, reading]), (key(2), vec![reading])];

        let mut windows = Windows::default();
        let first = windows.close(1, 1_000, &readings, &attribution);
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].samples, first[0].p50_us, first[0].max_us), (9, 7, 7));
        assert_eq!((first[0].service.as_str(), first[0].peer.as_str()), ("api", "db"));
        assert_eq!(windows.close(2, 1_000, &readings, &attribution), []);
    }
}
