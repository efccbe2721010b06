//! Profiles of the sample run, in which the database has less to do and the kernel more.

use temblor_judge::{MissingProfile, PhaseProfile, ProfileComparison, ProfileResult};
use temblor_profile::{Builder, Label, LabelValue, Profile, ValueType};
use temblor_report::ProfileFile;

/// What the judge says of them, and what a report found in them.
pub(super) fn results() -> Vec<ProfileResult> {
    let of = |phase: &str, samples, samples_to_root, seconds| PhaseProfile {
        phase: phase.to_owned(),
        file: format!("profiles/cpu-{phase}.pb.gz"),
        samples,
        samples_to_root,
        seconds,
    };
    vec![ProfileResult {
        kind: "cpu".to_owned(),
        rate_hz: Some(99),
        attach_seconds: Some(0.713),
        naming_seconds: Some(0.304),
        samples_lost: Some(3),
        phases: vec![of("baseline", 1_200, 1_194, 20.002), of("fault", 900, 897, 30.037)],
        missing: vec![MissingProfile {
            phases: vec!["recovery".to_owned()],
            why: "no samples in 17.8 s: nothing of the targets was on a processor".to_owned(),
        }],
        comparisons: vec![ProfileComparison {
            base: "baseline".to_owned(),
            new: "fault".to_owned(),
            changes: vec![
                "trading-api: tcp_retransmit_timer: 9.1ms a second instead of 0, +15.2 % of what \
                 the base took (+11.0 to +19.7)"
                    .to_owned(),
            ],
            notes: vec!["postgres: too few samples to say anything (41 and 12)".to_owned()],
        }],
    }]
}

/// The files.
pub(crate) fn files() -> Vec<ProfileFile> {
    let file = |phase: &str, profile| ProfileFile {
        file: format!("profiles/cpu-{phase}.pb.gz"),
        profile: Ok(profile),
    };
    vec![
        file(
            "baseline",
            profile(20_002, &[("orders", 700), ("journal", 400), ("exec_query", 100)]),
        ),
        file("fault", profile(30_037, &[("orders", 500), ("tcp_retransmit_timer", 400)])),
    ]
}

/// Of stacks that are all called by `main`, on behalf of the API; PostgreSQL runs queries.
fn profile(lasted_ms: i64, leaves: &[(&str, i64)]) -> Profile {
    const PERIOD_NS: i64 = 1_000_000_000 / 99;
    let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
    let mut builder = Builder::new(types);
    let root = builder.named("main");
    for (leaf, samples) in leaves {
        let service = if leaf.contains("query") { "postgres" } else { "trading-api" };
        let value = LabelValue::Text(service.to_owned());
        let labels = vec![Label { key: "service".to_owned(), value }];
        let leaf = builder.named(leaf);
        builder.sample(vec![leaf, root], &[*samples, samples * PERIOD_NS], labels);
    }
    let mut profile = builder.finish();
    profile.default_type = "cpu".to_owned();
    profile.period = PERIOD_NS;
    profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    profile.duration_ns = lasted_ms * 1_000_000;
    profile
}
