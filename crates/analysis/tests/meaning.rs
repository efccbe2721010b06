//! What is said of profiles, against what was put into them. `UPDATE_EXPECT=1` accepts the texts as
//! they are now.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;

use std::path::Path;

use proptest::prelude::*;
use temblor_analysis::{
    AgainstOptions, Analysis, Basis, Budget, ChangesOptions, Held, Report, Rules, Told, Uncounted,
    against, analyze, changes, hold, json, text,
};
use temblor_profile::{Builder, Profile, ValueType, folded};

/// A service in Go: what it does, and how many samples each way has.
const SERVICE: [(&str, i64); 12] = [
    ("net/http.(*conn).serve;main.place;database/sql.(*DB).Exec;syscall.write", 400),
    ("net/http.(*conn).serve;main.place;github.com/lib/pq.(*conn).recv;syscall.read", 220),
    ("net/http.(*conn).serve;main.place;encoding/json.Marshal;runtime.mallocgc", 60),
    ("net/http.(*conn).serve;main.place;encoding/json.Marshal;reflect.Value.Field", 130),
    (
        "net/http.(*conn).serve;main.place;github.com/go-playground/validator/v10.(*Validate).Struct",
        240,
    ),
    ("net/http.(*conn).serve;main.place;main.price", 250),
    ("net/http.(*conn).serve;main.place;main.(*Book[main.Order]).match", 81),
    ("net/http.(*conn).serve;net.(*conn).Write;syscall.write", 130),
    ("runtime.mcall;runtime.schedule;runtime.findRunnable", 60),
    ("runtime.gcBgMarkWorker;runtime.gcDrain;runtime.scanobject", 70),
    ("net/http.(*conn).serve", 9),
    ("net/http.(*conn).serve;main.place;log/slog.Info;fmt.Fprintf", 3),
];

fn service(stacks: &[(&str, i64)], duration_ns: i64) -> Profile {
    let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
    let mut builder = Builder::new(types);
    for (stack, count) in stacks {
        let stack = stack.split(';').rev().map(|name| builder.named(name)).collect();
        builder.sample(stack, &[*count, count * 10_000_000], Vec::new());
    }
    let mut profile = builder.finish();
    profile.duration_ns = duration_ns;
    profile
}

const HALF_A_MINUTE_NS: i64 = 30_000_000_000;

fn meant(profile: &Profile, kind: Option<&str>) -> Analysis {
    analyze(profile, kind, Rules::built_in()).unwrap()
}

fn expect(name: &str, told: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, told).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(told == expected, "{name} differs: UPDATE_EXPECT=1 accepts it\n{told}");
}

/// The same service with a dearer encoding.
fn slower() -> Profile {
    let mut stacks = SERVICE;
    stacks[2].1 += 120;
    stacks[3].1 += 130;
    service(&stacks, HALF_A_MINUTE_NS)
}

#[test]
fn a_whole_report_reads_as_it_did() {
    let (base, new) = (service(&SERVICE, HALF_A_MINUTE_NS), slower());
    let rules = Rules::built_in();
    let budgets = ["serialization<=15%", "database<=50%", "own:gc<=4%", "function:nosuch<=1%"];
    let budgets: Vec<Budget> = budgets.iter().map(|text| text.parse().unwrap()).collect();
    let options = AgainstOptions { allowed: 0.02, ..AgainstOptions::default() };
    let report = Report {
        analysis: Some(meant(&new, None)),
        changes: Some(changes(&base, &new, &ChangesOptions::default(), rules).unwrap()),
        budgets: hold(&new, None, &budgets, rules).unwrap(),
        against: Some(against(&base, &new, &options, rules).unwrap()),
        explanation: None,
    };
    let told = text(&report, 80);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    expect("report.txt", &told);
    expect("report.json", &(serde_json::to_string_pretty(&json(&report)).unwrap() + "\n"));
    let held: Vec<Held> = report.budgets.iter().map(|holding| holding.held).collect();
    assert_eq!(held, [Held::Over, Held::Within, Held::Open, Held::Within]);
}

