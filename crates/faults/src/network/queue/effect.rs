//! What the kernel's counters say of the fault. Pure: readings in, an effect out.

use temblor_event::{DoseSeen, EffectPart};

use super::line::Tally;
use super::rules::{Counts, Part, Way};
use crate::network::Dose;
use crate::nft::listing::Counter;

/// Fewer packets than this say nothing about a share.
const SAMPLES_MIN: u64 = 50;
/// How near an observed share is to be to the one that was asked, in percent points, where
/// enough packets have passed.
const SHARE_WITHIN: f64 = 1.0;

/// Everything that is read at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Of each part, in their order.
    pub(super) counters: Vec<Counter>,
    /// Packets that the kernel's queues have given back, a direction each. Halves, since they are
    /// read before and after the counters.
    pub(super) given_back: Vec<f64>,
    pub(super) tallies: Vec<Tally>,
}

/// What a fault has done, by its readings.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) dose: Dose,
    pub(super) parts: Vec<Part>,
    pub(super) ways: Vec<Way>,
}

impl Account {
    /// What the effect counts.
    pub(super) fn measure(&self) -> &'static str {
        match self.dose {
            Dose::Latency { .. } => "packets delayed",
            Dose::Loss { .. } => "packets lost",
            Dose::Duplicate { .. } => "packets sent twice",
            Dose::Reorder { .. } => "packets past a queue that holds some back",
            Dose::Corrupt { .. } => "packets past a queue that flips bits of some",
            Dose::Bandwidth { .. } => "packets through the slower wire",
        }
    }

    /// Who counts.
    pub(super) fn source(&self, service: &str) -> String {
        let counters = "nftables rule counters";
        match self.dose {
            Dose::Loss { .. } => format!(
                "the kernel's packet queue against {counters} behind it, in the network namespace \
                 of {service}"
            ),
            _ => format!("{counters} in the network namespace of {service}"),
        }
    }

    /// The shares of the effect, and their sum.
    pub(super) fn count(&self, reading: &Reading) -> (u64, Vec<EffectPart>) {
        let by_rule = |counts| -> Vec<EffectPart> {
            let numbered = self.parts.iter().zip(&reading.counters);
            numbered
                .filter(|(part, _)| part.counts == counts)
                .map(|(part, counter)| EffectPart {
                    name: part.name.clone(),
                    count: counter.packets,
                    bytes: counter.bytes,
                })
                .collect()
        };
        let parts = match self.dose {
            Dose::Loss { .. } => self
                .ways
                .iter()
                .enumerate()
                .map(|(at, way)| EffectPart {
                    name: way.word().into(),
                    count: whole(self.lost(reading, at)),
                    bytes: 0,
                })
                .collect(),
            Dose::Duplicate { .. } => by_rule(Counts::Copies),
            // What is handed over and never hit has no effect.
            _ if reading.tallies.iter().all(|tally| tally.hit == 0) => Vec::new(),
            _ => by_rule(Counts::Handed),
        };
        let let_through: u64 = reading.tallies.iter().map(|tally| tally.let_through).sum();
        let count = parts.iter().map(|part| part.count).sum::<u64>().saturating_sub(let_through);
        (count, parts)
    }

    /// What can be told of the dose by counting, from what has changed since an earlier reading.
    pub(super) fn doses(&self, asked: &Dose, since: &Reading, now: &Reading) -> Vec<DoseSeen> {
        let handed = |reading: &Reading| reading.given_back.iter().sum::<f64>();
        let share = |what: &str, asked: f64, hit: &dyn Fn(&Reading) -> f64, source: &str| {
            let samples = whole(handed(now) - handed(since));
            let hit = hit(now) - hit(since);
            let observed =
                (samples >= SAMPLES_MIN).then(|| (100.0 * hit / samples as f64).max(0.0));
            vec![DoseSeen {
                what: what.into(),
                unit: "%".into(),
                asked: asked * 100.0,
                observed,
                within: share_within(asked, samples),
                samples,
                source: source.into(),
            }]
        };
        match *asked {
            Dose::Loss { share: asked } => share(
                "packets lost",
                asked,
                &|reading| (0..self.ways.len()).map(|at| self.lost(reading, at)).sum(),
                "packets that the kernel handed to the queue, against nftables counters of those \
                 that went on",
            ),
            Dose::Duplicate { share: asked } => share(
                "packets sent twice",
                asked,
                &|reading| self.packets(reading, |part| part.counts == Counts::Copies) as f64,
                "packets that the kernel handed to the queue, against an nftables counter of \
                 copies",
            ),
            _ => Vec::new(),
        }
    }

    /// What was handed over in a direction, given back, and did not go on.
    fn lost(&self, reading: &Reading, at: usize) -> f64 {
        let way = self.ways[at];
        let passed = self.packets(reading, |part| part.way == way && part.counts == Counts::Passed);
        let given_back = reading.given_back.get(at).copied().unwrap_or(0.0);
        (given_back - passed as f64).max(0.0)
    }

    /// How many bytes have gone on, a direction each.
    pub(super) fn bytes_passed(&self, counters: &[Counter]) -> Vec<u64> {
        let passed = |way| {
            let numbered = self.parts.iter().zip(counters);
            numbered
                .filter(|(part, _)| part.way == way && part.counts == Counts::Passed)
                .map(|(_, counter)| counter.bytes)
                .sum()
        };
        self.ways.iter().map(|way| passed(*way)).collect()
    }

    fn packets(&self, reading: &Reading, which: impl Fn(&Part) -> bool) -> u64 {
        let numbered = self.parts.iter().zip(&reading.counters);
        numbered.filter(|(part, _)| which(part)).map(|(_, counter)| counter.packets).sum()
    }
}

