//! Which samples a profile is made of: what its figures rest on.

use temblor_profile::Profile;

use crate::drawn::Drawn;

/// Why that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uncounted {
    /// The profile says nothing of it.
    Unsaid,
    /// Its samples weigh differently, as waits do.
    Unequal,
    /// Its figures were scaled up from what was sampled.
    Scaled,
    /// It has all of it at one moment: it is no sample.
    Census,
}

impl Uncounted {
    /// In words that go on after "no intervals:".
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Unsaid => "the profile does not say how many samples it is made of",
            Self::Unequal => "its samples do not weigh the same, and it says nothing of each",
            Self::Scaled => "its figures were scaled up from samples that it does not count",
            Self::Census => {
                "it has all there was at one moment, which is no sample of anything else"
            }
        }
    }
}

/// Which samples each of a profile's stacks is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Counts {
    /// For each stack, in the order of the profile, so many samples that all weigh the same.
    Known(Vec<u64>),
    /// For each stack its own samples.
    Weighed(Vec<Drawn>),
    Unknown(Uncounted),
}

/// Of what a stack's samples weigh they may be off: profilers round.
const OFF: f64 = 0.01;

impl Counts {
    /// Of one of the profile's types, none of whose values is negative.
    pub(crate) fn of(profile: &Profile, index: usize) -> Self {
        let of = &profile.types[index];
        let values = |index: usize| -> Vec<u64> {
            profile.samples.iter().map(|sample| sample.values[index].unsigned_abs()).collect()
        };
        let weights = values(index);
        let counted = profile.types.iter().position(|one| {
            matches!(one.kind.as_str(), "samples" | "sample") && one.unit == "count"
        });
        match of.kind.as_str() {
            "goroutine" | "goroutines" | "threads" | "threadcreate" => {
                return Self::Unknown(Uncounted::Census);
            }
            "alloc_objects" | "alloc_space" => return Self::of_memory(profile, "alloc", weights),
            "inuse_objects" | "inuse_space" => return Self::of_memory(profile, "inuse", weights),
            "contentions" | "delay" => return Self::Unknown(Uncounted::Scaled),
            "samples" | "sample" | "events" if of.unit == "count" => {
                return Self::whole(profile, weights);
            }
            _ => {}
        }
        if let Some(counted) = counted {
            let counts = values(counted);
            let each = sum(&weights) / sum(&counts);
            return if same_weight(&weights, &counts, each) {
                Self::Known(counts)
            } else {
                Self::Unknown(Uncounted::Unequal)
            };
        }
        let is_period = profile.period_type.as_ref().is_some_and(|period| period == of);
        if is_period && profile.period > 0 {
            let period = profile.period.unsigned_abs();
            let counts: Vec<u64> =
                weights.iter().map(|weight| (weight + period / 2) / period).collect();
            if same_weight(&weights, &counts, period as f64) {
                return Self::Known(counts);
            }
        }
        Self::Unknown(Uncounted::Unsaid)
    }

    /// Of values that are counts themselves. Folded stacks say nothing of their unit: where it is
    /// nanoseconds that were folded, they have a period in common.
    fn whole(profile: &Profile, values: Vec<u64>) -> Self {
        if profile.period_type.is_some() {
            return Self::Known(values);
        }
        let common = values.iter().fold(0, |one, other| divisor(one, *other)).max(1);
        let least = values.iter().copied().filter(|value| *value > 0).min().unwrap_or(0);
        // Weights without a period in common, and none of one sample among them, are no counts.
        if common == 1 && least >= LEAST_OF_WEIGHTS {
            return Self::Unknown(Uncounted::Unequal);
        }
        Self::Known(values.into_iter().map(|value| value / common).collect())
    }

    /// Of memory, of which a byte in so many was sampled at random: a block of that size was with a
    /// chance that is known, and counts as many as that is one of. A stack's blocks are taken to be of
    /// the same size: Go has a row for each size, and `temblor` for sizes that differ by a factor of two.
    fn of_memory(profile: &Profile, state: &str, weights: Vec<u64>) -> Self {
        let index = |of: &str| {
            let kind = format!("{state}_{of}");
            profile.types.iter().position(|one| one.kind == kind)
        };
        let period = profile.period_type.as_ref().filter(|of| of.unit == "bytes");
        let known = period.filter(|_| profile.period > 0);
        let (Some(objects), Some(space), Some(_)) = (index("objects"), index("space"), known)
        else {
            return Self::Unknown(Uncounted::Scaled);
        };
        let period = profile.period as f64;
        let drawn = profile.samples.iter().zip(weights).map(|(sample, weight)| {
            if weight == 0 {
                return Drawn::default();
            }
            let objects = sample.values[objects].unsigned_abs() as f64;
            let size = sample.values[space].unsigned_abs() as f64 / objects.max(1.0);
            let chance = -(-size / period).exp_m1();
            Drawn::weighing((objects * chance).round().max(1.0) as u64, weight, chance)
        });
        Self::Weighed(drawn.collect())
    }

