//! Memory.

use temblor_event::clock::now_ns;
use temblor_profile::LabelValue;
use temblor_profiler::{Collected, Error, Settings, Wanted, collect};

use crate::common::{Program, Running, names, possible};

const LENGTH_NS: u64 = 3_000_000_000;
const SETTINGS: Wanted = Wanted::Heap { every_bytes: 16 << 10 };

fn collected(running: &Running) -> Result<Collected, Error> {
    let mut end_ns = None;
    let enough = || now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS);
    match collect(&[running.target()], &Settings::of(SETTINGS), enough) {
        // Before Linux 6.13.
        Err(Error::Sampler(temblor_probes::Error::Missing { what, .. })) => {
            eprintln!("skipped: {what}");
            Err(Error::NoSamples { took: std::time::Duration::ZERO, why: "skipped" })
        }
        told => told,
    }
}

#[test]
fn what_is_allocated_and_kept_is_told_by_where() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["allocates"]);
    let collected = collected(&running);
    if matches!(collected, Err(Error::NoSamples { why: "skipped", .. })) {
        return;
    }
    let Collected { profile, account } = collected.unwrap();
    let kinds: Vec<&str> = profile.types.iter().map(|of| of.kind.as_str()).collect();
    assert_eq!(kinds, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert_eq!(account.lost, 0, "{account:?}");
    let sum = |kind: usize, of: &str| -> f64 {
        let of = profile
            .samples
            .iter()
            .filter(|sample| names(&profile, sample).iter().any(|name| name == of));
        #[expect(clippy::cast_precision_loss, reason = "some hundred megabytes")]
        let sum = of.map(|sample| sample.values[kind]).sum::<i64>() as f64;
        sum
    };
    let [objects, bytes, live_objects, live_bytes] = [0, 1, 2, 3];
    // All are called equally often: what each allocates is known by comparing them.
    let kept = sum(bytes, "keeps");
    assert!(kept > 2e6, "too little to tell: {account:?}");
    for (function, size, times) in
        [("gives_back", 500.0, 2.0), ("grows", 3300.0, 1.0), ("aligned", 2000.0, 1.0)]
    {
        // Five standard errors of as many samples as there are of the smaller of them.
        let expected: f64 = size * times / 1000.0;
        let error = 5.0 * (2.0 * 16384.0 / (kept * expected.min(1.0))).sqrt();
        let share = sum(bytes, function) / kept / expected;
        assert!((share - 1.0).abs() < error.max(0.05), "{function}: {share} ± {error}");
    }
    let times = sum(objects, "keeps");
    assert!((kept / times / 1000.0 - 1.0).abs() < 0.01, "{kept} in {times}");
    // Only those are kept.
    assert!((sum(live_bytes, "keeps") / kept - 1.0).abs() < 0.02, "{}", sum(live_bytes, "keeps"));
    assert!(sum(live_objects, "keeps") / times > 0.98);
    for function in ["gives_back", "grows", "aligned"] {
        let live = sum(live_bytes, function) / sum(bytes, function);
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

#[test]
fn a_program_that_allocates_nothing_is_told_so() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["idle"]);
    let told = collected(&running).unwrap_err().to_string();
    assert!(told.contains("it allocated nothing") || told.contains("skipped"), "{told}");
}