#[test]
fn too_few_samples_say_nothing() {
    let few: Vec<(&str, i64)> = SERVICE.iter().map(|(stack, _)| (*stack, 2)).collect();
    let profile = service(&few, HALF_A_MINUTE_NS);
    let rules = Rules::built_in();
    let analysis = meant(&profile, None);
    assert_eq!(analysis.samples.map(|samples| samples.count), Some(24));
    assert!(analysis.is_too_small());
    assert_eq!(analysis.findings, []);
    let held = hold(&profile, None, &["database<=1%".parse().unwrap()], rules).unwrap();
    assert_eq!(held[0].held, Held::TooFew);
    let held = against(&service(&SERVICE, 1), &profile, &AgainstOptions::default(), rules).unwrap();
    assert!(!held.says_something() && held.over.is_empty());
    let told = text(&Report { analysis: Some(analysis), ..Report::default() }, 80);
    assert!(told.contains("Too few samples to say anything: 24"), "{told}");
}

#[test]
fn a_stack_belongs_to_what_it_is_for() {
    for (stack, expected, also) in [
        // The call to the kernel is the database's.
        ("database/sql.(*DB).Exec;net.(*conn).Write;syscall.write", "database", "network"),
        // Allocation within encoding is allocation, and encoding's with what it calls.
        ("encoding/json.Marshal;runtime.mallocgc", "allocation", "serialization"),
        ("encoding/json.Marshal;reflect.Value.Field", "serialization", "reflection"),
        // Whoever serves a request is not what the handler does,
        ("net/http.(*conn).serve;main.price", "other", "other"),
        // but what it does by itself.
        ("net/http.(*conn).serve;syscall.write", "network", "system-calls"),
        ("net/http.(*conn).serve", "network", "network"),
        ("main.main;malloc;__x64_sys_brk;do_syscall_64_[k]", "allocation", "memory"),
        ("main.main;main.work", "other", "other"),
    ] {
        let profile =
            folded::read(format!("{stack} 200").as_bytes(), ValueType::new("samples", "count"));
        let rows = meant(&profile.unwrap(), None).rows;
        let own: Vec<_> = rows.iter().filter(|row| row.own.value > 0).collect();
        assert_eq!(own.len(), 1, "{stack}");
        assert_eq!((own[0].category.as_str(), own[0].own.share), (expected, 1.0), "{stack}");
        assert!(rows.iter().any(|row| row.category == also), "{stack}");
    }
}

#[test]
fn what_changed_is_told_and_what_did_not_is_not() {
    let (base, new) = (service(&SERVICE, HALF_A_MINUTE_NS), slower());
    let rules = Rules::built_in();
    let told = changes(&base, &new, &ChangesOptions::default(), rules).unwrap();
    assert_eq!(told.basis, Basis::Rates);
    let serialization = told
        .list
        .iter()
        .find(|one| told.sentence(one).starts_with("Serialization with all it calls: "));
    let serialization = serialization.unwrap();
    assert_eq!(serialization.told, Told::More);
    assert!(serialization.within.unwrap().has(250.0 / 1653.0), "{serialization:?}");
    // The same profile twice as long is the same program.
    let doubled: Vec<(&str, i64)> = SERVICE.iter().map(|(stack, n)| (*stack, 2 * n)).collect();
    let doubled = service(&doubled, 2 * HALF_A_MINUTE_NS);
    for basis in [Basis::Rates, Basis::Shares] {
        let options = ChangesOptions { basis: Some(basis), ..ChangesOptions::default() };
        let told = changes(&base, &doubled, &options, rules).unwrap();
        assert!(!told.list.is_empty());
        assert!(told.list.iter().all(|one| one.told == Told::Noise && one.growth.abs() < 1e-9));
        assert!(told.sentence(&told.list[1]).contains("no change that can be told from noise"));
    }
    let timeless = changes(&service(&SERVICE, 0), &new, &ChangesOptions::default(), rules).unwrap();
    assert_eq!(timeless.basis, Basis::Shares);
    let options = ChangesOptions { basis: Some(Basis::Rates), ..ChangesOptions::default() };
    let told = changes(&service(&SERVICE, 0), &new, &options, rules).unwrap_err().to_string();
    assert_eq!(told, "the base does not say for how long it was collected: compare shares");
    let other = folded::read(b"main 200\n", ValueType::new("samples", "count")).unwrap();
    let told = changes(&other, &new, &ChangesOptions::default(), rules).unwrap_err().to_string();
    assert!(told.starts_with("the profiles count different things: samples/count"), "{told}");
}