    pub(crate) fn at(&self, place: usize) -> Drawn {
        match self {
            Self::Known(counts) => Drawn::alike(counts[place]),
            Self::Weighed(drawn) => drawn[place],
            Self::Unknown(_) => Drawn::default(),
        }
    }
}

/// The rarest stack of a profile was seen fewer times than this.
const LEAST_OF_WEIGHTS: u64 = 1000;

fn sum(values: &[u64]) -> f64 {
    values.iter().map(|value| *value as f64).sum()
}

/// Whether each stack weighs as much as its samples do.
fn same_weight(weights: &[u64], counts: &[u64], each: f64) -> bool {
    weights.iter().zip(counts).all(|(weight, count)| {
        let expected = *count as f64 * each;
        (*weight as f64 - expected).abs() <= OFF * expected
    })
}

fn divisor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use temblor_profile::{Builder, ValueType};

    use super::*;

    fn profile(
        types: &[(&str, &str)],
        period: Option<(i64, &str, &str)>,
        rows: &[&[i64]],
    ) -> Profile {
        let types = types.iter().map(|(kind, unit)| ValueType::new(*kind, *unit)).collect();
        let mut builder = Builder::new(types);
        for (number, row) in rows.iter().enumerate() {
            let leaf = builder.named(&format!("f{number}"));
            builder.sample(vec![leaf], row, Vec::new());
        }
        let mut profile = builder.finish();
        if let Some((period, kind, unit)) = period {
            profile.period = period;
            profile.period_type = Some(ValueType::new(kind, unit));
        }
        profile
    }

    #[test]
    fn samples_are_counted_where_that_can_be_done() {
        const CPU: (&str, &str) = ("cpu", "nanoseconds");
        const SAMPLES: (&str, &str) = ("samples", "count");
        let ten_ms = Some((10_000_000, "cpu", "nanoseconds"));
        let known = |counts: &[u64]| Counts::Known(counts.to_vec());
        let unknown = Counts::Unknown;
        let check = |profile: Profile, index, expected: Counts| {
            assert_eq!(Counts::of(&profile, index), expected, "{profile:?}");
        };
        let rows: [&[i64]; 2] = [&[3, 30_000_000], &[4, 40_000_000]];
        check(profile(&[SAMPLES, CPU], ten_ms, &rows), 1, known(&[3, 4]));
        check(profile(&[SAMPLES, CPU], ten_ms, &rows), 0, known(&[3, 4]));
        // Waits: each has a length of its own.
        let waits: [&[i64]; 2] = [&[3, 30], &[4, 40_000]];
        let off_cpu = [SAMPLES, ("off_cpu", "nanoseconds")];
        check(profile(&off_cpu, None, &waits), 1, unknown(Uncounted::Unequal));
        // No count, but a period that every value is a multiple of.
        let rows: [&[i64]; 2] = [&[30_000_000], &[40_000_000]];
        check(profile(&[CPU], ten_ms, &rows), 0, known(&[3, 4]));
        check(profile(&[CPU], ten_ms, &[&[34_000_000]]), 0, unknown(Uncounted::Unsaid));
        check(profile(&[CPU], None, &rows), 0, unknown(Uncounted::Unsaid));
        // Folded: counts, nanoseconds of a period, and waits.
        check(profile(&[SAMPLES], None, &[&[3], &[4]]), 0, known(&[3, 4]));
        check(profile(&[SAMPLES], None, &rows), 0, known(&[3, 4]));
        let waits: [&[i64]; 2] = [&[30_011], &[40_000_000]];
        check(profile(&[SAMPLES], None, &waits), 0, unknown(Uncounted::Unequal));
        let scaled = unknown(Uncounted::Scaled);
        let heap = Some((524_288, "space", "bytes"));
        let in_use = [("inuse_objects", "count"), ("inuse_space", "bytes")];
        check(profile(&in_use[1..], heap, &[&[524_288]]), 0, scaled.clone());
        check(profile(&in_use, None, &[&[1, 524_288]]), 1, scaled);
        // Three small ones of which each stands for 1,024.5, one of as much as lies between two, and
        // a large one.
        let rows: [&[i64]; 3] = [&[3074, 1_573_888], &[2, 1_048_576], &[1, 10 << 20]];
        let chance = |size: f64| -(-size / 524_288.0).exp_m1();
        let drawn = Counts::Weighed(vec![
            Drawn::weighing(3, 1_573_888, chance(512.0)),
            Drawn::weighing(1, 1_048_576, chance(524_288.0)),
            Drawn::weighing(1, 10 << 20, chance(10_485_760.0)),
        ]);
        check(profile(&in_use, heap, &rows), 1, drawn);
        check(profile(&[("goroutine", "count")], None, &[&[7]]), 0, unknown(Uncounted::Census));
    }
}
