//! Histograms that a kernel half counts: from counts that grow to those of a window.

use temblor_event::{Buckets, Latency};

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
        let grown = grown(&mut self.before, counts);
        let sum_grown_ns = sum_ns.wrapping_sub(self.sum_before_ns);
        self.sum_before_ns = sum_ns;
        Latency::of(grown, sum_grown_ns, max_ns)
    }
}

/// What the counts have grown by since `before`, which they become. Counts never go back; they may
/// wrap.
pub(crate) fn grown(before: &mut Vec<u32>, now: Vec<u32>) -> Buckets {
    before.resize(now.len(), 0);
    let mut histogram = Buckets::default();
    for (bucket, (now, then)) in (0_u16..).zip(now.iter().zip(&*before)) {
        histogram.add(bucket, u64::from(now.wrapping_sub(*then)));
    }
    *before = now;
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

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
