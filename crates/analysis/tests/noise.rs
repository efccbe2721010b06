//! How often an alarm is false, and how often a slowdown is found: profiles are drawn from one
//! program again and again. `TEMBLOR_SEED` draws others than usual.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail where they stand, and say what they drew"
)]

mod common;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use temblor_analysis::{Against, AgainstOptions, Basis, ChangesOptions, Rules, Subject, against};
use temblor_profile::{Builder, Label, LabelValue, Profile, ValueType};

/// A program, by how often it is in each of its stacks.
#[derive(Clone)]
struct Program {
    stacks: Vec<(Vec<String>, f64)>,
}

impl Program {
    /// A service of two hundred ways through it, a few of them heavy.
    fn made_up() -> Self {
        let leaves = ["runtime.mallocgc", "encoding/json.compact", "syscall.Syscall", "main.price"];
        let stacks = (0..200_u32).map(|number| {
            let own = format!("main.step{}", number % 67);
            let leaf = leaves[number as usize % 4];
            let leaf = if number % 3 == 0 { format!("main.leaf{number}") } else { leaf.to_owned() };
            let path =
                vec!["main.main".to_owned(), format!("main.handle{}", number % 9), own, leaf];
            (path, 1.0 / f64::from(number + 1))
        });
        let mut program = Self { stacks: stacks.collect() };
        // Two whose shares are known: a tenth and three tenths.
        let rest: f64 = program.stacks.iter().map(|(_, weight)| weight).sum();
        for (name, share) in [("main.tenth", 0.1), ("main.three_tenths", 0.3)] {
            let path = vec!["main.main".to_owned(), name.to_owned()];
            program.stacks.push((path, rest * share / 0.6));
        }
        program
    }

    /// A real one, where there is one.
    fn real() -> Option<Self> {
        let profile = common::real("cpu_load")?;
        let folded = temblor_profile::folded::write(&profile, Some("samples")).unwrap();
        let stack = |line: &str| {
            let (stack, weight) = line.rsplit_once(' ').unwrap();
            (stack.split(';').map(str::to_owned).collect(), weight.parse().unwrap())
        };
        Some(Self { stacks: folded.lines().map(stack).collect() })
    }

    fn whole(&self) -> f64 {
        self.stacks.iter().map(|(_, weight)| weight).sum()
    }

    /// One function takes so much more of what everything took.
    fn slowed(&self, function: &str, by: f64) -> Self {
        let mut slowed = self.clone();
        let more = self.whole() * by;
        let is_it = |stack: &[String]| stack.last().is_some_and(|leaf| leaf == function);
        let its = slowed.stacks.iter_mut().filter(|(stack, _)| is_it(stack)).map(|(_, w)| w);
        let its: Vec<&mut f64> = its.collect();
        assert!(!its.is_empty(), "{function}");
        let each = more / its.len() as f64;
        its.into_iter().for_each(|weight| *weight += each);
        slowed
    }

    /// A profile of it: 30 s, in which `mean` samples come on average, each by itself.
    fn drawn(&self, mean: f64, random: &mut StdRng) -> Profile {
        let table = self.table();
        let mut counts = vec![0_i64; self.stacks.len()];
        for _ in 0..samples(mean, random) {
            counts[usize::from(table[random.next_u32() as usize % TABLE])] += 1;
        }
        let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
        let mut builder = Builder::new(types);
        for ((stack, _), count) in self.stacks.iter().zip(counts) {
            let stack = stack.iter().rev().map(|name| builder.named(name)).collect();
            builder.sample(stack, &[count, count * PERIOD_NS], Vec::new());
        }
        let mut profile = builder.finish();
        profile.duration_ns = 30_000_000_000;
        profile.period = PERIOD_NS;
        profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
        profile
    }

    /// A profile of what it allocates: as much as each stack weighs, in blocks of a few sizes, one
    /// byte sampled of so many that `mean` blocks are if all are small. Some are `large`.
    fn drawn_memory(&self, mean: f64, large: f64, random: &mut StdRng) -> Profile {
        let whole = self.whole();
        let types =
            vec![ValueType::new("alloc_objects", "count"), ValueType::new("alloc_space", "bytes")];
        let mut builder = Builder::new(types);
        for (number, (stack, weight)) in self.stacks.iter().enumerate() {
            let stack: Vec<_> = stack.iter().rev().map(|name| builder.named(name)).collect();
            // One size, or three that share its bytes.
            let sizes = [&SIZES[number % 7..][..1], &SIZES[..3], &SIZES[4..]][number % 3];
            let sizes = if number % 25 == 7 { &[48.0, large] } else { sizes };
            for size in sizes {
                let bytes = weight / whole * mean * EVERY_BYTES / sizes.len() as f64;
                let chance = -(-size / EVERY_BYTES).exp_m1();
                let objects = poisson(bytes / size * chance, random) as f64 / chance;
                if objects > 0.0 {
                    let values = [objects.round() as i64, (objects * size).round() as i64];
                    let size = LabelValue::Figure(*size as i64, "bytes".to_owned());
                    let label = Label { key: "bytes".to_owned(), value: size };
                    builder.sample(stack.clone(), &values, vec![label]);
                }
            }
        }
        let mut profile = builder.finish();
        profile.default_type = "alloc_space".to_owned();
        profile.duration_ns = 30_000_000_000;
        profile.period = EVERY_BYTES as i64;
        profile.period_type = Some(ValueType::new("space", "bytes"));
        profile
    }

