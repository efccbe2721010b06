//! Profiles of the phases: each that was asked for is there, or its reason is.

use temblor_event::{
    Body, Event, Hook, PhaseRole, ProbeCost, ProbeLost, ProfileEnded, ProfileKept, ProfileMissing,
    ProfileStarted, ProgramCost,
};
use temblor_judge::{ProfileResult, RunResult, Verdict};

use crate::good_run::{good_run, judged, ms};

fn with(bodies: Vec<Body>) -> RunResult {
    let mut events = good_run();
    let at = |(i, body)| Event { t_ns: ms(100_002) + i as u64, body };
    events.extend(bodies.into_iter().enumerate().map(at));
    judged(&events).result
}

fn begun() -> ProfileStarted {
    let hook = Hook { sees: "stacks".into(), hook: "perf_event/cpu-clock".into() };
    ProfileStarted {
        kind: "cpu".into(),
        probe: "profile cpu".into(),
        phases: ["baseline", "fault", "recovery"].map(String::from).to_vec(),
        rate_hz: Some(99),
        hooks: vec![hook],
        attach_ns: 500_000_000,
    }
}

fn kept(phase: &str) -> ProfileKept {
    ProfileKept {
        kind: "cpu".into(),
        phase: phase.into(),
        file: format!("profiles/cpu-{phase}.pb.gz"),
        samples: 7,
        samples_to_root: 6,
        lasted_ns: 2_000_000_000,
    }
}

fn missing(phases: &[&str], why: &str) -> ProfileMissing {
    let phases = phases.iter().map(|phase| (*phase).to_owned()).collect();
    ProfileMissing { kind: "cpu".into(), phases, why: why.into() }
}

fn reasons(cpu: &ProfileResult) -> Vec<(&str, &str)> {
    let reasons = cpu.missing.iter();
    reasons.flat_map(|m| m.phases.iter().map(|phase| (&phase[..], &m.why[..]))).collect()
}

#[test]
fn each_phase_that_was_asked_for_has_a_profile_or_a_reason() {
    assert_eq!(with(Vec::new()).profiles, []);
    let result = with(vec![
        begun().into(),
        kept("baseline").into(),
        missing(&["fault"], "no samples").into(),
    ]);
    assert_eq!(result.verdict, Verdict::Pass, "no verdict hangs on a profile");
    let [cpu] = &result.profiles[..] else { panic!("{:?}", result.profiles) };
    assert_eq!((cpu.rate_hz, cpu.attach_seconds), (Some(99), Some(0.5)));
    assert_eq!((cpu.phases[0].seconds, cpu.phases[0].samples_to_root), (2.0, 6));
    let cut_off = "the run was cut off before it was written";
    assert_eq!(reasons(cpu), [("fault", "no samples"), ("recovery", cut_off)]);
    assert_eq!((cpu.samples_lost, cpu.naming_seconds), (None, None));

    let result = with(vec![missing(&["baseline", "fault"], "not here").into()]);
    let [cpu] = &result.profiles[..] else { panic!("{:?}", result.profiles) };
    assert_eq!((cpu.rate_hz, cpu.attach_seconds), (None, None));
    assert_eq!(reasons(cpu), [("baseline", "not here"), ("fault", "not here")]);
}

#[test]
fn what_it_cost_stands_among_what_the_probes_cost() {
    let plain = with(Vec::new());
    let program = ProgramCost { program: "sample".into(), runs: 13, run_ns: 5_000_000 };
    let cost = ProbeCost {
        probe: "profile cpu".into(),
        programs: vec![program],
        events: 13,
        floor_ns: None,
        map_bytes: 1 << 20,
    };
    let ended = ProfileEnded { kind: "cpu".into(), samples_lost: 2, naming_ns: 300_000_000 };
    let result = with(vec![
        begun().into(),
        ProbeLost { probe: "profile cpu".into(), events: 2 }.into(),
        cost.into(),
        ended.into(),
    ]);
    let probe = |p: &&temblor_judge::ProbeResult| p.probe == "profile cpu";
    let probe = result.evidence.probes.iter().find(probe).unwrap();
    assert_eq!((probe.events, probe.events_lost, &probe.hooks), (13, 2, &begun().hooks));
    assert_eq!(result.cost.events_lost, plain.cost.events_lost + 2);
    let more = result.cost.bpf_seconds.unwrap() - plain.cost.bpf_seconds.unwrap();
    assert!((more - 0.005).abs() < 1e-9, "{more}");
    assert_eq!(
        (result.profiles[0].samples_lost, result.profiles[0].naming_seconds),
        (Some(2), Some(0.3))
    );
}

#[test]
fn the_last_profile_before_the_fault_is_held_against_each_one_with_it() {
    let phases = ["recovery", "fault", "baseline"];
    let bodies = phases.map(|phase| kept(phase).into());
    let result = with([begun().into()].into_iter().chain(bodies).collect());
    let cpu = &result.profiles[0];
    let names: Vec<&str> = cpu.phases.iter().map(|profile| &*profile.phase).collect();
    assert_eq!(names, ["baseline", "fault", "recovery"], "in the order of the run");
    let role = |name: &str| match name {
        "baseline" => Some(PhaseRole::Baseline),
        "fault" => Some(PhaseRole::Fault),
        _ => Some(PhaseRole::Recovery),
    };
    assert_eq!(cpu.pairs(role), [(0, 1)]);
    assert_eq!(cpu.pairs(|_| Some(PhaseRole::Baseline)), []);
    assert_eq!(cpu.pairs(|_| Some(PhaseRole::Fault)), []);
}
