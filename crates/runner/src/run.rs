//! One run, from its first event to its last.
//!
//! The order is what makes the evidence whole: probes before the first counter is read, the
//! counters before the load, the load before the baseline; and on the way out the faults first,
//! then the load, then the ledger, the counters, the probes.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use temblor_event::{
    Aborted, Cost, CounterWhen, Event, LoadPlan, PhaseMark, PhasePlan, RunEnded, RunStarted,
    SCHEMA, clock,
};
use temblor_faults::undo::Guard;
use temblor_lab::{Options as LabOptions, State as LabState};
use temblor_load::{Arrivals, Load, Running as RunningLoad, Settings as LoadSettings};
use temblor_plan::{Experiment, Phase};
use temblor_probes::{Budget, Probe, Running as RunningProbe};
use temblor_runs::{RunDir, RunError, Writer};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::abort::AbortWatch;
use crate::counters::CounterOf;
use crate::error::RunnerError;
use crate::hold;
use crate::http::Http;
use crate::injection::{self, InPlace};
use crate::lock::RunLock;
use crate::prepare::{self, Faults};
use crate::probe::Probes;
use crate::profiles::Profiles;
use crate::progress::{Standing, Update};
use crate::recorder::Recorder;
use crate::schedule::{Action, Schedule};
use crate::scripts::{self, ScriptText, Scripts};
use crate::services::Services;
use crate::stop::Stop;
use crate::targets::Targets;
use crate::{counters, ledger, probe, watch};

const SECOND_NS: u64 = 1_000_000_000;

/// Load that runs before the first phase: connections are opened and caches warm, so that the
/// baseline is one. Whole seconds, because figures are kept per second of load.
const WARM_UP_SECONDS: u64 = 2;

/// Requests under way at once; the thousands that a stalled server piles up at a few hundred a
/// second within the time-out fit.
const IN_FLIGHT_MAX: usize = 4096;

/// How much longer than planned a run may hold its faults before the guardian takes it to hang.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// How often a fault's counters are read, nanoseconds.
const EFFECT_EVERY_NS: u64 = SECOND_NS;

/// Where the run directory goes.
#[derive(Debug, Clone)]
pub enum Out {
    /// A new directory with a name of its own under this one.
    Under(PathBuf),
    /// This directory, which must not exist yet or be empty.
    At(PathBuf),
}

/// Where changes are written down, and who undoes them if this program dies.
#[derive(Debug, Clone)]
pub struct UndoSettings {
    /// The directory of the undo journals.
    pub dir: PathBuf,
    /// Gives the command that becomes a guardian.
    pub guardian: fn() -> Command,
}

/// What is to be carried out, and how.
pub struct Settings {
    /// The experiment.
    pub experiment: Experiment,
    /// Its bpftrace scripts, as they were read.
    pub scripts: Vec<ScriptText>,
    /// Where to.
    pub out: Out,
    /// Seeds arrivals and orders.
    pub seed: u64,
    /// The lab, where the experiment wants one.
    pub lab: Option<LabState>,
    /// Where the lab's state is read again while the run lasts.
    pub lab_options: Option<LabOptions>,
    /// Where what is changed is written down, and who undoes it if this program dies.
    pub undo: UndoSettings,
    /// Where the locks lie that keep others off the targets.
    pub lock_dir: PathBuf,
    /// Ends the run early.
    pub stop: Stop,
}