/// By how much a share may be off, in percent points: chance alone makes it so where few packets
/// have passed (three standard deviations).
pub(in crate::network) fn share_within(share: f64, samples: u64) -> f64 {
    let share = share.clamp(0.0, 1.0);
    let deviation = 100.0 * (share * (1.0 - share) / (samples.max(1) as f64)).sqrt();
    SHARE_WITHIN.max(3.0 * deviation)
}

fn whole(count: f64) -> u64 {
    count.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(way: Way, counts: Counts) -> Part {
        Part { way, counts, name: format!("{way:?} {counts:?}"), matched: String::new() }
    }

    fn account(dose: Dose) -> Account {
        Account {
            dose,
            parts: vec![
                part(Way::Out, Counts::Handed),
                part(Way::Out, Counts::Passed),
                part(Way::Out, Counts::Copies),
            ],
            ways: vec![Way::Out],
        }
    }

    fn reading(handed: u64, given_back: f64, passed: u64, copies: u64) -> Reading {
        let counter = |packets| Counter { packets, bytes: packets * 100 };
        Reading {
            counters: [handed, passed, copies].map(counter).into(),
            given_back: vec![given_back],
            tallies: vec![Tally { came: handed, hit: 1, ..Tally::default() }],
        }
    }

    #[test]
    fn what_was_lost_is_what_did_not_go_on() {
        let account = account(Dose::Loss { share: 0.1 });
        // Ten big segments were handed over, and split into 1,000 packets.
        let (count, parts) = account.count(&reading(10, 1000.0, 900, 0));
        assert_eq!((count, parts[0].name.as_str(), parts[0].count), (100, "out", 100));
        let doses = account.doses(
            &Dose::Loss { share: 0.1 },
            &reading(10, 1000.0, 900, 0),
            &reading(99, 21_000.0, 18_900, 0),
        );
        assert_eq!((doses[0].observed, doses[0].samples), (Some(10.0), 20_000));
        assert_eq!(doses[0].holds(), Some(true));
    }

    #[test]
    fn few_packets_say_nothing_or_little() {
        let account = account(Dose::Duplicate { share: 0.5 });
        let none = Reading { tallies: vec![Tally::default()], ..Reading::default() };
        let seen = |given_back, copies| {
            let now = reading(10, given_back, 10, copies);
            account.doses(&account.dose, &none, &now)[0].clone()
        };
        assert_eq!(seen(10.0, 5).observed, None);
        let some = seen(100.0, 40);
        assert_eq!((some.observed, some.holds()), (Some(40.0), Some(true)));
        assert_eq!(seen(100.0, 34).holds(), Some(false));
        assert!((share_within(0.5, 1_000_000) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_passed_unhit_has_no_effect_and_what_was_let_through_is_not_counted() {
        let account = account(Dose::Corrupt { share: 0.1 });
        let mut some = reading(10, 10.0, 10, 0);
        assert_eq!(account.count(&some).0, 10);
        some.tallies[0].let_through = 3;
        assert_eq!(account.count(&some).0, 7);
        some.tallies[0].hit = 0;
        assert_eq!(account.count(&some), (0, Vec::new()));
        assert_eq!(account.count(&Reading::default()).0, 0);
    }
}