    /// Each stack as often as it weighs.
    fn table(&self) -> Vec<u16> {
        let whole = self.whole();
        let mut table = Vec::with_capacity(TABLE);
        let mut until = 0.0;
        for (place, (_, weight)) in (0_u16..).zip(&self.stacks) {
            until += weight / whole * TABLE as f64;
            while (table.len() as f64) < until.round() {
                table.push(place);
            }
        }
        table.resize(TABLE, *table.last().unwrap());
        table
    }
}

/// Places of the table that stacks are drawn from: small shares are still there.
const TABLE: usize = 1 << 16;
const PERIOD_NS: i64 = 10_000_000;

const EVERY_BYTES: f64 = 131_072.0;
/// Of a buffer, and of something that is allocated a few times in the whole of a profile.
const LARGE: [f64; 2] = [4_194_304.0, 67_108_864.0];
const SIZES: [f64; 7] = [16.0, 48.0, 500.0, 4096.0, 65_536.0, 300_000.0, 1_048_576.0];

/// Poisson's distribution.
fn poisson(mean: f64, random: &mut StdRng) -> u64 {
    if mean > 500.0 {
        return samples(mean, random);
    }
    // As many as come before their times, each exponentially distributed, add up to the mean.
    let mut until = 0.0;
    (0..)
        .find(|_| {
            let uniform = (f64::from(random.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0);
            until -= uniform.ln();
            until > mean
        })
        .unwrap_or(0)
}

/// How many came: Poisson's distribution by the normal one, which at these counts is the same.
fn samples(mean: f64, random: &mut StdRng) -> u64 {
    let uniform = |random: &mut StdRng| f64::from(random.next_u32()) / f64::from(u32::MAX);
    // Twelve of them together are as good as normal with a variance of one.
    let normal: f64 = (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0;
    (mean + normal * mean.sqrt()).round().max(1.0) as u64
}

fn seed() -> u64 {
    let seed = std::env::var("TEMBLOR_SEED").map_or(20_261_123, |text| text.parse().unwrap());
    eprintln!("TEMBLOR_SEED={seed}");
    seed
}

fn held(base: &Profile, new: &Profile, basis: Basis) -> Against {
    let compared = ChangesOptions { basis: Some(basis), ..ChangesOptions::default() };
    let options = AgainstOptions { compared, allowed: 0.0 };
    against(base, new, &options, Rules::built_in()).unwrap()
}

/// How many of so many pairs of profiles of one program give an alarm.
fn false_alarms(
    drawn: impl Fn(f64, &mut StdRng) -> Profile,
    basis: Basis,
    pairs: usize,
    mean: f64,
) -> usize {
    let mut random = StdRng::seed_from_u64(seed());
    let alarms = (0..pairs).filter(|_| {
        let (base, new) = (drawn(mean, &mut random), drawn(mean, &mut random));
        let held = held(&base, &new, basis);
        assert!(held.says_something());
        !held.over.is_empty()
    });
    let alarms = alarms.count();
    eprintln!("{alarms} false alarms in {pairs} pairs of {mean} samples, {basis:?}");
    alarms
}

const PAIRS: usize = 1000;

/// Of a made-up program and, where there is one, of a real one.
fn hardly_ever_false(basis: Basis) {
    for program in [Some(Program::made_up()), Program::real()].into_iter().flatten() {
        let of_time = |mean, random: &mut StdRng| program.drawn(mean, random);
        let are_rare = false_alarms(of_time, basis, PAIRS, 3000.0) * 100 <= PAIRS;
        let of_memory = |large| {
            let drawn = |mean, random: &mut StdRng| program.drawn_memory(mean, large, random);
            false_alarms(drawn, basis, PAIRS / 4, 3000.0) * 100 <= PAIRS / 4
        };
        assert!(are_rare && LARGE.into_iter().all(of_memory));
    }
}

#[test]
fn alarms_of_rates_are_hardly_ever_false() {
    hardly_ever_false(Basis::Rates);
}

#[test]
fn alarms_of_shares_are_hardly_ever_false() {
    hardly_ever_false(Basis::Shares);
}

/// As many as `docs/profiling.md` asks for, to see a slowdown by 5 %.
const ENOUGH: f64 = 20_000.0;
const SLOWDOWN: f64 = 0.05;
const TIMES: usize = 100;

#[test]
fn a_slowdown_by_five_per_cent_is_found() {
    let program = Program::made_up();
    let mut random = StdRng::seed_from_u64(seed());
    for function in ["main.tenth", "main.three_tenths"] {
        let slowed = program.slowed(function, SLOWDOWN);
        for basis in [Basis::Rates, Basis::Shares] {
            let found = (0..TIMES).filter(|_| {
                let base = program.drawn(ENOUGH, &mut random);
                // The same work takes longer, so more samples come in the same time.
                let new = slowed.drawn(ENOUGH * (1.0 + SLOWDOWN), &mut random);
                let held = held(&base, &new, basis);
                held.over.iter().any(|one| one.subject == Subject::Function(function.to_owned()))
            });
            let found = found.count();
            eprintln!("{function}, {basis:?}: found {found} times of {TIMES}");
            assert!(found * 100 >= TIMES * 95, "{function}, {basis:?}: {found}");
        }
    }
}

/// Blocks of a megabyte are all seen, and tell less than as many small ones that stand for as much.
#[test]
fn an_allocation_more_by_ten_per_cent_is_found() {
    let program = Program::made_up();
    let more = program.slowed("main.tenth", 2.0 * SLOWDOWN);
    let mut random = StdRng::seed_from_u64(seed());
    for basis in [Basis::Rates, Basis::Shares] {
        let found = (0..TIMES).filter(|_| {
            let base = program.drawn_memory(ENOUGH, LARGE[0], &mut random);
            let new = more.drawn_memory(ENOUGH * (1.0 + 2.0 * SLOWDOWN), LARGE[0], &mut random);
            let over = held(&base, &new, basis).over;
            over.iter().any(|one| one.subject == Subject::Function("main.tenth".to_owned()))
        });
        let found = found.count();
        eprintln!("{basis:?}: found {found} times of {TIMES}");
        assert!(found * 100 >= TIMES * 95, "{basis:?}: {found}");
    }
}

/// Where heavy blocks are in all profiles. One that comes in few of them is not known to the others.
#[test]
fn what_is_said_to_be_seen_of_memory_is_seen() {
    let program = Program::made_up();
    let mut random = StdRng::seed_from_u64(seed());
    let mut drawn = |times: f64| program.drawn_memory(ENOUGH * times, LARGE[0], &mut random);
    let said = held(&drawn(1.0), &drawn(1.0), Basis::Rates).seen_from.unwrap();
    let found = (0..TIMES).filter(|_| {
        let over = held(&drawn(1.0), &drawn(1.0 + said), Basis::Rates).over;
        over.iter().any(|one| one.subject == Subject::Whole)
    });
    let found = found.count();
    eprintln!("a growth by {said:.3} was found {found} times of {TIMES}");
    assert!(found * 100 >= TIMES * 90, "{found}");
}

#[test]
fn everything_slowed_alike_is_found_as_the_whole_and_only_in_rates() {
    let program = Program::made_up();
    let mut random = StdRng::seed_from_u64(seed());
    let mut found = (0, 0);
    for _ in 0..TIMES {
        let base = program.drawn(ENOUGH, &mut random);
        let new = program.drawn(ENOUGH * (1.0 + SLOWDOWN), &mut random);
        let rates = held(&base, &new, Basis::Rates);
        // What is said to be seen is what is planted here, or less.
        assert!(rates.seen_from.unwrap() < SLOWDOWN, "{rates:?}");
        found.0 += usize::from(rates.over.iter().any(|one| one.subject == Subject::Whole));
        found.1 += usize::from(!held(&base, &new, Basis::Shares).over.is_empty());
    }
    eprintln!("found {found:?} times of {TIMES}");
    assert!(found.0 * 100 >= TIMES * 95 && found.1 * 20 <= TIMES, "{found:?}");
}

#[test]
fn what_is_allowed_is_no_alarm() {
    let program = Program::made_up();
    let slowed = program.slowed("main.tenth", SLOWDOWN);
    let mut random = StdRng::seed_from_u64(seed());
    let base = program.drawn(ENOUGH, &mut random);
    let new = slowed.drawn(ENOUGH * (1.0 + SLOWDOWN), &mut random);
    let options = |allowed| AgainstOptions { allowed, ..AgainstOptions::default() };
    let over = |allowed| against(&base, &new, &options(allowed), Rules::built_in()).unwrap().over;
    assert!(!over(0.01).is_empty());
    assert_eq!(over(0.08), []);
}
