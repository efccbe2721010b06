//! The sample with more going on: a latency that is ramped up, services that are killed one after
//! the other and come back, doses that were measured, questions of every kind.

use temblor_event::{DoseSeen, Effect};
use temblor_judge::{
    Answer, DoseLevel, FaultResult, Judged, Outage, ServiceStep, ServiceStepKind, ServiceStory,
    ServicesResult,
};

use super::map;

/// The sample with two kinds of faults and three services that go away.
pub(crate) fn cascade() -> Judged {
    let mut judged = super::judged();
    let result = &mut judged.result;
    result.experiment.name = "cascade".to_owned();
    result.experiment.title = "Everything behind the proxy goes, one after the other".to_owned();
    result.hypothesis = Some(
        "The exchange comes back by itself, in the order of its dependencies, within a minute, and \
         loses no acknowledged order."
            .to_owned(),
    );
    result.faults = vec![latency(), kill(2, "postgres", 8.0), kill(3, "redis", 12.0)];
    result.services = services();
    result.recovery_seconds.services = Some(1.2);
    result.answers = vec![
        Answer {
            question: "In which order do the services come back?".to_owned(),
            found: vec![
                "postgres: exited, signal 9 (SIGKILL) at +8.0 s; started again at +8.3 s; well at \
                 +12.1 s: away for 4.1 s"
                    .to_owned(),
                "order of exits: postgres +8.0 s, redis +12.0 s, trading-api +12.2 s".to_owned(),
            ],
        },
        Answer {
            question: "How much slower does it get?".to_owned(),
            found: vec![
                "p99: 6.9 ms in baseline → 118 ms in fault (×17.1) → 21 ms in recovery (×3)"
                    .to_owned(),
            ],
        },
    ];
    judged
}

fn latency() -> FaultResult {
    let dose = |what: &str, unit: &str, asked, observed, within, samples, source: &str| DoseSeen {
        what: what.to_owned(),
        unit: unit.to_owned(),
        asked,
        observed,
        within,
        samples,
        source: source.to_owned(),
    };
    FaultResult {
        name: "network.latency".to_owned(),
        dose: map([
            ("from", "trading-api".to_owned()),
            ("to", "postgres".to_owned()),
            ("delay", "100 ms".to_owned()),
        ]),
        mechanism: "a queue of this process's own in the network namespace of trading-api"
            .to_owned(),
        undone_by: "the kernel: the queue's rules let packets pass when nobody reads it".to_owned(),
        effect: Effect {
            measure: "packets delayed".to_owned(),
            count: 48_211,
            source: "nftables rule counters in the namespace of trading-api".to_owned(),
            parts: Vec::new(),
            doses: vec![
                dose(
                    "added round-trip time",
                    "ms",
                    100.0,
                    Some(101.3),
                    5.0,
                    1_204,
                    "time stamps of a raw socket in postgres' namespace",
                ),
                dose("jitter", "ms", 0.0, Some(1.8), 1.0, 1_204, "the same time stamps"),
                dose(
                    "bandwidth",
                    "bytes/s",
                    1_048_576.0,
                    None,
                    52_428.8,
                    0,
                    "byte counters of the link",
                ),
            ],
        },
        injected_seconds: 0.0,
        reverted_seconds: Some(30.004),
        apply_seconds: 0.012,
        revert_seconds: Some(0.004_1),
        verified_gone: true,
        id: 1,
        services: vec!["postgres".to_owned(), "trading-api".to_owned()],
        levels: [(0.02, 0.25), (5.0, 0.5), (10.0, 0.75), (15.0, 1.0)]
            .map(|(t_seconds, level)| DoseLevel { t_seconds, level })
            .to_vec(),
    }
}

fn kill(id: u32, service: &str, at: f64) -> FaultResult {
    FaultResult {
        name: "process.kill".to_owned(),
        dose: map([("target", service.to_owned()), ("signal", "SIGKILL".to_owned())]),
        mechanism: "the signal, through a handle on the process (pidfd)".to_owned(),
        undone_by: "nobody: a process that has ended does not come back by itself".to_owned(),
        effect: Effect {
            measure: "processes ended".to_owned(),
            count: 1,
            source: "the kernel's end of the process handle".to_owned(),
            ..Effect::default()
        },
        injected_seconds: at,
        reverted_seconds: Some(at + 0.003),
        apply_seconds: 0.001_2,
        revert_seconds: Some(0.000_01),
        verified_gone: true,
        id,
        services: vec![service.to_owned()],
        levels: Vec::new(),
    }
}

fn services() -> ServicesResult {
    let story =
        |service: &str, faults: &[&str], began: &str, from, started, to: f64| ServiceStory {
            service: service.to_owned(),
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
            exits: 1,
            restarts: 1,
            outages: vec![Outage {
                from_seconds: from,
                began: began.to_owned(),
                started_seconds: Some(started),
                to_seconds: Some(to),
                ended: "well".to_owned(),
                length_seconds: Some(to - from),
                source: "the process itself (pidfd)".to_owned(),
            }],
        };
    let killed = "exited, signal 9 (SIGKILL)";
    let stories = vec![
        story("postgres", &["network.latency", "process.kill"], killed, 8.001, 8.31, 12.1),
        story("redis", &["process.kill"], killed, 12.0, 12.24, 12.9),
        story("trading-api", &["network.latency"], "exited, exit code 1", 12.2, 12.6, 31.2),
    ];
    let mut order: Vec<ServiceStep> = stories
        .iter()
        .flat_map(|story| {
            let away = &story.outages[0];
            [
                (away.from_seconds, ServiceStepKind::Exited),
                (away.started_seconds.unwrap_or(0.0), ServiceStepKind::Started),
                (away.to_seconds.unwrap_or(0.0), ServiceStepKind::Well),
            ]
            .map(|(t_seconds, step)| ServiceStep {
                t_seconds,
                service: story.service.clone(),
                step,
                source: "the lab's health check".to_owned(),
            })
        })
        .collect();
    order.sort_by(|a, b| a.t_seconds.total_cmp(&b.t_seconds));
    ServicesResult {
        watched: true,
        stories,
        order,
        restarts: Some(3),
        outage_seconds: Some(19.0),
        well_after_injection_seconds: Some(31.2),
        steady_after_injection_seconds: Some(34.504),
    }
}
