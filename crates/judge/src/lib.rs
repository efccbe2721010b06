//! From events to phases, detection, recovery and a verdict: arithmetic and nothing else.
//!
//! No I/O, no clock, no thread. This is where people will doubt us.
//!
//! Times count from the injection of the first fault; in a run in which nothing was injected,
//! from its first event. What each figure means is defined where it is computed: the phases'
//! windows in `phases`, load figures in `load`, the audit in `ledger`, `detection`, `recovery`,
//! steadiness in `steady`, the verdict in `verdict`. Nothing here knows how an event came to be.

mod answers;
mod causes;
mod cross_checks;
mod detection;
mod doses;
mod edges;
mod evidence;
mod expectations;
mod faults;
pub mod human;
mod kernel_figures;
mod ledger;
mod load;
mod log;
mod phases;
mod profiles;
mod recovery;
mod result;
mod scripts;
mod sentences;
mod series;
mod services;
mod services_result;
mod sides;
mod steady;
mod stories;
pub mod tcp_names;
mod tcp_table;
mod timeline;
mod timeline_process;
mod timeline_tcp;
mod verdict;

use temblor_event::{Body, Event, RunStarted};

use crate::expectations::Figures;
use crate::load::Load;
use crate::log::{Log, seconds_between};
use crate::recovery::Recovery;
use crate::services::Services;
use crate::sides::Sides;

pub use doses::{dose_figure, verdict_words};
pub use evidence::shed_line;
pub use profiles::{MissingProfile, PhaseProfile, ProfileComparison, ProfileResult};
pub use result::{
    Answer, CauseCount, CheckFigures, ConnectionStory, CostResult, CrossCheck, DoseLevel, EdgeEnd,
    EdgePhase, EdgeResult, Evidence, ExpectationResult, ExperimentName, FaultResult, FigureUnit,
    GaugeFigures, KernelFigure, LedgerResult, LoadAccount, LoadFigures, PhaseResult, ProbeResult,
    RESULT_VERSION, RecoveryResult, Retransmission, RttFigures, RunResult, TcpPeerFigures,
    TimelineEntry, TimelineKind, Uncompared, Verdict,
};
pub use scripts::{ScriptEndResult, ScriptResult};
pub use series::{LoadPoint, Series};
pub use services_result::{Outage, ServiceStep, ServiceStepKind, ServiceStory, ServicesResult};
pub use steady::SteadyWatch;
pub use tcp_table::TcpTable;
pub use timeline_process::{
    ended as process_ended, exit_line as process_exit_line, restart_line as process_restart_line,
    signal_line as process_signal_line,
};

/// A run, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What is said of it: `result.json`.
    pub result: RunResult,
    /// The same second by second, for plots.
    pub series: Series,
}

/// Why events cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No event says what was to be done.
    #[error("the events have no `run.started`: there is nothing to judge them by")]
    NoStart,
}

/// Judges a run. The events may come in any order.
pub fn judge(events: &[Event]) -> Result<Judged, JudgeError> {
    let log = &Log::new(events).ok_or(JudgeError::NoStart)?;
    let windows = &phases::windows(log);
    let load = &Load::new(log, windows);
    let steady = &steady_watch(events, log.started.get(), load);
    let sides = &Sides::new(log);

    let faults = faults::results(log, sides);
    let ledger = ledger::audit(log);
    let load_account = load::account(log);
    let application = detection::application(log, windows, load);
    let kernel = detection::kernel(log, sides);
    let services = Services::new(log);
    let recovery = Recovery::new(log, sides, steady, kernel.as_ref(), &services);
    let recovery_seconds = recovery.result();
    let services = services.result(log, &faults, &recovery);
    let stories = stories::stories(log, sides);
    let (cross_checks, uncompared) =
        cross_checks::results(log, ledger.as_ref(), load_account.as_ref());

    let since_injection =
        |sign: &Option<detection::Sign>| sign.as_ref().map(|sign| log.since_injection(sign.t_ns));
    let figures = Figures {
        load,
        windows,
        ledger: ledger.as_ref(),
        detection_seconds: since_injection(&application),
        recovery: &recovery_seconds,
        services: &services,
    };
    let expectations = figures.judge(&log.started.expect);
    let steady_state = figures.judge_baseline(&log.started.steady_state);
    let (verdict, reasons) = verdict::verdict(&verdict::Findings {
        log,
        faults: &faults,
        account: load_account.as_ref(),
        ledger: ledger.as_ref(),
        steady_state: &steady_state,
        expectations: &expectations,
        cross_checks: &cross_checks,
    });
    let timeline = timeline::timeline(&timeline::Sources {
        log,
        windows,
        sides,
        steady,
        faults: &faults,
        stories: &stories,
        application: application.as_ref(),
        kernel: kernel.as_ref(),
        recovery: &recovery,
        ledger: ledger.as_ref(),
    });
    let answers = answers::answers(&answers::Sources {
        log,
        windows,
        sides,
        figures: &figures,
        faults: &faults,
        stories: &stories,
        application: application.as_ref(),
        kernel: kernel.as_ref(),
        recovery: &recovery,
        services: &services,
        ledger: ledger.as_ref(),
    });
    let evidence = evidence::evidence(log, windows, stories);
    let started = log.started.get();
    let result = RunResult {
        version: RESULT_VERSION,
        temblor: started.temblor.clone(),
        verdict,
        reasons,
        experiment: ExperimentName { name: started.name.clone(), title: started.title.clone() },
        started: log.wall_time(log.started.t_ns),
        duration_seconds: seconds_between(log.started.t_ns, log.last_ns),
        seed: started.seed,
        host: started.host.clone(),
        load: started.load.clone(),
        load_account,
        phases: phases::results(log, windows, load),
        timeline,
        ledger,
        detection_seconds: since_injection(&application),
        kernel_detection_seconds: since_injection(&kernel),
        recovery_seconds,
        faults,
        expectations,
        steady_state,
        cost: evidence::cost(log, &evidence.probes),
        evidence,
        cross_checks,
        hypothesis: started.hypothesis.clone().filter(|words| !words.trim().is_empty()),
        answers,
        services,
        uncompared,
        scripts: scripts::results(log),
        profiles: profiles::results(log, windows),
    };
    Ok(Judged { result, series: series::series(log, load) })
}

/// The seconds' figures are known here: their histograms need not be read once more.
fn steady_watch(events: &[Event], started: &RunStarted, load: &Load) -> SteadyWatch {
    let mut watch = SteadyWatch::new(started);
    for event in events.iter().filter(|event| !matches!(event.body, Body::LoadSecond(_))) {
        watch.push(event);
    }
    for (start_ns, figures) in &load.seconds {
        watch.push_second(*start_ns, figures);
    }
    watch
}
