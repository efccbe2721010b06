//! What was promised is there after any crash, and the test that says so can tell a journal that lies.

use crate::common::{Wrap, append, honest, open_checked};
use exchange_journal::sim::{Checker, Lie, LyingStorage, SimStorage, Violation};
use exchange_journal::{Journal, Storage};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// None; the journal is closed in order.
    None,
    /// The machine crashes in the midst of the nth change from the opening on.
    Crash { nth: u64 },
    /// The nth change fails; afterwards the process starts again, the machine does not.
    Error { nth: u64 },
    /// The machine runs out of space; it has more at the next start.
    Full { bytes: usize },
}

#[derive(Clone, Debug)]
struct Life {
    trouble: Trouble,
    /// Payload lengths, and whether to wait for the record before the next.
    appends: Vec<(usize, bool)>,
    /// Whether the machine crashes at the end, after whatever else went wrong.
    crash_after: bool,
    seed: u64,
}

fn life() -> impl Strategy<Value = Life> {
    let trouble = prop_oneof![
        1 => Just(Trouble::None),
        3 => (1u64..40).prop_map(|nth| Trouble::Crash { nth }),
        2 => (1u64..40).prop_map(|nth| Trouble::Error { nth }),
        1 => (20usize..8000).prop_map(|bytes| Trouble::Full { bytes }),
    ];
    let payload = prop_oneof![Just(0usize), 1usize..60, 400usize..1500];
    let appends = prop::collection::vec((payload, any::<bool>()), 0..12);
    (trouble, appends, any::<bool>(), any::<u64>()).prop_map(
        |(trouble, appends, crash_after, seed)| Life { trouble, appends, crash_after, seed },
    )
}

/// Lives through the lives, one after another, and looks at what is left after each.
fn live(lives: &[Life], wrap: Wrap) -> Result<(), Violation> {
    let checker = Arc::new(Mutex::new(Checker::new()));
    let mut sim = SimStorage::new();
    for life in lives {
        let Life { trouble, ref appends, crash_after, seed } = *life;
        match trouble {
            Trouble::None => {}
            Trouble::Crash { nth } => sim.crash_at(nth, seed),
            Trouble::Error { nth } => sim.fail_at(nth),
            Trouble::Full { bytes } => sim.set_capacity_bytes(Some(bytes)),
        }
        // Trouble may come already while opening; then there is nothing to append to.
        if let Ok(journal) = open_checked(wrap(&sim), &checker) {
            fill(&journal?, appends, &checker, seed);
        } else {
            assert!(!matches!(trouble, Trouble::None), "a sound journal must open");
        }
        sim = if crash_after || sim.is_gone() { sim.reboot(seed) } else { sim.restart_process() };
        let opened = open_checked(wrap(&sim), &checker).expect("a crash is no damage");
        drop(opened?);
        // What a reader was shown must stay, so crash again without having appended.
        if crash_after {
            sim = sim.reboot(!seed);
        }
    }
    let opened = open_checked(wrap(&sim), &checker).expect("a crash is no damage");
    opened.map(drop)
}

