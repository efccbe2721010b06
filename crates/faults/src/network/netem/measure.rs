//! What netem's counters say of a dose. Pure: readings in, figures out.

use temblor_event::DoseSeen;

use crate::network::Dose;
use crate::tc::Stats;

/// What Ethernet puts before an IP header; the counters have it, and a rate is not about it.
const LINK_HEADER_BYTES: u64 = 14;
/// A share of fewer packets says nothing yet.
const PACKETS_MIN: u64 = 100;

/// What the effect counts.
pub(super) fn measure(dose: &Dose) -> &'static str {
    match dose {
        Dose::Latency { .. } => "packets delayed",
        Dose::Loss { .. } => "packets lost",
        Dose::Duplicate { .. } => "packets past a queue that doubles some",
        Dose::Reorder { .. } => "packets held back",
        Dose::Corrupt { .. } => "packets past a queue that flips bits of some",
        Dose::Bandwidth { .. } => "packets through the slower wire",
    }
}

/// How many packets of a netem's were hit.
pub(super) fn hit(dose: &Dose, stats: &Stats) -> u64 {
    match dose {
        Dose::Loss { .. } => stats.drops.into(),
        // Those that are not held back go to the front of the queue, which counts as requeuing.
        Dose::Reorder { .. } => stats.packets.saturating_sub(stats.requeues.into()),
        _ => stats.packets,
    }
}

/// Readings of the netems of a fault, and what has come of them since the dose was set.
#[derive(Debug)]
pub(super) struct Measured {
    /// The first reading at this dose, and the last.
    first: Option<Vec<Stats>>,
    last: Option<(u64, Vec<Stats>)>,
    /// While packets were waiting at both ends of an interval: bytes that left, nanoseconds, and
    /// how many such intervals, one figure a netem.
    busy: Vec<(u64, u64, u64)>,
}

impl Measured {
    /// The counters begin at nothing.
    pub(super) fn new(places: usize) -> Self {
        let nothing = vec![Stats::default(); places];
        Self { first: Some(nothing), last: None, busy: vec![(0, 0, 0); places] }
    }

    /// The dose is another from here on.
    pub(super) fn begin_again(&mut self) {
        (self.first, self.last) = (None, None);
        self.busy.fill((0, 0, 0));
    }

    pub(super) fn add(&mut self, now_ns: u64, stats: &[Stats]) {
        if let Some((then_ns, before)) = &self.last {
            let ns = now_ns.saturating_sub(*then_ns);
            for ((busy, before), now) in self.busy.iter_mut().zip(before).zip(stats) {
                if before.queued > 0 && now.queued > 0 {
                    let carried = |stats: &Stats| {
                        stats.bytes.saturating_sub(LINK_HEADER_BYTES * stats.packets)
                    };
                    busy.0 += carried(now).saturating_sub(carried(before));
                    busy.1 += ns;
                    busy.2 += 1;
                }
            }
        }
        self.first.get_or_insert_with(|| stats.to_vec());
        self.last = Some((now_ns, stats.to_vec()));
    }

