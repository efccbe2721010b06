//! Experiments and their quantities, as people write them.

use temblor_plan::fault::FAULTS;
use temblor_plan::{Experiment, parse_bytes, parse_duration, parse_rate, parse_share};

/// An experiment is the same when it is written out and read again; a problem stands in a line that
/// the file has.
pub(crate) fn experiment(bytes: &[u8]) {
    let file = crate::text(bytes);
    match Experiment::parse("file.yaml", &file) {
        Ok(experiment) => {
            let written = experiment.to_yaml();
            match Experiment::parse("written.yaml", &written) {
                Ok(again) => assert_eq!(again, experiment, "{written}"),
                Err(error) => panic!("what was written is refused: {error}\n{written}"),
            }
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(error.to_string().starts_with("file.yaml:"));
            for problem in &error.problems {
                assert!(!problem.what.is_empty());
            }
        }
    }
}

pub(crate) fn experiments() -> Vec<Vec<u8>> {
    let names = ["conn-pool", "flamegraph", "disk-io"];
    let mut seeds: Vec<Vec<u8>> = names
        .map(|name| crate::repository(&format!("experiments/{name}.yaml")))
        .map(|path| std::fs::read(path).unwrap())
        .into();
    seeds.extend(crate::seeds_of([SMALL]));
    // Each fault with the values that it must have, as the reference shows them.
    let faults = FAULTS.iter().filter(|fault| !fault.example().is_empty());
    seeds.extend(faults.map(|fault| {
        let item = format!("{}: {{{}}}", fault.name, fault.example());
        SMALL.replace(INJECTED, &item).into_bytes()
    }));
    seeds
}

/// What is injected in [`SMALL`].
const INJECTED: &str =
    "network.partition: {from: api, to: [db, fd00::5], ports: 5432}\n        ramp: 2.5s";

const SMALL: &str = r#"apiVersion: temblor.dev/v1
kind: Experiment
metadata: {name: small, title: "Small: 100 %"}
safety: {share: 33%, faultMax: 90s}
targets:
  api: {service: trading-api}
  db: {container: db-1}
load: {profile: orders, rate: 200/s, target: api, port: 8080}
phases:
  - {name: baseline, for: 20s}
  - name: fault
    for: 30s
    inject:
      - network.partition: {from: api, to: [db, fd00::5], ports: 5432}
        ramp: 2.5s
  - {name: recovery, for: 1.5m, until: steady}
observe: [tcp, {bpftrace: a.bt}]
profile: {cpu: {phases: [fault], rate: 99/s}}
abort: [{load: {errors: "> 50%"}, for: 10s}]
expect:
  - {ledger.lost: 0}
  - {recovery.full: "<= 10s"}
ledger: {postgres: {target: db, user: u, database: d, query: "SELECT 1 WHERE key LIKE $1"}}
"#;

/// A quantity is within its bounds, or is told to be none.
pub(crate) fn units(bytes: &[u8]) {
    let written = crate::text(bytes);
    if let Ok(duration) = parse_duration(&written) {
        assert!(duration.as_secs() <= 24 * 60 * 60);
    }
    if let Ok(rate) = parse_rate(&written) {
        assert!(rate > 0.0 && rate <= 1e6, "{rate}");
    }
    if let Ok(share) = parse_share(&written) {
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
    let _ = parse_bytes(&written);
}

pub(crate) fn quantities() -> Vec<Vec<u8>> {
    crate::seeds_of(["1.5m", "500ms", "200/s", "6000 / m", "99.9%", "64MiB", "1.5GB", "4096 B"])
}