/// Carries the experiment out and gives the run directory. The run is judged by whoever reads it.
///
/// # Errors
/// The run could not begin: nothing was started, nothing is left. Once it has begun, whatever
/// goes wrong is in its record as the reason why it was aborted.
pub fn run(settings: &Settings, progress: &mut dyn FnMut(Update)) -> Result<PathBuf, RunnerError> {
    let experiment = &settings.experiment;
    hold::refuse_open_journals(&settings.undo.dir)?;
    let targets = Targets::find(experiment, settings.lab.as_ref(), settings.seed)?;
    let _locks = RunLock::take_all(&settings.lock_dir, &targets.lock_names(experiment))?;
    // Everything that can be refused is refused before anything is started.
    let faults = experiment
        .phases
        .iter()
        .map(|phase| {
            phase.inject.iter().map(|f| prepare::prepare(f, &targets, settings.seed)).collect()
        })
        .collect::<Result<Vec<Vec<_>>, _>>()?;
    let load_url = experiment
        .load
        .as_ref()
        .map(|load| Ok(format!("http://{}:{}", targets.host(&load.to.target)?, load.to.port)))
        .transpose()?;
    // The load and the checks come from here: so that their connections have a name.
    let here = settings.lab.as_ref().map(|lab| lab.network.host_address.into());
    let here: Vec<_> = here.into_iter().map(|address| (address, "temblor".to_owned())).collect();
    let probes = probe::attach(&experiment.observe, &targets.all(), &here)?;
    // Attached is what proves that a script can be run: still nothing of the run has begun.
    let scripts = Scripts::start(&settings.scripts, &settings.stop)?;
    // Not after the guardian, which takes a run for one that hangs when it lasts too long.
    let profiles = Profiles::start(experiment, &targets.all(), &settings.stop);
    let guard = start_guard(&settings.undo, run_length(experiment))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("watch")
        .enable_all()
        .build()
        .map_err(|e| RunnerError::failed("the event loop could not be started")(e.into()))?;

    let yaml = scripts::resolved(experiment).to_yaml();
    let writer = match &settings.out {
        Out::Under(parent) => Writer::create(parent, &experiment.name, &yaml),
        Out::At(dir) => Writer::create_at(dir, &yaml),
    }
    .map_err(|e| match e {
        RunError::NotEmpty(_) => RunnerError::Input(e.to_string()),
        e => RunnerError::failed("the run directory could not be made")(e.into()),
    })?;
    let recorded = scripts.keep(&writer);
    recorded
        .map_err(|e| RunnerError::failed("the scripts could not be put on record")(e.into()))?;
    let recorder = Recorder::new(writer.sink(), settings.stop.clone());
    let mut run = Run {
        settings,
        targets: &targets,
        faults,
        runtime,
        http: Http::new(),
        recorder,
        progress,
        began_ns: clock::now_ns(),
        used_before: probe::own_cost(),
        watchers: Vec::new(),
        prefix: key_prefix(settings.seed),
        guard: Some(guard),
        in_place: InPlace::default(),
        healed_ns: 0,
        aborts: AbortWatch::new(&experiment.abort),
        services: None,
        scripts,
        profiles,
        dir: writer.dir().clone(),
    };
    run.carry_out(load_url, probes);
    drop(run);
    let dir = writer
        .finish()
        .map_err(|e| RunnerError::failed("the run's record could not be finished")(e.into()))?;
    Ok(dir.path().to_owned())
}

/// The journal and the guardian of a run that lasts at most so long.
pub(crate) fn start_guard(undo: &UndoSettings, within: Duration) -> Result<Guard, RunnerError> {
    Guard::start(&undo.dir, (undo.guardian)(), within).map_err(prepare::not_guarded)
}

/// How long a fault can be in place at most: past this, a run that still holds one hangs.
pub(crate) fn run_length(experiment: &Experiment) -> Duration {
    let phases: Duration = experiment.phases.iter().map(|phase| phase.length).sum();
    phases + Duration::from_secs(WARM_UP_SECONDS) + HANGS_AFTER
}

/// Keys of this run: unique among runs on this machine, and told from everybody else's.
fn key_prefix(seed: u64) -> String {
    format!("tmb-{:x}-{:x}", clock::wall_unix_ns() / SECOND_NS, seed & 0xffff_ffff)
}

struct Run<'a> {
    settings: &'a Settings,
    targets: &'a Targets,
    /// By phase and by fault of the phase: one for each instance of its target.
    faults: Vec<Vec<Faults>>,
    runtime: Runtime,
    http: Http,
    recorder: Recorder,
    progress: &'a mut dyn FnMut(Update),
    began_ns: u64,
    /// What this process had used when the run began: starting a lab is no cost of the run.
    used_before: Cost,
    /// Checks and gauges.
    watchers: Vec<JoinHandle<()>>,
    prefix: String,
    /// Writes down how what is in place is undone.
    /// There as long as anything may be in place.
    guard: Option<Guard>,
    in_place: InPlace,
    /// When the last fault was undone; steadiness counts from there.
    healed_ns: u64,
    aborts: AbortWatch,
    services: Option<Services>,
    /// The user's own, which run along.
    scripts: Scripts,
    profiles: Profiles,
    /// Where the profiles go.
    dir: RunDir,
}

