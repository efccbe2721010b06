//! JUnit: what CI systems read. A suite is an experiment, a case is one thing that must hold.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};
use temblor_judge::{CrossCheck, ExpectationResult, FaultResult, LoadAccount, RunResult, Verdict};

use crate::content::expected::{bound, observed};
use crate::content::verdict_name;
use crate::number::{self, NOT_OBSERVED};

pub(crate) fn render(result: &RunResult) -> Result<String, SerializeError> {
    let name = result.experiment.name.as_str();
    let time = Duration::try_from_secs_f64(result.duration_seconds).unwrap_or_default();
    let mut suite = TestSuite::new(name);
    suite.set_time(time);
    for (key, value) in properties(result) {
        suite.add_property(Property::new(key, value));
    }
    suite.add_test_case(validity(result));
    for expected in &result.expectations {
        suite.add_test_case(expectation("expectations", name, expected));
    }
    for expected in &result.steady_state {
        suite.add_test_case(expectation("steady state", name, expected));
    }
    for check in &result.cross_checks {
        suite.add_test_case(cross_check(name, check));
    }
    for fault in &result.faults {
        suite.add_test_case(effect(name, fault));
    }
    if let Some(account) = &result.load_account {
        suite.add_test_case(delivery(name, account, result.verdict));
    }
    let mut report = Report::new("temblor");
    report.set_time(time);
    report.add_test_suite(suite);
    report.to_string()
}

/// The verdicts that say something of the run, not of the system, are errors and not failures.
fn validity(result: &RunResult) -> TestCase {
    let mut status = TestCaseStatus::success();
    if matches!(result.verdict, Verdict::Invalid | Verdict::Aborted | Verdict::Leak) {
        status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(verdict_name(result.verdict));
        status.set_message(result.reasons.first().map_or("no reason was given", String::as_str));
        status.set_description(result.reasons.join("\n"));
    }
    let mut case =
        case("the run is complete, valid and left nothing behind", "run", result, status);
    case.set_system_out(result.reasons.join("\n"));
    case
}

fn case(name: &str, group: &str, result: &RunResult, status: TestCaseStatus) -> TestCase {
    named(name, group, &result.experiment.name, status)
}

fn named(name: &str, group: &str, experiment: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("{experiment}.{group}"));
    case.set_assertions(1);
    case
}

/// A success, or a non-success of this kind that says why.
fn status(good: bool, kind: NonSuccessKind, ty: &str, message: &str) -> TestCaseStatus {
    if good {
        return TestCaseStatus::success();
    }
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty);
    status.set_message(message);
    status
}

fn expectation(group: &str, experiment: &str, expected: &ExpectationResult) -> TestCase {
    let said = format!(
        "{} over {}: {}, expected {}",
        expected.condition.figure,
        expected.during.as_deref().unwrap_or("the whole run"),
        observed(expected),
        bound(&expected.condition)
    );
    let status = status(expected.held, NonSuccessKind::Failure, "did not hold", &said);
    let mut case = named(&expected.name, group, experiment, status);
    case.set_system_out(said);
    case
}

fn cross_check(experiment: &str, check: &CrossCheck) -> TestCase {
    let said = format!(
        "{}: {} by {}, {} by {}",
        check.what,
        number::plain(check.ours),
        check.our_source,
        number::plain(check.theirs),
        check.their_source
    );
    let status = status(check.agrees, NonSuccessKind::Failure, "sources differ", &said);
    let mut case = named(&check.what, "cross-checks", experiment, status);
    case.set_system_out(said);
    case
}

fn effect(experiment: &str, fault: &FaultResult) -> TestCase {
    let effect = &fault.effect;
    let said = format!("{} {} by {}", number::count(effect.count), effect.measure, effect.source);
    let status = status(effect.count > 0, NonSuccessKind::Error, "no effect", &said);
    let mut case =
        named(&format!("the fault {} had an effect", fault.name), "faults", experiment, status);
    case.set_system_out(said);
    case
}

/// How much may stay unsent is the judge's to say: here, only an invalid run's load was not
/// delivered. An account that does not add up is wrong in any case.
fn delivery(experiment: &str, account: &LoadAccount, verdict: Verdict) -> TestCase {
    let said = format!(
        "{} planned = {} acknowledged + {} failed + {} unsure ({} of them timed out) + {} unsent; \
         the account {}",
        number::count(account.planned),
        number::count(account.ok),
        number::count(account.failed),
        number::count(account.unsure),
        number::count(account.timed_out),
        number::count(account.unsent),
        if account.balanced { "balances" } else { "does not balance" }
    );
    let delivered = account.balanced && !(verdict == Verdict::Invalid && account.unsent > 0);
    let status = status(delivered, NonSuccessKind::Error, "not delivered", &said);
    let mut case = named("the load was delivered", "load", experiment, status);
    case.set_system_out(said);
    case
}

fn properties(result: &RunResult) -> Vec<(String, String)> {
    let seconds = |v: Option<f64>| v.map_or_else(|| NOT_OBSERVED.to_owned(), |v| v.to_string());
    let count = |v: Option<u64>| v.map_or_else(|| NOT_OBSERVED.to_owned(), |v| v.to_string());
    let mut all = vec![
        ("verdict".to_owned(), verdict_name(result.verdict).to_owned()),
        ("title".to_owned(), result.experiment.title.clone()),
        ("started".to_owned(), result.started.clone()),
        ("temblor".to_owned(), result.temblor.clone()),
        ("kernel".to_owned(), result.host.kernel.clone()),
        ("seed".to_owned(), result.seed.to_string()),
        ("detection_seconds".to_owned(), seconds(result.detection_seconds)),
        ("kernel_detection_seconds".to_owned(), seconds(result.kernel_detection_seconds)),
        ("recovery_seconds.first".to_owned(), seconds(result.recovery_seconds.first)),
        (
            "recovery_seconds.backlog_drained".to_owned(),
            seconds(result.recovery_seconds.backlog_drained),
        ),
        ("recovery_seconds.full".to_owned(), seconds(result.recovery_seconds.full)),
    ];
    if let Some(ledger) = &result.ledger {
        let figures = [
            ("attempted", Some(ledger.attempted)),
            ("acknowledged", Some(ledger.acknowledged)),
            ("stored", ledger.stored),
            ("lost", ledger.lost),
            ("duplicated", ledger.duplicated),
            ("unexpected", ledger.unexpected),
            ("unsure", Some(ledger.unsure)),
            ("recovered", ledger.recovered),
        ];
        all.extend(figures.map(|(name, value)| (format!("ledger.{name}"), count(value))));
    }
    for phase in &result.phases {
        let load = phase.load.as_ref();
        let figures = [
            ("success", load.and_then(|l| l.success)),
            ("throughput_per_second", load.map(|l| l.throughput_per_second)),
            ("p50_seconds", load.and_then(|l| l.p50_seconds)),
            ("p99_seconds", load.and_then(|l| l.p99_seconds)),
        ];
        all.extend(figures.map(|(name, v)| (format!("phase.{}.{name}", phase.name), seconds(v))));
        all.push((
            format!("phase.{}.retransmitted_segments", phase.name),
            count(phase.retransmitted_segments),
        ));
    }
    all
}