fn fill(journal: &Journal, appends: &[(usize, bool)], checker: &Arc<Mutex<Checker>>, salt: u64) {
    for (i, (len, wait)) in appends.iter().enumerate() {
        let byte = (salt as u8).wrapping_add(i as u8);
        let Some(seq) = append(journal, checker, vec![byte; *len]) else { return };
        if *wait && journal.wait_durable_after(seq - 1, Duration::from_secs(10)).is_err() {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn promises_survive_any_lives(lives in prop::collection::vec(life(), 1..6)) {
        prop_assert_eq!(live(&lives, honest), Ok(()));
    }
}

/// Appends one by one, which makes the same changes in the same order every time.
fn one_by_one(sim: &SimStorage, checker: &Arc<Mutex<Checker>>) {
    let Ok(journal) = open_checked(honest(sim), checker) else { return };
    let journal = journal.expect("an empty journal breaks no promise");
    for len in [10, 700, 0, 1300, 40, 900, 20, 1500, 5] {
        let Some(seq) = append(&journal, checker, vec![len as u8 | 1; len]) else { return };
        if journal.wait_durable_after(seq - 1, Duration::from_secs(10)).is_err() {
            return;
        }
    }
}

fn operations_of_one_by_one() -> u64 {
    let sim = SimStorage::new();
    one_by_one(&sim, &Arc::default());
    sim.operations()
}

/// Every change in turn is the one in which the machine crashes, and then every change of the recovery.
#[test]
fn crash_at_every_change_and_again_in_recovery() {
    let operations = operations_of_one_by_one();
    assert!(operations > 25, "several files are wanted, got {operations} changes");
    for nth in 1..=operations {
        for seed in 0..12 {
            let checker = Arc::new(Mutex::new(Checker::new()));
            let sim = SimStorage::new();
            sim.crash_at(nth, seed);
            one_by_one(&sim, &checker);
            let mut sim = sim.reboot(seed);
            for in_recovery in 1.. {
                sim.crash_at(in_recovery, seed + in_recovery);
                let opened = open_checked(honest(&sim), &checker);
                let crashed = sim.is_gone();
                if let Ok(verdict) = opened {
                    verdict.expect("a promise is kept");
                } else {
                    assert!(crashed, "recovery fails only when the machine does");
                }
                sim = sim.reboot(seed);
                if !crashed {
                    break;
                }
            }
            open_checked(honest(&sim), &checker).expect("opens").expect("promises are kept");
        }
    }
}

/// Every change in turn fails. The process starts again on the same machine, whose page cache now calls lost
/// bytes clean; what it then reads and promises must survive a crash all the same.
#[test]
fn error_at_every_change_then_crash() {
    for nth in 1..=operations_of_one_by_one() {
        for seed in 0..12 {
            let checker = Arc::new(Mutex::new(Checker::new()));
            let sim = SimStorage::new();
            sim.fail_at(nth);
            one_by_one(&sim, &checker);
            let sim = sim.restart_process();
            let journal = open_checked(honest(&sim), &checker).expect("opens").expect("kept");
            // In half of the cases something new is promised on top of what was found.
            if seed % 2 == 0 {
                let seq = append(&journal, &checker, vec![7; 30]).expect("appended");
                journal.wait_durable_after(seq - 1, Duration::from_secs(10)).expect("durable");
            }
            drop(journal);
            let sim = sim.reboot(seed);
            drop(open_checked(honest(&sim), &checker).expect("opens").expect("promises are kept"));
        }
    }
}

/// How many of a hundred crashes show a broken promise.
fn caught(wrap: Wrap) -> usize {
    (0..100u64)
        .filter(|seed| {
            let checker = Arc::new(Mutex::new(Checker::new()));
            let sim = SimStorage::new();
            let journal = open_checked(wrap(&sim), &checker).expect("opens").expect("empty");
            for _ in 0..5 {
                let seq = append(&journal, &checker, vec![1; 600]).expect("appended");
                journal.wait_durable_after(seq - 1, Duration::from_secs(10)).expect("acknowledged");
            }
            // Closing in order does not sync what was acknowledged unsynced.
            drop(journal);
            let sim = sim.reboot(*seed);
            match open_checked(honest(&sim), &checker) {
                Ok(Ok(_)) => false,
                Ok(Err(violation)) => {
                    assert!(matches!(violation, Violation::Lost { .. }), "{violation}");
                    true
                }
                // An acknowledged batch that is missing in the middle is no tear any more.
                Err(_) => true,
            }
        })
        .count()
}

/// The checker has teeth: a journal that acknowledges before it syncs, or never syncs, is caught; and it is
/// the lie that is caught, since the same without it is not.
#[test]
fn acknowledging_before_the_sync_is_caught() {
    let never = |sim: &SimStorage| -> Arc<dyn Storage> {
        Arc::new(LyingStorage::new(Arc::new(sim.clone()), Lie::Never))
    };
    let late = |sim: &SimStorage| -> Arc<dyn Storage> {
        Arc::new(LyingStorage::new(Arc::new(sim.clone()), Lie::Late))
    };
    let names = |sim: &SimStorage| -> Arc<dyn Storage> {
        Arc::new(LyingStorage::new(Arc::new(sim.clone()), Lie::Names))
    };
    assert_eq!(caught(honest), 0);
    for (name, lie) in [("never", never as Wrap), ("late", late), ("names", names)] {
        assert!(caught(lie) > 20, "{name}: {} of 100 crashes show it", caught(lie));
    }
}

/// The same lives that an honest storage survives show the lie as well.
#[test]
fn random_lives_catch_the_lie_too() {
    let late = |sim: &SimStorage| -> Arc<dyn Storage> {
        Arc::new(LyingStorage::new(Arc::new(sim.clone()), Lie::Late))
    };
    let life = |seed| Life {
        trouble: Trouble::None,
        appends: vec![(30, true), (500, true), (0, true)],
        crash_after: true,
        seed,
    };
    let found = (0..20).any(|seed| live(&[life(seed), life(seed + 1)], late).is_err());
    assert!(found, "no crash showed the lie");
    assert!((0..20).all(|seed| live(&[life(seed), life(seed + 1)], honest).is_ok()));
}
