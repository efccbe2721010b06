//! Every target with its seeds and with some thousand mutations of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use temblor_fuzz::{MEMORY_BYTES_MAX, Mutations, TARGETS, Target, peak_bytes_of, target};

/// The number that the mutations come from. It is always the same unless another is given: a test
/// that fails by chance in somebody else's change helps nobody, and `make fuzz` is what searches.
fn number() -> u64 {
    std::env::var("FUZZ_SEED").ok().map_or(1, |number| number.parse().expect("a whole number"))
}

/// The bytes as they can be written into a test.
fn written(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

/// Tries it with its seeds and their mutations, and gives the input at which it panicked.
fn failing_input(target: &Target, number: u64) -> Option<Vec<u8>> {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mutations = Mutations::of(&seeds, number).take(target.mutations as usize);
    seeds
        .iter()
        .cloned()
        .chain(mutations)
        .find(|input| catch_unwind(AssertUnwindSafe(|| target.run(input))).is_err())
}

#[test]
fn every_target_keeps_its_promises_with_mutations_of_its_seeds() {
    let number = number();
    println!("FUZZ_SEED={number}");
    let failing = TARGETS.iter().filter_map(|target| {
        let input = failing_input(target, number)?;
        Some(format!("{} at {}", target.name, written(&input)))
    });
    let failing: Vec<String> = failing.collect();
    assert!(failing.is_empty(), "with FUZZ_SEED={number}:\n{}", failing.join("\n"));
}

#[test]
fn targets_have_names_of_their_own() {
    for (at, one) in TARGETS.iter().enumerate() {
        assert!(TARGETS[..at].iter().all(|other| other.name != one.name), "{} twice", one.name);
        assert_eq!(target(one.name).map(|found| found.name), Some(one.name));
        // It is a folder's name, and a value of a variable of the shell.
        assert!(one.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", one.name);
    }
}

/// A parser as one would write it: it believes the length that stands before a text.
fn believes_a_length(bytes: &[u8]) {
    if let Some((length, rest)) = bytes.split_first() {
        let _ = &rest[..usize::from(*length)];
    }
}

/// One that takes as much memory as the bytes say.
fn believes_a_size(bytes: &[u8]) {
    if let Some(size) = bytes.first_chunk() {
        drop(Vec::<u8>::with_capacity(u32::from_le_bytes(*size) as usize));
    }
}

/// One that goes wrong only with a number that hardly any chance would hit.
fn adds_one(bytes: &[u8]) {
    let number = bytes.first_chunk().map_or(0, |number| u32::from_le_bytes(*number));
    assert!(number.checked_add(1).is_some());
}

/// One that goes wrong only with what stands in two seeds at once.
fn joins(bytes: &[u8]) {
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(!(has(b"first;") && has(b"second;")));
}

#[test]
fn a_bug_that_is_planted_is_found() {
    for (name, check, seeds) in [
        ("length", believes_a_length as fn(&[u8]), vec![b"\x04text".to_vec()]),
        ("size", believes_a_size, vec![b"\x04\0\0\0text".to_vec()]),
        ("number", adds_one, vec![b"\x04\0\0\0text".to_vec()]),
        ("splice", joins, vec![b"first;text".to_vec(), b"second;text".to_vec()]),
    ] {
        let seeds_of: fn() -> Vec<Vec<u8>> = || vec![Vec::new()];
        let planted = Target { name: "planted", check, seeds: seeds_of, mutations: 2000 };
        for seed in &seeds {
            planted.run(seed);
        }
        let found = Mutations::of(&seeds, number())
            .take(planted.mutations as usize)
            .any(|input| catch_unwind(|| planted.run(&input)).is_err());
        assert!(found, "{name} was not found");
    }
}

#[test]
fn mutations_are_the_same_for_the_same_number() {
    let seeds = vec![b"one".to_vec(), b"another".to_vec()];
    let some = |number| Mutations::of(&seeds, number).take(100).collect::<Vec<_>>();
    assert_eq!(some(7), some(7));
    assert_ne!(some(7), some(8));
}

#[test]
fn what_is_held_at_once_is_counted() {
    let peak = peak_bytes_of(|| {
        drop(vec![0_u8; 1 << 20]);
        drop(vec![0_u8; 3 << 20]);
        drop(vec![0_u8; 2 << 20]);
    });
    assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
    assert!(peak < MEMORY_BYTES_MAX);
}