#[test]
fn what_is_not_counted_is_taken_as_it_is_and_said_so() {
    let profile = folded::read(
        b"main;encoding/json.Marshal 600\nmain;work 400\n",
        ValueType::new("inuse_space", "bytes"),
    );
    let profile = profile.unwrap();
    let analysis = meant(&profile, None);
    assert_eq!((analysis.samples, analysis.uncounted), (None, Some(Uncounted::Scaled)));
    assert_eq!(analysis.findings.len(), 1);
    let rules = Rules::built_in();
    let held = hold(&profile, None, &["serialization<=50%".parse().unwrap()], rules).unwrap();
    assert_eq!((held[0].held, held[0].figure.within), (Held::Over, None));
    let held = against(&profile, &profile, &AgainstOptions::default(), rules).unwrap();
    assert!(!held.says_something());
    let told = changes(&profile, &profile, &ChangesOptions::default(), rules).unwrap();
    assert!(told.list.iter().all(|one| one.told == Told::Uncounted && one.within.is_none()));
}

#[test]
fn real_profiles_are_told() {
    for (name, samples) in [("cpu_load", 34), ("cpu_baseline", 24), ("heap", 3)] {
        let Some(profile) = common::real(name) else { return };
        let analysis = meant(&profile, None);
        assert_eq!(analysis.samples.map(|samples| samples.count), Some(samples), "{name}");
        assert!(analysis.is_too_small());
        let known: f64 = analysis.rows.iter().map(|row| row.own.share).sum();
        assert!((known - 1.0).abs() < 1e-9, "{name}: {known}");
    }
    let told = analyze(&common::real("allocs").unwrap(), None, Rules::built_in()).unwrap_err();
    assert!(told.to_string().contains("a difference, with negative values"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the names are: each sample is somebody's once, and every line fits.
    #[test]
    fn everything_is_attributed_once(
        stacks in prop::collection::vec((prop::collection::vec("\\PC{0,20}|malloc|syscall.read|net/http.x", 1..6), 1..500_i64), 1..20),
        width in 40..120_usize,
    ) {
        let mut builder = Builder::new(vec![ValueType::new("samples", "count")]);
        for (stack, count) in &stacks {
            let stack = stack.iter().map(|name| builder.named(name)).collect();
            builder.sample(stack, &[*count], Vec::new());
        }
        let profile = builder.finish();
        let analysis = meant(&profile, None);
        let sum: i64 = analysis.rows.iter().map(|row| row.own.value).sum();
        prop_assert_eq!(sum, analysis.total);
        for row in &analysis.rows {
            prop_assert!(row.with_calls.value >= row.own.value);
            prop_assert!(row.own.within.unwrap().has(row.own.share));
        }
        let changes = changes(&profile, &profile, &ChangesOptions::default(), Rules::built_in()).unwrap();
        prop_assert!(changes.list.iter().all(|one| one.told == Told::Noise));
        let report = Report { analysis: Some(analysis), changes: Some(changes), ..Report::default() };
        prop_assert!(text(&report, width).ends_with('\n'));
    }
}
