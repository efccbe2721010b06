//! JUnit: what CI systems read. A suite is an experiment, a case is one thing that must hold.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};
use temblor_event::{DoseSeen, PhaseRole};
use temblor_judge::{
    CrossCheck, ExpectationResult, FaultResult, LoadAccount, RunResult, Verdict, dose_figure,
    verdict_words,
};

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
        suite.add_test_case(expectation("expectations", "the whole run", name, expected));
    }
    for expected in &result.steady_state {
        suite.add_test_case(expectation("steady state", "the baseline", name, expected));
    }
    for check in &result.cross_checks {
        suite.add_test_case(cross_check(name, check));
    }
    for counter in &result.uncompared {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("{} ({})", counter.why, counter.source));
        suite.add_test_case(named(&counter.what, "cross-checks", name, status));
    }
    for fault in &result.faults {
        let called = called(fault, &result.faults);
        suite.add_test_case(effect(name, &called, fault));
        for seen in &fault.effect.doses {
            suite.add_test_case(dose(name, &called, seen));
        }
    }
    if result.faults.is_empty() && result.phases.iter().any(|p| p.role == PhaseRole::Fault) {
        let why = "no fault was put in place, though there is a phase of fault";
        let status = status(false, NonSuccessKind::Error, "no effect", why);
        suite.add_test_case(named("a fault had an effect", "faults", name, status));
    }
    if result.load.is_some() || result.load_account.is_some() {
        suite.add_test_case(delivery(name, result.load_account.as_ref()));
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
    let name = "the run is complete, valid and left nothing behind";
    let mut case = named(name, "run", &result.experiment.name, status);
    case.set_system_out(result.reasons.join("\n"));
    case
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

/// `over`: what is meant where no phase is named.
fn expectation(
    group: &str,
    over: &str,
    experiment: &str,
    expected: &ExpectationResult,
) -> TestCase {
    let said = format!(
        "{} over {}: {}, expected {}",
        expected.condition.figure,
        expected.during.as_deref().unwrap_or(over),
        observed(expected),
        bound(&expected.condition)
    );
    let status = status(expected.held, NonSuccessKind::Failure, "did not hold", &said);
    // Two conditions may share the author's words; consumers tell cases by their names alone.
    let name = match &expected.during {
        None => format!(
            "{}: {} {}",
            expected.name,
            expected.condition.figure,
            bound(&expected.condition)
        ),
        Some(during) => format!(
            "{}: {} {} over {during}",
            expected.name,
            expected.condition.figure,
            bound(&expected.condition)
        ),
    };
    let mut case = named(&name, group, experiment, status);
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
    // The verdict does not hang on it (a service that was restarted counts anew), so it must not
    // turn a job red whose run has passed; it is marked all the same.
    let mut status = TestCaseStatus::success();
    if !check.agrees {
        status = TestCaseStatus::skipped();
        status.set_message(format!("the two sources differ: {said}"));
    }
    let mut case = named(&check.what, "cross-checks", experiment, status);
    case.set_system_out(said);
    case
}

/// Two faults may share a name; consumers tell cases by their names alone.
fn called(fault: &FaultResult, faults: &[FaultResult]) -> String {
    if faults.len() > 1 { format!("{} {}", fault.id, fault.name) } else { fault.name.clone() }
}

/// The verdict does not hang on a dose that is off: it is marked, and turns nothing red.
fn dose(experiment: &str, fault: &str, dose: &DoseSeen) -> TestCase {
    let figure = |value: f64| dose_figure(value, &dose.unit);
    let said = format!(
        "asked {}, observed {}, may differ by {}, {} samples by {}: {}",
        figure(dose.asked),
        dose.observed.map_or_else(|| NOT_OBSERVED.to_owned(), figure),
        figure(dose.within),
        number::count(dose.samples),
        dose.source,
        verdict_words(dose)
    );
    let mut status = TestCaseStatus::success();
    if dose.holds() != Some(true) {
        status = TestCaseStatus::skipped();
        status.set_message(said.clone());
    }
    let name = format!("the dose of {fault} is as asked: {}", dose.what);
    let mut case = named(&name, "faults", experiment, status);
    case.set_system_out(said);
    case
}

fn effect(experiment: &str, called: &str, fault: &FaultResult) -> TestCase {
    let effect = &fault.effect;
    let said = format!("{} by {}", number::counted(effect.count, &effect.measure), effect.source);
    let status = status(effect.count > 0, NonSuccessKind::Error, "no effect", &said);
    let mut case =
        named(&format!("the fault {called} had an effect"), "faults", experiment, status);
    case.set_system_out(said);
    case
}

fn delivery(experiment: &str, account: Option<&LoadAccount>) -> TestCase {
    let (delivered, said) = match account {
        None => (false, "the load gave no closing account".to_owned()),
        Some(account) => (account.delivered(), equation(account)),
    };
    let status = status(delivered, NonSuccessKind::Error, "not delivered", &said);
    let mut case = named("the load was delivered", "load", experiment, status);
    case.set_system_out(said);
    case
}

fn equation(account: &LoadAccount) -> String {
    format!(
        "{} planned = {} acknowledged + {} failed + {} unsure ({} of them timed out) + {} unsent; \
         the account {}",
        number::count(account.planned),
        number::count(account.ok),
        number::count(account.failed),
        number::count(account.unsure),
        number::count(account.timed_out),
        number::count(account.unsent),
        if account.balanced { "balances" } else { "does not balance" }
    )
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
        ("recovery_seconds.services".to_owned(), seconds(result.recovery_seconds.services)),
        ("services.restarts".to_owned(), count(result.services.restarts)),
        ("services.outage_seconds".to_owned(), seconds(result.services.outage_seconds)),
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
    for script in &result.scripts {
        let ended = script.ended.as_ref();
        let name = |what: &str| format!("script.{}.{what}", script.name);
        all.push((name("lines"), count(ended.map(|ended| ended.lines))));
        let status = ended.map_or_else(|| NOT_OBSERVED.to_owned(), |ended| ended.status.clone());
        all.push((name("ended"), status));
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
