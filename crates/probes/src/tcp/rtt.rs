//! Round-trip times: from the kernel's growing histograms to one line per pair and window.

use std::collections::{BTreeMap, HashMap};

use temblor_event::{Buckets, TcpRtt};

use super::attribution::Attribution;
use super::decode::address;
use super::skeleton::{rtt_histogram, rtt_key};
use crate::histogram::grown;

/// What was read of a pair when the last window closed.
#[derive(Debug, Default)]
struct Before {
    counts: Vec<u32>,
    sum_us: u64,
}

/// What a window has of a pair.
#[derive(Default)]
struct Pair {
    buckets: Buckets,
    max_us: u64,
    sum_us: u64,
}

/// Takes differences between readings of counters that never go back.
#[derive(Debug, Default)]
pub(super) struct Windows {
    before: HashMap<(u32, u32, u32, [u8; 16]), Before>,
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
        let mut pairs: BTreeMap<(String, String), Pair> = BTreeMap::new();
        for (key, histograms) in readings {
            let Some(remote) = address(key.family, &key.remote) else { continue };
            let Some(service) = attribution.service(key.netns, key.target) else { continue };
            let peer = attribution.peer(remote).map_or_else(|| remote.to_string(), str::to_owned);
            let pair = pairs.entry((service.to_owned(), peer)).or_default();
            let key = (key.netns, key.target, key.family, key.remote);
            let before = self.before.entry(key).or_default();
            pair.buckets.merge(&grown(&mut before.counts, sum(histograms)));
            pair.max_us = pair.max_us.max(max_us(histograms, window));
            let sum_us = histograms.iter().fold(0_u64, |sum, one| sum.wrapping_add(one.sum_us));
            pair.sum_us += sum_us.wrapping_sub(before.sum_us);
            before.sum_us = sum_us;
        }
        pairs
            .into_iter()
            .filter(|(_, pair)| !pair.buckets.is_empty())
            .map(|((service, peer), Pair { buckets, max_us, sum_us })| {
                let p50_us = buckets.percentile_up_to(max_us, 50);
                let p99_us = buckets.percentile_up_to(max_us, 99);
                // A sample that lands while the reader turns the page is counted in one window
                // and its maximum in the next.
                let max_us = max_us.max(p99_us);
                let samples = buckets.samples();
                TcpRtt {
                    service,
                    peer,
                    window_ns,
                    samples,
                    p50_us,
                    p99_us,
                    max_us,
                    sum_us,
                    buckets,
                }
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
    use super::*;
    use crate::roster::NOBODY;

    #[test]
    fn windows_are_differences_and_pairs_of_one_name_are_joined() {
        let mut attribution = Attribution::default();
        let netns = temblor_host::netns::Netns::of_this_thread().unwrap();
        attribution.watch("api", &netns);
        attribution.name("10.0.0.1".parse().unwrap(), "db");
        attribution.name("10.0.0.2".parse().unwrap(), "db");
        let key = |last: u8| {
            let mut key = rtt_key { family: 2, target: NOBODY, ..rtt_key::default() };
            key.netns = u32::try_from(netns.inode()).unwrap();
            key.remote[..4].copy_from_slice(&[10, 0, 0, last]);
            key
        };
        let mut reading = rtt_histogram::default();
        reading.buckets[7] = 3;
        reading.sum_us = 21;
        reading.window = [2, 1];
        reading.max_us = [9, 7];
        let readings = [(key(1), vec![reading, reading]), (key(2), vec![reading])];

        let mut windows = Windows::default();
        let first = windows.close(1, 1_000, &readings, &attribution);
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].samples, first[0].p50_us, first[0].max_us), (9, 7, 7));
        assert_eq!(first[0].sum_us, 63);
        assert_eq!((first[0].service.as_str(), first[0].peer.as_str()), ("api", "db"));
        assert_eq!(windows.close(2, 1_000, &readings, &attribution), []);
    }
}
