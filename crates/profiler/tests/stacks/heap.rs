//! Memory.

use rustix::process::{Pid, Signal, kill_process};
use temblor_event::clock::now_ns;
use temblor_profile::{LabelValue, Profile};
use temblor_profiler::{Collected, Error, Settings, Wanted, collect};

use crate::common::{Program, Running, names, possible};

const LENGTH_NS: u64 = 3_000_000_000;
const SETTINGS: Wanted = Wanted::Heap { every_bytes: 16 << 10 };

/// The profile's types, by their places in it.
const OBJECTS: usize = 0;
const BYTES: usize = 1;
const LIVE_OBJECTS: usize = 2;
const LIVE_BYTES: usize = 3;

/// What the stacks have together that a function is in.
fn sum(profile: &Profile, kind: usize, of: &str) -> f64 {
    let of = profile
        .samples
        .iter()
        .filter(|sample| names(profile, sample).iter().any(|name| name == of));
    #[expect(clippy::cast_precision_loss, reason = "some hundred megabytes")]
    let sum = of.map(|sample| sample.values[kind]).sum::<i64>() as f64;
    sum
}

/// None: it cannot be done here.
fn collected(running: &Running) -> Option<Result<Collected, Error>> {
    let mut end_ns = None;
    collected_until(running, || now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS))
}

fn collected_until(
    running: &Running,
    enough: impl FnMut() -> bool,
) -> Option<Result<Collected, Error>> {
    or_skipped(collect(&[running.target()], &Settings::of(SETTINGS), enough))
}

fn or_skipped(collected: Result<Collected, Error>) -> Option<Result<Collected, Error>> {
    match collected {
        // Before Linux 6.13.
        Err(Error::Sampler(temblor_probes::Error::Missing { what, .. })) => {
            eprintln!("skipped: {what}");
            None
        }
        told => Some(told),
    }
}

#[test]
fn what_is_allocated_and_kept_is_told_by_where() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["allocates"]);
    let Some(collected) = collected(&running) else { return };
    let Collected { profile, account } = collected.unwrap();
    let kinds: Vec<&str> = profile.types.iter().map(|of| of.kind.as_str()).collect();
    assert_eq!(kinds, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert_eq!(account.lost, 0, "{account:?}");
    let sum = |kind: usize, of: &str| sum(&profile, kind, of);
    // All are called equally often: what each allocates is known by comparing them.
    let kept = sum(BYTES, "keeps");
    assert!(kept > 2e6, "too little to tell: {account:?}");
    for (function, size, times) in [
        ("gives_back", 500.0, 2.0),
        ("grows", 3300.0, 1.0),
        ("aligned", 2000.0, 1.0),
        ("aligned_little", 2000.0, 1.0),
    ] {
        // Five standard errors of as many samples as there are of the smaller of them.
        let expected: f64 = size * times / 1000.0;
        let error = 5.0 * (2.0 * 16384.0 / (kept * expected.min(1.0))).sqrt();
        let share = sum(BYTES, function) / kept / expected;
        assert!((share - 1.0).abs() < error.max(0.05), "{function}: {share} ± {error}");
    }
    let times = sum(OBJECTS, "keeps");
    assert!((kept / times / 1000.0 - 1.0).abs() < 0.01, "{kept} in {times}");
    // Only those are kept.
    assert!((sum(LIVE_BYTES, "keeps") / kept - 1.0).abs() < 0.02, "{}", sum(LIVE_BYTES, "keeps"));
    assert!(sum(LIVE_OBJECTS, "keeps") / times > 0.98);
    for function in ["gives_back", "grows", "aligned", "aligned_little"] {
        let live = sum(LIVE_BYTES, function) / sum(BYTES, function);
        assert!(live < 0.01, "{function}: {live}");
    }
    let mut ages: Vec<_> = profile
        .samples
        .iter()
        .flat_map(|sample| sample.labels.iter().filter(|label| label.key == "age"))
        .map(|label| label.value.clone())
        .collect();
    ages.sort();
    ages.dedup();
    let text = |age: &str| LabelValue::Text(age.to_owned());
    assert_eq!(ages, [text("1 to 10 s"), text("less than 1 s")]);
    let roots = profile.samples.iter().map(|sample| names(&profile, sample).pop().unwrap());
    assert!(roots.clone().all(|root| root == "_start"), "{:?}", roots.collect::<Vec<_>>());
}

/// Of a call whose return is followed the return address is another one.
#[test]
fn stacks_go_on_behind_calls_that_are_followed_to_their_return() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["wraps"]);
    let mut end_ns = None;
    let enough = || now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS / 3);
    // Each call, so that all that lie within others do.
    let every_byte = Settings::of(Wanted::Heap { every_bytes: 1 });
    let Some(collected) = or_skipped(collect(&[running.target()], &every_byte, enough)) else {
        return;
    };
    let Collected { profile, account } = collected.unwrap();
    let stacks: Vec<Vec<String>> =
        profile.samples.iter().map(|sample| names(&profile, sample)).collect();
    let within = |stack: &&Vec<String>| stack.iter().any(|name| name == "je_malloc");
    let within: Vec<_> = stacks.iter().filter(within).collect();
    // From within the C library as well.
    assert!(within.iter().any(|stack| stack[0] != "je_malloc"), "{stacks:?} {account:?}");
    for stack in within {
        let around = &stack[stack.iter().position(|name| name == "je_malloc").unwrap()..];
        assert_eq!(around[1..3], ["je_calloc", "wraps"], "{stack:?}");
        assert_eq!(stack.last().unwrap(), "_start", "{stack:?}");
    }
}

#[test]
fn a_program_that_allocates_nothing_is_told_so() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["idle"]);
    let Some(collected) = collected(&running) else { return };
    let told = collected.unwrap_err().to_string();
    assert!(told.contains("it allocated nothing"), "{told}");
}

#[test]
fn what_a_program_had_is_not_in_use_by_the_one_that_its_process_runs_next() {
    if !possible() {
        return;
    }
    // It is read a second time.
    let program = Program::build();
    let running = program.start(&["becomes"]);
    let pid = Pid::from_child(&running.child);
    let runs_the_next = || {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        words.ends_with("\0later\0")
    };
    let (mut asked_ns, mut end_ns) = (None, None);
    let enough = || {
        let now_ns = now_ns();
        match end_ns {
            None if runs_the_next() => end_ns = Some(now_ns + LENGTH_NS / 2),
            None if now_ns >= *asked_ns.get_or_insert(now_ns + LENGTH_NS / 2) => {
                kill_process(pid, Signal::USR1).unwrap();
                // Once: the next one does not expect it.
                asked_ns = Some(u64::MAX);
            }
            _ => {}
        }
        end_ns.is_some_and(|end_ns| now_ns >= end_ns)
    };
    let Some(collected) = collected_until(&running, enough) else { return };
    let Collected { profile, account } = collected.unwrap();
    let [before, after] = ["keeps", "keeps_later"].map(|of| sum(&profile, BYTES, of));
    assert!(before > 1e6 && after > 1e6, "too little to tell: {before} {after} {account:?}");
    let [before_live, after_live] =
        ["keeps", "keeps_later"].map(|of| sum(&profile, LIVE_BYTES, of));
    assert!(before_live < 1.0, "{before_live} of {before}");
    assert!((after_live / after - 1.0).abs() < 0.02, "{after_live} of {after}");
}