impl Run<'_> {
    fn carry_out(&mut self, load_url: Option<String>, probes: Probes) {
        let experiment = &self.settings.experiment;
        self.record_start(load_url.as_deref());
        self.scripts.record(&self.recorder);
        for why in self.profiles.record(&self.recorder) {
            self.say(&why);
        }
        let Probes { attached, roster } = probes;
        let reading = self.start_reading(attached);
        self.read_counters(CounterWhen::Before);
        let lab = self.settings.lab.as_ref().and(self.settings.lab_options.clone());
        self.services = Some(Services::watch(&self.targets.all(), lab, &self.recorder));
        self.start_watching();
        let load = load_url.and_then(|url| self.start_load(url));
        let start_ns = load.as_ref().map_or_else(clock::now_ns, RunningLoad::start_ns);

        let mut at_ns = start_ns + WARM_UP_SECONDS * SECOND_NS;
        self.say("warming up");
        let mut stopped = self.tick_until(at_ns, None, load.as_ref());
        for (i, phase) in experiment.phases.iter().enumerate() {
            if stopped.is_some() {
                break;
            }
            (stopped, at_ns) = self.phase(phase, i, at_ns, load.as_ref());
        }
        let told = stopped.is_some();
        if let Some(why) = stopped {
            self.say(&format!("aborted: {why}"));
            self.recorder.record(Event::now(Aborted { why }));
        }
        // Whatever happened above, nothing is in place from here on.
        self.in_place.revert(&self.recorder);
        // How long the audit takes is not the guardian's business.
        drop(self.guard.take());
        self.scripts.ask_to_end();
        self.profiles.ask_to_end();

        if let Some(load) = load {
            self.say("waiting for the answers that are still under way");
            if let Err(error) = load.stop() {
                let why = format!("the load's account is not whole: {error}");
                self.recorder.record(Event::now(Aborted { why }));
            }
        }
        self.scripts.end();
        self.audit();
        self.read_counters(CounterWhen::After);
        self.profiles.end(&self.dir, &self.recorder);
        for probe in reading {
            let name = probe.status().probe;
            match probe.stop() {
                Ok(cost) => self.recorder.record(Event::now(cost)),
                Err(error) => {
                    let why = format!("the {name} probe could not be read to its end: {error}");
                    self.recorder.record(Event::now(Aborted { why }));
                }
            }
        }
        if let Some(mut roster) = roster
            && let Err(error) = roster.account(&mut |event| self.recorder.record(event))
        {
            tracing::warn!(%error, "what following the targets' processes cost is not known");
        }
        for left in injection::leftovers(self.targets) {
            self.recorder.record(Event::now(left));
        }
        self.record_cost();
        self.stop_watching();
        self.services = None;
        // Asked to end after the last phase: there was less to cut short, and still it was cut.
        if let Some(why) = self.settings.stop.requested().filter(|_| !told) {
            self.say(&format!("aborted: {why}"));
            self.recorder.record(Event::now(Aborted { why }));
        }
        self.recorder.record(Event::now(RunEnded {}));
    }

    /// Carries out one phase and gives the reason to stop, if there is one, and the phase's end.
    fn phase(
        &mut self,
        phase: &Phase,
        index: usize,
        start_ns: u64,
        load: Option<&RunningLoad>,
    ) -> (Option<String>, u64) {
        self.profiles.phase_begins(start_ns);
        self.mark(phase, start_ns, true);
        self.say(&format!("{}: for {} s", phase.name, phase.length.as_secs_f64()));
        let length_ns = u64::try_from(phase.length.as_nanos()).unwrap_or(u64::MAX);
        let last_ns = start_ns.saturating_add(length_ns);
        let mut end_ns = last_ns;
        let mut stopped = None;
        if phase.until_steady {
            (stopped, end_ns) = self.until_steady(phase, start_ns, last_ns, load);
        } else {
            let mut schedule = Schedule::new(&phase.inject, start_ns, last_ns);
            while stopped.is_none() {
                while stopped.is_none()
                    && let Some(action) = schedule.due(clock::now_ns())
                {
                    // Whoever has been asked to end puts nothing more in place.
                    stopped = self.settings.stop.requested().or_else(|| {
                        self.act(phase, index, action).err().map(|e| crate::http::chain(&e))
                    });
                }
                if stopped.is_some() {
                    break;
                }
                let next_ns = schedule.next_ns().map_or(last_ns, |next_ns| next_ns.min(last_ns));
                stopped = self.tick_until(next_ns, Some((phase, start_ns)), load);
                if clock::now_ns() >= last_ns {
                    break;
                }
            }
        }
        if stopped.is_some() {
            end_ns = clock::now_ns();
        }
        // Undoing the faults takes a while, and belongs to what comes after.
        self.profiles.phase_ends(end_ns);
        if !self.in_place.is_empty() {
            self.in_place.read_effects(&self.recorder);
            self.in_place.revert(&self.recorder);
            self.healed_ns = clock::now_ns();
            self.say("fault out");
        }
        self.mark(phase, end_ns, false);
        (stopped, end_ns)
    }

    /// Does to a fault of the phase what its schedule says.
    fn act(&mut self, phase: &Phase, index: usize, action: Action) -> Result<(), RunnerError> {
        // Faults of different phases are never in place together: a phase's number is enough.
        match action {
            Action::Inject(of) => {
                for i in 0..self.faults[index][of].len() {
                    let fault = &self.faults[index][of][i];
                    // It is let go only when all phases are over.
                    let Some(guard) = &self.guard else { return Ok(()) };
                    self.in_place.inject(of, fault.as_ref(), guard, &self.recorder)?;
                }
                self.healed_ns = clock::now_ns();
                self.say(&format!("fault in: {}", phase.inject[of].name()));
                Ok(())
            }
            Action::Level(of, level) => {
                self.in_place.set_level(of, level, &self.recorder)?;
                if phase.inject[of].ramp.is_none() {
                    let name = phase.inject[of].name();
                    self.say(&format!("{name}: {:.0} % of its dose", level * 100.0));
                }
                Ok(())
            }
            Action::Revert(of) => {
                self.in_place.read_effects(&self.recorder);
                self.in_place.revert_some(of, &self.recorder);
                self.healed_ns = clock::now_ns();
                self.say(&format!("fault out: {}", phase.inject[of].name()));
                Ok(())
            }
        }
    }

    /// Ticks until the system has been steady for as long as the experiment asks, or `last_ns`.
    /// Ends on a whole second of load.
    fn until_steady(
        &mut self,
        phase: &Phase,
        start_ns: u64,
        last_ns: u64,
        load: Option<&RunningLoad>,
    ) -> (Option<String>, u64) {
        let mut next_ns = start_ns;
        while next_ns < last_ns {
            next_ns = (next_ns + SECOND_NS).min(last_ns);
            let stopped = self.tick_until(next_ns, Some((phase, start_ns)), load);
            if stopped.is_some() {
                return (stopped, next_ns);
            }
            let steady =
                self.recorder.live().steady.as_ref().and_then(|s| s.steady_since(self.healed_ns));
            if steady.is_some() {
                self.say("steady again");
                return (None, next_ns);
            }
        }
        (None, last_ns)
    }

    /// Waits until `deadline_ns`, showing how things stand and looking after the fault's counters
    /// and the abort conditions. Gives the reason to stop early.
    fn tick_until(
        &mut self,
        deadline_ns: u64,
        phase: Option<(&Phase, u64)>,
        load: Option<&RunningLoad>,
    ) -> Option<String> {
        let mut next_effect_ns = clock::now_ns();
        loop {
            let now_ns = clock::now_ns();
            if now_ns >= deadline_ns {
                return self.settings.stop.requested();
            }
            if now_ns >= next_effect_ns {
                let effects = self.in_place.read_effects(&self.recorder);
                next_effect_ns = now_ns + EFFECT_EVERY_NS;
                self.show(phase, load, effects);
            }
            if self.in_place.revert_over(&self.recorder) {
                self.healed_ns = clock::now_ns();
            }
            for ended in self.scripts.ended_early() {
                self.say(&ended);
            }
            // A guardian that somebody killed is replaced before it is missed.
            if let Some(Err(error)) = self.guard.as_ref().map(Guard::ensure_guarded) {
                let why = crate::http::chain(&error);
                self.settings.stop.request(format!("nobody would undo the faults: {why}"));
            }
            let seconds = std::mem::take(&mut self.recorder.live().seconds);
            if let Some(why) = seconds.iter().find_map(|(_, second)| self.aborts.push(second)) {
                self.settings.stop.request(why);
            }
            if let Some(why) = self.aborts.look(&self.recorder.live().checks, now_ns) {
                self.settings.stop.request(why);
            }
            let next_ns = deadline_ns.min(next_effect_ns).min(now_ns + SECOND_NS / 5);
            if let Some(why) = self.settings.stop.wait_until(next_ns) {
                return Some(why);
            }
        }
    }

    fn record_start(&self, load_url: Option<&str>) {
        let experiment = &self.settings.experiment;
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.recorder.record(Event::at(
            self.began_ns,
            RunStarted {
                schema: SCHEMA,
                temblor: env!("CARGO_PKG_VERSION").into(),
                name: experiment.name.clone(),
                title: experiment.title.clone(),
                wall_unix_ns: clock::wall_unix_ns(),
                seed: self.settings.seed,
                host: temblor_host::facts(),
                phases: experiment
                    .phases
                    .iter()
                    .map(|p| PhasePlan {
                        name: p.name.clone(),
                        role: p.role,
                        for_ns: ns(p.length),
                        until_steady: p.until_steady,
                    })
                    .collect(),
                load: experiment.load.as_ref().map(|load| LoadPlan {
                    profile: load.profile.clone(),
                    rate_per_second: load.rate_per_second,
                    arrivals: if load.poisson { "poisson" } else { "constant" }.into(),
                    timeout_ns: ns(load.timeout),
                    url: load_url.unwrap_or_default().to_owned(),
                }),
                steady_state: experiment.steady_state.clone(),
                steady_hold_ns: ns(experiment.steady_hold),
                expect: experiment.expect.clone(),
                hypothesis: experiment.hypothesis.clone(),
                learn: experiment.learn.clone(),
                backlogs: experiment
                    .gauges
                    .iter()
                    .filter(|g| g.backlog)
                    .map(|g| g.name.clone())
                    .collect(),
            },
        ));
        for seen in self.targets.seen() {
            self.recorder.record(Event::now(seen));
        }
    }

    fn start_reading(&self, probes: Vec<Box<dyn Probe>>) -> Vec<RunningProbe> {
        let start = |probe: Box<dyn Probe>| {
            let status = probe.status();
            let name = status.probe.clone();
            self.recorder.record(Event::now(status));
            let recorder = self.recorder.clone();
            match RunningProbe::start(probe, Budget::default(), move |event| recorder.record(event))
            {
                Ok(running) => Some(running),
                Err(error) => {
                    let why = format!("the {name} probe could not be read: {error}");
                    self.settings.stop.request(why);
                    None
                }
            }
        };
        probes.into_iter().filter_map(start).collect()
    }

    fn start_watching(&mut self) {
        for check in &self.settings.experiment.checks {
            match self.targets.host(&check.ask.of().target) {
                Ok(host) => self.watchers.push(watch::check(
                    &self.runtime,
                    &self.http,
                    check,
                    &host,
                    &self.recorder,
                )),
                Err(error) => self.settings.stop.request(error.to_string()),
            }
        }
        for gauge in &self.settings.experiment.gauges {
            match self.targets.host(&gauge.metric.of.target) {
                Ok(host) => self.watchers.push(watch::gauge(
                    &self.runtime,
                    &self.http,
                    gauge,
                    &host,
                    &self.recorder,
                )),
                Err(error) => self.settings.stop.request(error.to_string()),
            }
        }
    }

    /// Nothing is recorded after the run's last event.
    fn stop_watching(&mut self) {
        for watcher in self.watchers.drain(..) {
            watcher.abort();
            // The error says that it was aborted.
            let _ = self.runtime.block_on(watcher);
        }
    }

    fn start_load(&self, url: String) -> Option<RunningLoad> {
        let plan = self.settings.experiment.load.as_ref()?;
        let phases: Duration = self.settings.experiment.phases.iter().map(|p| p.length).sum();
        // The bounds are for a runner that hangs: a run that goes as planned stops the load.
        let duration_max = phases + Duration::from_secs(WARM_UP_SECONDS + 60);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound")]
        let requests_max = (plan.rate_per_second * duration_max.as_secs_f64() * 2.0) as u64 + 1000;
        let settings = LoadSettings {
            url,
            profile: plan.profile.clone(),
            rate_per_second: plan.rate_per_second,
            arrivals: if plan.poisson { Arrivals::Poisson } else { Arrivals::Constant },
            timeout: plan.timeout,
            seed: self.settings.seed,
            key_prefix: self.prefix.clone(),
            in_flight_max: IN_FLIGHT_MAX,
            duration_max,
            requests_max,
        };
        let recorder = self.recorder.clone();
        match Load::start(settings, move |event| recorder.record(event)) {
            Ok(load) => Some(load),
            Err(error) => {
                let why = crate::http::chain(&error);
                self.settings.stop.request(format!("the load could not be started: {why}"));
                None
            }
        }
    }

    /// Waits for the backlogs to become empty and holds the load's record against the database.
    fn audit(&mut self) {
        let Some(plan) = &self.settings.experiment.ledger else { return };
        let Ok(host) = self.targets.host(&plan.of.target) else { return };
        self.say("waiting for the backlog, to read the ledger");
        let from_ns = clock::now_ns();
        let settle_ns = u64::try_from(plan.settle.as_nanos()).unwrap_or(u64::MAX);
        let last_ns = from_ns.saturating_add(settle_ns);
        // A run that was aborted is audited too; whoever asks again, or asks only now, does not
        // want to wait for it.
        let stop = &self.settings.stop;
        let requests = stop.requests().min(1);
        while clock::now_ns() < last_ns && stop.requests() <= requests {
            if self.backlogs_empty_since(from_ns) {
                break;
            }
            stop.wait_for_more_than(requests, last_ns.min(clock::now_ns() + SECOND_NS / 10));
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        self.runtime.block_on(ledger::read(plan, &host, &self.prefix, &self.recorder));
    }

    /// Every backlog has been asked for after `from_ns` and was empty: whatever the load had
    /// acknowledged by then is where it belongs.
    fn backlogs_empty_since(&self, from_ns: u64) -> bool {
        let live = self.recorder.live();
        self.settings.experiment.gauges.iter().filter(|g| g.backlog).all(|gauge| {
            live.gauges
                .get(&gauge.name)
                .is_some_and(|gauge| gauge.asked_after_ns >= from_ns && gauge.value <= 0.0)
        })
    }

    fn read_counters(&self, when: CounterWhen) {
        counters::read_retransmits(&self.targets.all(), when, &self.recorder);
        for counter in &self.settings.experiment.counters {
            let of = &counter.metric.of;
            let Ok(host) = self.targets.host(&of.target) else { continue };
            let url = format!("http://{host}:{}{}", of.port, counter.metric.path);
            let value = self.runtime.block_on(watch::read(&self.http, &url, &counter.metric));
            let value = value.map(|value| (clock::now_ns(), value));
            let service = self
                .targets
                .named(&of.target)
                .map_or_else(|_| of.target.clone(), |target| target.service.clone());
            let source = format!("{url}: {}", counter.metric.metric);
            let of = CounterOf { counter: counter.name.clone(), service, source };
            counters::record(of, when, value, &self.recorder);
        }
    }

    fn record_cost(&self) {
        let wall_ns = clock::now_ns() - self.began_ns;
        let used = probe::own_cost();
        self.recorder.record(Event::now(Cost {
            user_ns: used.user_ns.saturating_sub(self.used_before.user_ns),
            system_ns: used.system_ns.saturating_sub(self.used_before.system_ns),
            memory_bytes_max: used.memory_bytes_max,
            wall_ns,
        }));
    }

    fn mark(&self, phase: &Phase, t_ns: u64, starts: bool) {
        let mark = PhaseMark { phase: phase.name.clone(), role: phase.role, starts };
        self.recorder.record(Event::at(t_ns, mark));
    }

    fn at(&self) -> Duration {
        Duration::from_nanos(clock::now_ns() - self.began_ns)
    }

    fn say(&mut self, what: &str) {
        let at = self.at();
        (self.progress)(Update::Said { at, what: what.to_owned() });
    }

    fn show(
        &mut self,
        phase: Option<(&Phase, u64)>,
        load: Option<&RunningLoad>,
        effects: Vec<(u64, String)>,
    ) {
        let mut standing = Standing { at: self.at(), effects, ..Standing::default() };
        if let Some((phase, start_ns)) = phase {
            standing.phase.clone_from(&phase.name);
            standing.phase_at = Duration::from_nanos(clock::now_ns().saturating_sub(start_ns));
            standing.phase_length = phase.length;
        }
        if let Some(load) = load {
            let live = load.live();
            standing.ok = live.tally.ok;
            standing.failed = live.tally.failed;
            standing.unsure = live.tally.unsure;
            standing.in_flight = live.in_flight;
            standing.p99_seconds = live
                .last_second
                .and_then(|second| second.p99_ns)
                .map(|ns| Duration::from_nanos(ns).as_secs_f64());
        }
        {
            let live = self.recorder.live();
            standing.gauges = live.gauges.iter().map(|(n, seen)| (n.clone(), seen.value)).collect();
            standing.checks =
                live.checks.iter().map(|(n, (ok, seen))| (n.clone(), *ok, seen.clone())).collect();
            standing.retransmitted = live.retransmitted;
        }
        (self.progress)(Update::Tick(standing));
    }
}