    /// What was observed of a dose, where netem counts something that tells.
    pub(super) fn dose(&self, dose: &Dose) -> Option<DoseSeen> {
        let figure = |of: fn(&Stats) -> u64| -> u64 {
            let sum = |stats: &[Stats]| stats.iter().map(of).sum::<u64>();
            let first = self.first.as_deref().map_or(0, sum);
            self.last.as_ref().map_or(0, |(_, last)| sum(last)).saturating_sub(first)
        };
        let packets = figure(|stats| stats.packets);
        let share = |what: &str, asked: f64, hit: u64, of: u64, source: &str| DoseSeen {
            what: what.into(),
            unit: "%".into(),
            asked: asked * 100.0,
            observed: (of >= PACKETS_MIN).then(|| hit as f64 / of as f64 * 100.0),
            // One point at ten thousand packets, and what chance allows (three deviations) at
            // fewer.
            within: (300.0 * (asked * (1.0 - asked) / of.max(1) as f64).sqrt()).max(1.0),
            samples: of,
            source: source.into(),
        };
        match *dose {
            Dose::Loss { share: asked } => {
                let lost = figure(|stats| stats.drops.into());
                let source = "drops against packets in the counters of the netem qdiscs";
                Some(share("packets lost", asked, lost, packets + lost, source))
            }
            Dose::Reorder { share: asked, .. } => {
                let held = packets.saturating_sub(figure(|stats| stats.requeues.into()));
                let source = "packets against requeues in the counters of the netem qdiscs";
                Some(share("packets held back", asked, held, packets, source))
            }
            Dose::Bandwidth { bytes_per_second } => {
                let asked = bytes_per_second as f64;
                // Every netem has the whole rate; the busiest tells how much that is.
                let (bytes, ns, samples) =
                    self.busy.iter().copied().max_by_key(|(_, ns, _)| *ns).unwrap_or_default();
                Some(DoseSeen {
                    what: "bytes a second while packets waited".into(),
                    unit: "bytes/s".into(),
                    asked,
                    observed: (ns > 0).then(|| bytes as f64 / (ns as f64 / 1e9)),
                    within: asked * 0.05,
                    samples,
                    source: "bytes (less 14 a packet, the link's header) in the counters of the \
                             busiest netem qdisc, between readings at which packets waited"
                        .into(),
                })
            }
            Dose::Latency { .. } | Dose::Duplicate { .. } | Dose::Corrupt { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(packets: u64, drops: u32, requeues: u32) -> Stats {
        Stats { packets, drops, requeues, ..Stats::default() }
    }

    #[test]
    fn a_share_is_of_all_that_came() {
        let dose = Dose::Loss { share: 0.1 };
        let mut measured = Measured::new(2);
        assert_eq!(measured.dose(&dose).unwrap().observed, None);
        measured.add(1, &[stats(9000, 950, 0), stats(0, 50, 0)]);
        let seen = measured.dose(&dose).unwrap();
        assert_eq!((seen.observed, seen.samples), (Some(10.0), 10_000));
        assert_eq!(seen.holds(), Some(true));
        assert!((seen.within - 1.0).abs() < 1e-9, "one point at ten thousand: {}", seen.within);
        assert_eq!(hit(&dose, &stats(9000, 950, 0)), 950);
    }

    #[test]
    fn what_was_counted_at_another_dose_does_not_count() {
        let dose = Dose::Loss { share: 0.5 };
        let mut measured = Measured::new(1);
        measured.add(1, &[stats(1000, 1000, 0)]);
        measured.begin_again();
        measured.add(2, &[stats(1000, 1000, 0)]);
        assert_eq!(measured.dose(&dose).unwrap().observed, None);
        measured.add(3, &[stats(1150, 1050, 0)]);
        assert_eq!(measured.dose(&dose).unwrap().observed, Some(25.0));
    }

    #[test]
    fn packets_that_are_not_held_back_are_requeued() {
        let dose = Dose::Reorder { share: 0.25, delay: std::time::Duration::from_millis(1) };
        let mut measured = Measured::new(1);
        measured.add(1, &[stats(400, 0, 300)]);
        assert_eq!(measured.dose(&dose).unwrap().observed, Some(25.0));
        assert_eq!(hit(&dose, &stats(400, 0, 300)), 100);
    }

    #[test]
    fn a_rate_is_seen_only_while_packets_wait() {
        let dose = Dose::Bandwidth { bytes_per_second: 100_000 };
        let at = |bytes: u64, packets, queued| Stats {
            bytes: bytes + 14 * packets,
            packets,
            queued,
            ..Stats::default()
        };
        let mut measured = Measured::new(1);
        let second = 1_000_000_000;
        measured.add(0, &[at(0, 0, 0)]);
        measured.add(second, &[at(10, 1, 3)]);
        assert_eq!(measured.dose(&dose).unwrap().observed, None, "the queue was empty before");
        measured.add(2 * second, &[at(98_010, 99, 4)]);
        let seen = measured.dose(&dose).unwrap();
        assert_eq!((seen.observed, seen.holds()), (Some(98_000.0), Some(true)));
    }
}
