//! Which packet is released when. Pure: numbers in, numbers out, the clock is the caller's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::network::Dose;

/// How many packets are held at most. One more is let through at once.
pub(super) const HELD_MAX: usize = 16_384;
/// How many bytes are held at most, where they are counted.
pub(super) const HELD_BYTES_MAX: u64 = 128 << 20;
/// How long a packet waits at most for a slower wire; one that would wait longer is lost, as at
/// the end of a full queue.
pub(super) const BACKLOG: Duration = Duration::from_millis(250);
/// What such a queue holds in any case, however slow the wire.
const BACKLOG_BYTES_MIN: u64 = 32 * 1514;

/// What becomes of a packet that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on at once.
    Pass,
    /// It vanishes.
    Lose,
    /// It goes on, and another like it.
    Double,
    /// It goes on with one bit flipped: the one of this number, counted round the packet's end.
    Flip(u32),
    /// It is held until [`Line::due`] gives it back.
    Hold,
}

/// What the line has done; its own claim, told beside what the kernel counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Packets that came.
    pub(super) came: u64,
    /// Those that were hit: held, lost, doubled, flipped.
    pub(super) hit: u64,
    /// Those that found the slower wire's queue full, and were lost.
    pub(super) overflowed: u64,
    /// Those that were let through because too many were held.
    pub(super) let_through: u64,
    /// Since when something has been held all the time.
    pub(super) busy_since_ns: Option<u64>,
}

/// The packets of one direction.
#[derive(Debug)]
pub(super) struct Line {
    dose: Option<Dose>,
    /// Packets leave in the order in which they came: so for every dose but disorder.
    in_order: bool,
    rng: StdRng,
    /// (when, which in order of arrival, packet, bytes).
    held: BinaryHeap<Reverse<(u64, u64, u32, u32)>>,
    held_bytes: u64,
    order: u64,
    /// When the last packet is released that may not be overtaken.
    last_due_ns: u64,
    /// When the slower wire is free again.
    free_ns: u64,
    pub(super) tally: Tally,
}

impl Line {
    pub(super) fn new(dose: Dose, seed: u64) -> Self {
        Self {
            dose: Some(dose),
            in_order: !matches!(dose, Dose::Reorder { .. }),
            rng: StdRng::seed_from_u64(seed),
            held: BinaryHeap::new(),
            held_bytes: 0,
            order: 0,
            last_due_ns: 0,
            free_ns: 0,
            tally: Tally::default(),
        }
    }

    /// Changes the dose, to one of the same kind, for what comes from now on. None: it passes,
    /// though not past what is held in order.
    pub(super) fn set_dose(&mut self, dose: Option<Dose>) {
        self.dose = dose;
    }

    /// Whether packets leave in the order in which they came.
    pub(super) fn keeps_order(&self) -> bool {
        self.in_order
    }

