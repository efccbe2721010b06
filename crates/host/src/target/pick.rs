//! Some of many instances, the same ones again for the same seed.

/// How many instances are meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pick {
    /// All of them.
    All,
    /// So many.
    Count(u32),
    /// A share of them, above 0 and up to 1: rounded down, and at least one.
    Share(f64),
}

/// Why nothing was picked.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PickError {
    /// Nobody to pick from, or nobody wanted.
    #[error("none is to be picked: leave the fault out instead")]
    None,
    /// More are wanted than there are.
    #[error("{wanted} are to be picked, and there are {there}")]
    TooMany {
        /// How many are wanted.
        wanted: u32,
        /// How many there are.
        there: usize,
    },
    /// Not a share.
    #[error("{share} is not a share: give one above 0 and up to 1")]
    NotAShare {
        /// What was given.
        share: f64,
    },
}

/// Picks instances. For one seed, one number of instances and one pick the same places are picked
/// again, by this and every later version: a report's seed repeats a run. Those picked keep their
/// order.
///
/// # Errors
/// The pick cannot be had from what there is.
pub fn choose<T>(instances: Vec<T>, pick: Pick, seed: u64) -> Result<Vec<T>, PickError> {
    let wanted = count(pick, instances.len())?;
    let mut order: Vec<usize> = (0..instances.len()).collect();
    let mut random = SplitMix(seed);
    // As much of a Fisher-Yates shuffle as is needed.
    for at in 0..wanted {
        let left = order.len() - at;
        order.swap(at, at + random.below(left));
    }
    order.truncate(wanted);
    let instances = instances.into_iter().enumerate();
    Ok(instances.filter(|(place, _)| order.contains(place)).map(|(_, one)| one).collect())
}

fn count(pick: Pick, there: usize) -> Result<usize, PickError> {
    if there == 0 {
        return Err(PickError::None);
    }
    match pick {
        Pick::All => Ok(there),
        Pick::Count(0) => Err(PickError::None),
        Pick::Count(wanted) => usize::try_from(wanted)
            .ok()
            .filter(|wanted| *wanted <= there)
            .ok_or(PickError::TooMany { wanted, there }),
        Pick::Share(share) if !(share > 0.0 && share <= 1.0) => Err(PickError::NotAShare { share }),
        // The small addition makes 29 % of 100 what people take it for.
        Pick::Share(share) => Ok(((share * there as f64 + 1e-9) as usize).clamp(1, there)),
    }
}

/// Steele, Lea and Flood's generator. It is here because a seed in a report must mean the same in
/// years, which the generators of the `rand` crate do not promise across its versions.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; the bias of the division is under one in 2^32 for any number of
    /// instances that fits a machine.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pick_that_cannot_be_had_is_refused() {
        for (there, pick, expected) in [
            (0, Pick::All, PickError::None),
            (3, Pick::Count(0), PickError::None),
            (3, Pick::Count(4), PickError::TooMany { wanted: 4, there: 3 }),
            (3, Pick::Share(0.0), PickError::NotAShare { share: 0.0 }),
            (3, Pick::Share(1.01), PickError::NotAShare { share: 1.01 }),
            (3, Pick::Share(-0.5), PickError::NotAShare { share: -0.5 }),
            (3, Pick::Share(f64::INFINITY), PickError::NotAShare { share: f64::INFINITY }),
        ] {
            assert_eq!(choose(vec![(); there], pick, 1), Err(expected), "{pick:?} of {there}");
        }
        assert!(choose(vec![()], Pick::Share(f64::NAN), 1).is_err());
    }

    #[test]
    fn a_share_is_rounded_down_and_never_to_nobody() {
        for (share, there, expected) in
            [(0.5, 3, 1), (0.5, 4, 2), (0.29, 100, 29), (0.01, 3, 1), (1.0, 7, 7), (0.99, 7, 6)]
        {
            let picked = choose(vec![(); there], Pick::Share(share), 1).unwrap();
            assert_eq!(picked.len(), expected, "{share} of {there}");
        }
    }

    #[test]
    fn a_seed_means_the_same_in_every_version() {
        // The generator's published first numbers for the seed 1234567.
        let mut random = SplitMix(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    proptest! {
        #[test]
        fn a_pick_repeats_keeps_order_and_has_the_asked_size(
            there in 1usize..200,
            part in 0.0f64..=1.0,
            seed: u64,
        ) {
            let all: Vec<usize> = (0..there).collect();
            let wanted = ((there as f64 * part) as u32).max(1);
            let picked = choose(all.clone(), Pick::Count(wanted), seed).unwrap();
            prop_assert_eq!(picked.len(), wanted as usize);
            prop_assert!(picked.is_sorted() && picked.iter().all(|one| *one < there));
            let mut distinct = picked.clone();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), picked.len());
            prop_assert_eq!(&picked, &choose(all.clone(), Pick::Count(wanted), seed).unwrap());
            prop_assert_eq!(choose(all.clone(), Pick::All, seed).unwrap(), all);
        }

        #[test]
        fn every_instance_has_its_turn(there in 2usize..12, seed in 0u64..1 << 60) {
            let all: Vec<usize> = (0..there).collect();
            let mut turns = vec![0; there];
            for seed in seed..seed + 600 {
                turns[choose(all.clone(), Pick::Count(1), seed).unwrap()[0]] += 1;
            }
            // Fifty or more are expected of each; under a tenth of that is practically never.
            prop_assert!(turns.iter().all(|turns| *turns >= 5), "{turns:?}");
        }
    }
}
