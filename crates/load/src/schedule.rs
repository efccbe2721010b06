//! When requests are planned: pure arithmetic from a seed.

use std::fmt;
use std::str::FromStr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How planned send times are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps: the arrivals of many independent users.
    Poisson,
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            _ => Err(format!("arrivals are `constant` or `poisson`, not {text:?}")),
        }
    }
}

/// What comes next, in nanoseconds since the load's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A request is planned for this time.
    Arrival(u64),
    /// Nothing is planned any more, and the load is over at this time.
    End(u64),
}

/// The planned times, in order.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    duration_ns: u64,
    requests_max: u64,
    random: StdRng,
    planned: u64,
    /// The sum of Poisson gaps so far. A double holds whole nanoseconds for 104 days.
    at_ns: f64,
}

impl Schedule {
    pub(crate) fn new(
        arrivals: Arrivals,
        rate_per_second: f64,
        seed: u64,
        duration_ns: u64,
        requests_max: u64,
    ) -> Self {
        Self {
            arrivals,
            gap_ns: 1e9 / rate_per_second,
            duration_ns,
            requests_max,
            random: StdRng::seed_from_u64(seed),
            planned: 0,
            at_ns: 0.0,
        }
    }

    /// The next step; after the first [`Step::End`] it stays at the end.
    pub(crate) fn next(&mut self) -> Step {
        if self.planned == self.requests_max {
            // The last arrival belongs to the load, so the load ends just after it.
            return Step::End((self.at_ns as u64 + 1).min(self.duration_ns));
        }
        match self.arrivals {
            // Multiplied, not added up: the error of one gap does not grow into a drift.
            Arrivals::Constant => self.at_ns = (self.planned as f64 * self.gap_ns).round(),
            // 1 - u is in (0, 1], so the logarithm is finite.
            Arrivals::Poisson => {
                self.at_ns += -(1.0 - self.random.random::<f64>()).ln() * self.gap_ns;
            }
        }
        if self.at_ns >= self.duration_ns as f64 {
            self.requests_max = self.planned;
            self.at_ns = self.duration_ns as f64;
            return Step::End(self.duration_ns);
        }
        self.planned += 1;
        Step::Arrival(self.at_ns as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(mut schedule: Schedule) -> (Vec<u64>, u64) {
        let mut times = Vec::new();
        loop {
            match schedule.next() {
                Step::Arrival(at) => times.push(at),
                Step::End(at) => {
                    assert_eq!(schedule.next(), Step::End(at), "the end is not final");
                    return (times, at);
                }
            }
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_variance_of_an_exponential() {
        let count = 100_000_u32;
        let mean_ns = 5e6;
        let schedule = Schedule::new(Arrivals::Poisson, 200.0, 7, u64::MAX, count.into());
        let (times, _) = times(schedule);
        let mut last = 0;
        let gaps: Vec<f64> = times
            .iter()
            .map(|&at| {
                let gap = (at - last) as f64;
                last = at;
                gap / mean_ns
            })
            .collect();
        let n = f64::from(count);
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (n - 1.0);
        // Standard errors: 1/sqrt(n) for the mean, sqrt(8/n) for the variance; five of each.
        assert!((mean - 1.0).abs() < 5.0 / n.sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (8.0 / n).sqrt(), "variance {variance}");
        // No memory: neighbouring gaps are uncorrelated (standard error 1/sqrt(n)).
        let together = gaps.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / n;
        assert!(together.abs() < 5.0 / n.sqrt(), "correlation {together}");
    }

    #[test]
    fn arrivals_are_read_as_they_are_written() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_eq!(arrivals.to_string().parse(), Ok(arrivals));
        }
        assert!("uniform".parse::<Arrivals>().unwrap_err().contains("poisson"));
    }

    proptest! {
        #[test]
        fn a_schedule_is_ordered_bounded_and_the_same_for_its_seed(
            poisson: bool,
            rate in 0.1_f64..5_000.0,
            seed: u64,
            duration_ns in 1_u64..3_000_000_000,
            requests_max in 1_u64..2_000,
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let make = || Schedule::new(arrivals, rate, seed, duration_ns, requests_max);
            let (found, end_ns) = times(make());
            prop_assert!(found.is_sorted());
            prop_assert!(found.iter().all(|&at| at < end_ns), "{found:?} {end_ns}");
            prop_assert!(end_ns <= duration_ns);
            prop_assert!(found.len() as u64 <= requests_max);
            prop_assert_eq!(&found, &times(make()).0);
            if !poisson {
                let exact = (duration_ns as f64 * rate / 1e9).ceil().min(requests_max as f64);
                prop_assert!((found.len() as f64 - exact).abs() <= 1.0);
                for (k, &at) in found.iter().enumerate() {
                    prop_assert!((at as f64 - k as f64 * 1e9 / rate).abs() <= 1.0, "drift at {}", k);
                }
            }
        }
    }
}