    /// Whether what comes now passes, whatever it is.
    pub(super) fn lets_pass(&self) -> bool {
        self.dose.is_none() && self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a packet of `bytes` that came at `now_ns`.
    pub(super) fn take(&mut self, now_ns: u64, packet: u32, bytes: u32) -> Fate {
        self.tally.came += 1;
        let fate = self.fate(now_ns, packet, bytes);
        if fate != Fate::Pass {
            self.tally.hit += 1;
        }
        fate
    }

    fn fate(&mut self, now_ns: u64, packet: u32, bytes: u32) -> Fate {
        match self.dose {
            None if self.is_empty() || !self.in_order => Fate::Pass,
            None => self.hold(now_ns, self.last_due_ns.max(now_ns), packet, bytes),
            Some(Dose::Latency { delay, jitter }) => {
                let delay_ns = nanoseconds(delay);
                let jitter_ns = nanoseconds(jitter);
                let least = delay_ns.saturating_sub(jitter_ns);
                let ns = if jitter_ns == 0 {
                    delay_ns
                } else {
                    self.rng.random_range(least..=delay_ns + jitter_ns)
                };
                // Nothing overtakes: a wire whose delay wavers is still one wire.
                self.last_due_ns = self.last_due_ns.max(now_ns + ns);
                self.hold(now_ns, self.last_due_ns, packet, bytes)
            }
            Some(Dose::Loss { share }) => self.by_chance(share, Fate::Lose),
            Some(Dose::Duplicate { share }) => self.by_chance(share, Fate::Double),
            Some(Dose::Corrupt { share }) => {
                let bit = self.rng.random();
                self.by_chance(share, Fate::Flip(bit))
            }
            Some(Dose::Reorder { share, delay }) => {
                if self.rng.random_bool(share.clamp(0.0, 1.0)) {
                    self.hold(now_ns, now_ns + nanoseconds(delay), packet, bytes)
                } else {
                    Fate::Pass
                }
            }
            Some(Dose::Bandwidth { bytes_per_second }) => {
                self.through(bytes_per_second, now_ns, packet, bytes)
            }
        }
    }

    fn by_chance(&mut self, share: f64, fate: Fate) -> Fate {
        if self.rng.random_bool(share.clamp(0.0, 1.0)) { fate } else { Fate::Pass }
    }

    /// A wire on which each packet takes its bytes' time, one after another.
    fn through(&mut self, bytes_per_second: u64, now_ns: u64, packet: u32, bytes: u32) -> Fate {
        let takes = |bytes: u64| {
            let ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        let begins_ns = self.free_ns.max(now_ns);
        let longest_ns = nanoseconds(BACKLOG).max(takes(BACKLOG_BYTES_MIN));
        if begins_ns - now_ns > longest_ns {
            self.tally.overflowed += 1;
            return Fate::Lose;
        }
        self.free_ns = begins_ns.saturating_add(takes(bytes.into()));
        self.last_due_ns = self.last_due_ns.max(self.free_ns);
        self.hold(now_ns, self.last_due_ns, packet, bytes)
    }

    fn hold(&mut self, now_ns: u64, due_ns: u64, packet: u32, bytes: u32) -> Fate {
        if self.held.len() >= HELD_MAX || self.held_bytes + u64::from(bytes) > HELD_BYTES_MAX {
            self.tally.let_through += 1;
            return Fate::Pass;
        }
        if self.held.is_empty() {
            self.tally.busy_since_ns = Some(now_ns);
        }
        self.order += 1;
        self.held_bytes += u64::from(bytes);
        self.held.push(Reverse((due_ns, self.order, packet, bytes)));
        Fate::Hold
    }

    /// The next packet whose time has come.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<u32> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        let Reverse((_, _, packet, bytes)) = self.held.pop()?;
        self.held_bytes -= u64::from(bytes);
        if self.held.is_empty() {
            self.tally.busy_since_ns = None;
        }
        Some(packet)
    }

    /// When the next one's time comes.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.held.peek().map(|Reverse((due_ns, ..))| *due_ns)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// All that is released until `now_ns`, as (packet, when).
    fn released(line: &mut Line, now_ns: u64) -> Vec<(u32, u64)> {
        let mut out = Vec::new();
        while let Some(due_ns) = line.next_due_ns() {
            let Some(packet) = line.due(now_ns) else { break };
            out.push((packet, due_ns));
        }
        out
    }

    #[test]
    fn a_delay_is_the_same_for_all() {
        let mut line = Line::new(Dose::Latency { delay: ms(20), jitter: ms(0) }, 1);
        for (at, packet) in [(0, 1), (5, 2), (5, 3)] {
            assert_eq!(line.take(at * MS, packet, 100), Fate::Hold);
        }
        assert_eq!(line.next_due_ns(), Some(20 * MS));
        assert_eq!(line.due(20 * MS - 1), None);
        assert_eq!(released(&mut line, 20 * MS), [(1, 20 * MS)]);
        assert_eq!(released(&mut line, 99 * MS), [(2, 25 * MS), (3, 25 * MS)]);
        assert!(line.is_empty());
        assert_eq!(line.tally, Tally { came: 3, hit: 3, ..Tally::default() });
    }

    #[test]
    fn jitter_spreads_and_nothing_overtakes() {
        let mut line = Line::new(Dose::Latency { delay: ms(20), jitter: ms(5) }, 1);
        // Far apart, so that waiting for one another does not show.
        let mut delays = Vec::new();
        for packet in 0..1000_u32 {
            let now = u64::from(packet) * 100 * MS;
            line.take(now, packet, 100);
            delays.push(line.next_due_ns().unwrap() - now);
            line.due(u64::MAX);
        }
        assert!(delays.iter().all(|ns| (15 * MS..=25 * MS).contains(ns)));
        let mean = delays.iter().sum::<u64>() / 1000;
        assert!((19_500_000..20_500_000).contains(&mean), "{mean}");
        // Close together, their order is that of their coming.
        for packet in 0..1000 {
            line.take(u64::from(packet) + 200_000 * MS, packet, 100);
        }
        let order: Vec<u32> = released(&mut line, u64::MAX).iter().map(|(p, _)| *p).collect();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_is_hit_and_the_same_seed_hits_the_same() {
        for (dose, fate) in [
            (Dose::Loss { share: 0.1 }, Fate::Lose),
            (Dose::Duplicate { share: 0.1 }, Fate::Double),
            (Dose::Reorder { share: 0.1, delay: ms(1) }, Fate::Hold),
        ] {
            let fates = |seed| {
                let mut line = Line::new(dose, seed);
                (0..10_000).map(|packet| line.take(0, packet, 1)).collect::<Vec<_>>()
            };
            let hit = fates(7).iter().filter(|f| **f == fate).count();
            assert!((900..1100).contains(&hit), "{dose:?} hit {hit}");
            assert_eq!(fates(7), fates(7));
            assert_ne!(fates(7), fates(8));
        }
    }

    #[test]
    fn all_and_none_are_all_and_none() {
        for (share, expected) in [(1.0, 100), (0.0, 0)] {
            let mut line = Line::new(Dose::Corrupt { share }, 3);
            let flipped = (0..100).filter(|p| matches!(line.take(0, *p, 1), Fate::Flip(_))).count();
            assert_eq!(flipped, expected);
        }
    }

    #[test]
    fn what_is_held_back_is_overtaken() {
        let mut line = Line::new(Dose::Reorder { share: 0.5, delay: ms(10) }, 1);
        let fates: Vec<Fate> = (0..100).map(|packet| line.take(0, packet, 1)).collect();
        let held: Vec<u32> = released(&mut line, 10 * MS).iter().map(|(p, _)| *p).collect();
        let expected: Vec<u32> =
            (0..).zip(&fates).filter(|(_, f)| **f == Fate::Hold).map(|(p, _)| p).collect();
        assert_eq!(held, expected);
        assert!(!line.keeps_order());
    }

    #[test]
    fn a_slower_wire_takes_its_time_and_its_queue_has_an_end() {
        let mut line = Line::new(Dose::Bandwidth { bytes_per_second: 1_000_000 }, 1);
        // 1,000 bytes take 1 ms each; 250 ms of them wait, and the one on the wire.
        let fates: Vec<Fate> = (0..400).map(|packet| line.take(0, packet, 1000)).collect();
        assert!(fates[..=250].iter().all(|f| *f == Fate::Hold));
        assert!(fates[251..].iter().all(|f| *f == Fate::Lose));
        assert_eq!(line.tally.overflowed, 149);
        let out = released(&mut line, u64::MAX);
        assert!(out.iter().zip(1..).all(|((_, due_ns), n)| *due_ns == n * MS));
        // A wire that was idle has saved nothing up.
        line.take(9000 * MS, 7, 1000);
        assert_eq!(released(&mut line, u64::MAX), [(7, 9001 * MS)]);
    }

    #[test]
    fn however_slow_some_packets_wait() {
        let mut line = Line::new(Dose::Bandwidth { bytes_per_second: 1 }, 1);
        let held = (0..100).filter(|p| line.take(0, *p, 1514) == Fate::Hold).count();
        assert_eq!(held, 33);
        let mut line = Line::new(Dose::Bandwidth { bytes_per_second: u64::MAX }, 1);
        assert!((0..100).all(|p| line.take(0, p, 1514) == Fate::Hold));
        assert_eq!(released(&mut line, 0).len(), 100);
    }

    #[test]
    fn a_level_of_none_lets_pass_after_what_is_held() {
        let mut line = Line::new(Dose::Latency { delay: ms(20), jitter: ms(0) }, 1);
        line.take(0, 1, 100);
        line.set_dose(None);
        assert_eq!(line.take(MS, 2, 100), Fate::Hold, "it does not overtake");
        assert_eq!(released(&mut line, 20 * MS), [(1, 20 * MS), (2, 20 * MS)]);
        assert_eq!(line.take(30 * MS, 3, 100), Fate::Pass);
        // Nor does a shorter delay.
        line.set_dose(Some(Dose::Latency { delay: ms(20), jitter: ms(0) }));
        line.take(100 * MS, 4, 100);
        line.set_dose(Some(Dose::Latency { delay: ms(5), jitter: ms(0) }));
        line.take(101 * MS, 5, 100);
        assert_eq!(released(&mut line, u64::MAX), [(4, 120 * MS), (5, 120 * MS)]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut line = Line::new(Dose::Latency { delay: ms(20), jitter: ms(0) }, 1);
        let packets = HELD_MAX as u32 + 5;
        let passed = (0..packets).filter(|p| line.take(0, *p, 1) == Fate::Pass).count();
        assert_eq!((passed, line.tally.let_through), (5, 5));
        assert_eq!(released(&mut line, u64::MAX).len(), HELD_MAX);
        for packet in 0..HELD_BYTES_MAX / 65_536 {
            assert_eq!(line.take(0, packet as u32, 65_536), Fate::Hold);
        }
        assert_eq!(line.take(0, 0, 65_536), Fate::Pass);
    }
}
