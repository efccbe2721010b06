//! From the file as written to an experiment that can be run: names resolve, values fit together.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use temblor_event::{Expectation, PhaseRole, Question};

use crate::experiment::{
    Abort, AbortWhen, Ask, Check, Counter, Experiment, Find, Gauge, HttpQuestion, JsonField,
    Ledger, Load, Metric, Phase, Pick, Safety, Side, TargetSelector,
};
use crate::fault::{self, Fault};
use crate::problem::{PlanError, Problem};
use crate::raw::{
    Dur, RawArrivals, RawCheck, RawConditions, RawExperiment, RawGauge, RawHttp, RawLedger,
    RawLoad, RawMetric, RawPhase, RawQuestion, RawSafety, RawTarget, RawValue,
};
use crate::units;
use crate::{ALLOWED, API_VERSION, LABS, LOAD_PROFILES, observe, profile};

/// How long steadiness must last where the file does not say.
const STEADY_HOLD: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(250);
const EVERY_MIN: Duration = Duration::from_millis(50);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What the load's histograms of latency reach to.
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(30);
const POSTGRES_PORT: u16 = 5432;
/// How long a fault may be in place where the file does not say.
const FAULT_MAX: Duration = Duration::from_secs(10 * 60);
/// The share of a target's instances that may be acted on where the file does not say.
const SHARE_MAX: f64 = 0.5;

impl Experiment {
    /// Reads an experiment. `file` is only for the messages.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines.
    pub fn parse(file: &str, text: &str) -> Result<Self, PlanError> {
        Self::parse_for(file, text, None)
    }

    /// The same, and a target must be one of `services` if it is to be a service: those of the
    /// lab that the experiment would run in, as far as they are known.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines.
    pub fn parse_for(
        file: &str,
        text: &str,
        services: Option<&[String]>,
    ) -> Result<Self, PlanError> {
        let raw: RawExperiment = serde_saphyr::from_str(text).map_err(|error| {
            let error = error.without_snippet();
            let what = serde_saphyr::UserMessageFormatter.format(error);
            let problem = match error.location() {
                Some(location) => Problem::at(location, what),
                None => Problem { line: 0, column: 0, what, help: None },
            };
            PlanError::new(file, text, vec![problem])
        })?;
        let mut validator = Validator {
            problems: Vec::new(),
            targets: Vec::new(),
            watched: Vec::new(),
            safety: Safety { allow: Vec::new(), share: SHARE_MAX, fault_max: FAULT_MAX },
            services,
        };
        let experiment = validator.experiment(raw);
        match experiment {
            Some(experiment) if validator.problems.is_empty() => Ok(experiment),
            _ => Err(PlanError::new(file, text, validator.problems)),
        }
    }
}

/// What an experiment has, for conditions on it to make sense.
#[derive(Debug, Clone, Copy)]
struct Has {
    load: bool,
    ledger: bool,
}

/// The formatter's trait method, under a name that reads at the call.
trait Format {
    fn format(&self, error: &serde_saphyr::Error) -> String;
}

impl Format for serde_saphyr::UserMessageFormatter {
    fn format(&self, error: &serde_saphyr::Error) -> String {
        serde_saphyr::MessageFormatter::format_message(self, error).into_owned()
    }
}

struct Validator<'a> {
    problems: Vec<Problem>,
    targets: Vec<String>,
    /// Names of the checks and of the gauges, as answers and abort conditions refer to them.
    watched: Vec<String>,
    safety: Safety,
    services: Option<&'a [String]>,
}

impl Validator<'_> {
    fn problem(&mut self, at: Location, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(at, what).help(help));
    }

    /// None only where the phases are missing; every other problem leaves something to go on with,
    /// so that all problems are reported at once.
    fn experiment(&mut self, raw: RawExperiment) -> Option<Experiment> {
        self.one_of(&raw.api_version, "apiVersion", &[API_VERSION]);
        self.one_of(&raw.kind, "kind", &["Experiment"]);
        self.name(&raw.metadata.name);
        if let Some(lab) = &raw.lab {
            self.one_of(lab, "lab", LABS);
        }
        self.targets = raw.targets.keys().cloned().collect();
        let targets = raw
            .targets
            .into_iter()
            .map(|(name, target)| (name, self.target_selector(target)))
            .collect();
        let observed = observe::observed(raw.observe);
        self.problems.extend(observed.problems);
        self.unique("check", raw.checks.iter().map(|c| &c.name));
        self.unique("gauge", raw.gauges.iter().map(|g| &g.name));
        self.unique("counter", raw.counters.iter().map(|c| &c.name));
        let checks = raw.checks.iter().map(|c| format!("check {}", c.name.value));
        let gauges = raw.gauges.iter().map(|g| format!("gauge {}", g.name.value));
        self.watched = checks.chain(gauges).collect();
        let learn = raw.metadata.learn.into_iter().map(|q| self.question(q)).collect();
        self.safety(raw.safety);
        let load = raw.load.map(|load| self.load(load));
        let phases = match raw.phases {
            Some(phases) => self.phases(phases),
            None => {
                self.problems.push(
                    Problem {
                        line: 1,
                        column: 1,
                        what: "the experiment has no phases".into(),
                        help: None,
                    }
                    .help(
                        "add `phases:` with at least a baseline and a phase that injects a fault",
                    ),
                );
                return None;
            }
        };
        let has = Has { load: load.is_some(), ledger: raw.ledger.is_some() };
        let phase_names: Vec<String> = phases.iter().map(|p| p.name.clone()).collect();
        let profiles = profile::profiles(raw.profile, &phase_names);
        self.problems.extend(profiles.problems);
        Some(Experiment {
            title: raw.metadata.title.unwrap_or_else(|| raw.metadata.name.value.clone()),
            name: raw.metadata.name.value,
            hypothesis: raw.metadata.hypothesis,
            learn,
            safety: self.safety.clone(),
            lab: raw.lab.map(|l| l.value),
            targets,
            steady_state: self.steady_state(raw.steady_state, has.load),
            steady_hold: raw.steady_hold.map_or(STEADY_HOLD, |d| d.0),
            load,
            checks: raw.checks.into_iter().map(|c| self.check(c)).collect(),
            gauges: raw.gauges.into_iter().map(|g| self.gauge(g)).collect(),
            counters: raw
                .counters
                .into_iter()
                .map(|c| Counter { name: c.name.value, metric: self.metric(c.prometheus) })
                .collect(),
            ledger: raw.ledger.map(|l| self.ledger(l)),
            phases,
            observe: observed.probes,
            scripts: observed.scripts,
            profile: profiles.profiled,
            abort: self.abort(raw.abort, has.load),
            expect: self.expect(raw.expect, &phase_names, has),
        })
    }

    fn one_of(&mut self, value: &Spanned<String>, what: &str, known: &[&str]) {
        if !known.contains(&value.value.as_str()) {
            self.problem(
                value.referenced,
                format!("unknown {what} \"{}\"", value.value),
                format!("known: {}", known.join(", ")),
            );
        }
    }

    fn name(&mut self, name: &Spanned<String>) {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let text = &name.value;
        if text.is_empty() || text.len() > 63 || !text.chars().all(ok) || text.starts_with('-') {
            self.problem(
                name.referenced,
                format!("\"{text}\" is not a name for an experiment"),
                "1 to 63 lower-case letters, digits and dashes, such as network-partition",
            );
        }
    }

    fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a Spanned<String>>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name.value.as_str()) {
                self.problem(
                    name.referenced,
                    format!("there are two {what}s called \"{}\"", name.value),
                    "give each a name of its own: reports refer to them by name",
                );
            }
        }
    }

    fn question(&mut self, raw: RawQuestion) -> Question {
        if raw.answers.is_empty() {
            self.problems.push(Problem {
                line: 0,
                column: 0,
                what: format!("nothing answers the question \"{}\"", raw.question),
                help: Some("name figures or evidence in `answers`, such as [load.p99]".into()),
            });
        }
        for answer in &raw.answers {
            let name = &answer.value;
            if !temblor_event::answer_is_known(name) && !self.watched.contains(name) {
                let mut known: Vec<String> =
                    temblor_event::Figure::ALL.iter().map(ToString::to_string).collect();
                known.extend(["services", "connections", "resets", "effect"].map(str::to_owned));
                known.extend(self.watched.iter().cloned());
                self.problem(
                    answer.referenced,
                    format!("\"{name}\" answers nothing"),
                    format!("known: {}", known.join(", ")),
                );
            }
        }
        let answers = raw.answers.into_iter().map(|answer| answer.value).collect();
        Question { question: raw.question, answers }
    }

    fn safety(&mut self, raw: RawSafety) {
        let known: Vec<&str> = ALLOWED.iter().map(|(word, _)| *word).collect();
        for word in &raw.allow {
            self.one_of(word, "word in `allow`", &known);
        }
        self.safety.allow = raw.allow.into_iter().map(|word| word.value).collect();
        if let Some(share) = raw.share {
            self.safety.share = share.0;
        }
        if let Some(max) = raw.fault_max {
            self.safety.fault_max = max.0;
        }
    }

    fn target_selector(&mut self, target: Spanned<RawTarget>) -> TargetSelector {
        let (at, raw) = (target.referenced, target.value);
        let project = raw.project;
        let has_project = project.is_some();
        let service_at = raw.service.as_ref().map(|service| service.referenced);
        let mut ways: Vec<Find> = [
            raw.service.map(|s| Find::Service(s.value)),
            raw.pid.map(Find::Pid),
            raw.process.map(Find::Process),
            raw.cgroup.map(Find::Cgroup),
            raw.unit.map(Find::Unit),
            raw.container.map(Find::Container),
            raw.label.map(Find::Label),
            raw.compose.map(|service| Find::Compose { service, project }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let pick = raw.pick.map_or(Pick::All, |pick| self.pick(pick));
        let find = match (ways.pop(), ways.is_empty()) {
            (Some(find), true) => find,
            _ => {
                self.problem(
                    at,
                    "a target is found in exactly one way",
                    "write one of {service: NAME}, {pid: NUMBER}, {process: NAME}, {cgroup: PATH}, \
                     {unit: NAME}, {container: NAME}, {label: KEY=VALUE}, {compose: SERVICE}",
                );
                Find::Pid(0)
            }
        };
        if let (Find::Service(service), Some(at), Some(known)) = (&find, service_at, self.services)
            && !known.contains(service)
        {
            self.problem(
                at,
                format!("the lab has no service \"{service}\""),
                format!("its services are: {}", known.join(", ")),
            );
        }
        if has_project && !matches!(find, Find::Compose { .. }) {
            self.problem(at, "a project belongs to a compose service", "leave out `project`");
        }
        let empty = match &find {
            Find::Process(name)
            | Find::Cgroup(name)
            | Find::Unit(name)
            | Find::Container(name)
            | Find::Compose { service: name, .. } => name.is_empty(),
            Find::Label(label) => label.split_once('=').is_none_or(|(key, _)| key.is_empty()),
            Find::Service(_) | Find::Pid(_) => false,
        };
        if empty {
            let help = "write its name, such as {process: nginx} or {label: app=web}";
            self.problem(at, "the target has no name", help);
        }
        TargetSelector { find, pick }
    }

    fn pick(&mut self, raw: Spanned<RawValue>) -> Pick {
        let help = "write `all`, how many (2), or a share (50%)";
        let RawValue::Scalar(text) = &raw.value else {
            self.problem(raw.referenced, "`pick` takes one value", help);
            return Pick::All;
        };
        let picked = match text.as_str() {
            "all" => Some(Pick::All),
            share if share.ends_with('%') => {
                units::parse_share(share).ok().filter(|share| *share > 0.0).map(Pick::Share)
            }
            count => count.parse().ok().filter(|count| *count > 0).map(Pick::Count),
        };
        if picked.is_none() {
            self.problem(raw.referenced, format!("\"{text}\" picks nothing"), help);
        }
        picked.unwrap_or(Pick::All)
    }

    fn known_target(&mut self, name: &Spanned<String>) -> String {
        if !self.targets.contains(&name.value) {
            let known = self.target_names();
            self.problem(name.referenced, format!("unknown target \"{}\"", name.value), known);
        }
        name.value.clone()
    }

    fn target_names(&self) -> String {
        if self.targets.is_empty() {
            "the experiment has no `targets:`".to_owned()
        } else {
            format!("the targets are: {}", self.targets.join(", "))
        }
    }

    fn load(&mut self, raw: RawLoad) -> Load {
        self.one_of(&raw.profile, "load profile", LOAD_PROFILES);
        Load {
            profile: raw.profile.value,
            rate_per_second: raw.rate.0,
            poisson: matches!(raw.arrivals, RawArrivals::Poisson),
            to: Side { target: self.known_target(&raw.target), port: raw.port.value.0 },
            timeout: self.timeout(raw.timeout, LOAD_TIMEOUT),
        }
    }

    fn check(&mut self, raw: RawCheck) -> Check {
        let every = self.every(raw.every.map(|d| d.0), &raw.name);
        let ask = match (raw.http, raw.tcp) {
            (Some(http), None) => Ask::Http(self.http(http)),
            (None, Some(tcp)) => {
                Ask::Tcp(Side { target: self.known_target(&tcp.target), port: tcp.port.0 })
            }
            _ => {
                self.problem(
                    raw.name.referenced,
                    format!("the check \"{}\" asks one question", raw.name.value),
                    "write either `http:` or `tcp:`",
                );
                Ask::Tcp(Side { target: String::new(), port: 0 })
            }
        };
        Check {
            every,
            timeout: self.timeout(raw.timeout, CHECK_TIMEOUT),
            ask,
            name: raw.name.value,
        }
    }

    fn timeout(&mut self, timeout: Option<Spanned<Dur>>, otherwise: Duration) -> Duration {
        let Some(timeout) = timeout else { return otherwise };
        if timeout.value.0.is_zero() || timeout.value.0 > TIMEOUT_MAX {
            self.problem(
                timeout.referenced,
                "the time-out is out of range",
                format!("above 0s and at most {}s", TIMEOUT_MAX.as_secs()),
            );
        }
        timeout.value.0
    }

    fn every(&mut self, every: Option<Duration>, of: &Spanned<String>) -> Duration {
        let every = every.unwrap_or(EVERY);
        if every < EVERY_MIN {
            self.problem(
                of.referenced,
                format!("\"{}\" asks more often than every 50ms", of.value),
                "asking is load too: write `every: 50ms` or more",
            );
        }
        every
    }

    fn http(&mut self, raw: RawHttp) -> HttpQuestion {
        let json = raw.json.and_then(|json| {
            if json.value.len() != 1 {
                self.problem(
                    json.referenced,
                    "a check looks at one JSON field",
                    "make a check for each field",
                );
            }
            json.value.into_iter().next().map(|(field, equals)| JsonField { field, equals })
        });
        HttpQuestion {
            of: Side { target: self.known_target(&raw.target), port: raw.port.0 },
            path: raw.path.0,
            status: raw.status.unwrap_or(200),
            json,
        }
    }

    fn metric(&mut self, raw: RawMetric) -> Metric {
        Metric {
            of: Side { target: self.known_target(&raw.target), port: raw.port.0 },
            path: raw.path.map_or_else(|| "/metrics".to_owned(), |p| p.0),
            metric: raw.metric,
            labels: raw.labels,
        }
    }

    fn gauge(&mut self, raw: RawGauge) -> Gauge {
        let every = self.every(raw.every.map(|d| d.0), &raw.name);
        Gauge {
            every,
            metric: self.metric(raw.prometheus),
            backlog: raw.backlog,
            name: raw.name.value,
        }
    }

    fn ledger(&mut self, raw: RawLedger) -> Ledger {
        let raw_pg = raw.postgres;
        if !raw_pg.query.value.contains("$1") {
            self.problem(
                raw_pg.query.referenced,
                "the query does not use $1",
                "$1 is the prefix of the run's keys: … WHERE client_order_id LIKE $1 || '%'",
            );
        }
        Ledger {
            of: Side {
                target: self.known_target(&raw_pg.target),
                port: raw_pg.port.map_or(POSTGRES_PORT, |p| p.0),
            },
            user: raw_pg.user,
            database: raw_pg.database,
            query: raw_pg.query.value,
            settle: raw.settle.map_or(SETTLE, |d| d.0),
        }
    }

    fn phases(&mut self, raw: Spanned<Vec<Spanned<RawPhase>>>) -> Vec<Phase> {
        self.unique("phase", raw.value.iter().map(|p| &p.value.name));
        let faulty = |p: &Spanned<RawPhase>| !p.value.inject.is_empty();
        let (first, last) = (raw.value.iter().position(faulty), raw.value.iter().rposition(faulty));
        match first {
            None => self.problem(
                raw.referenced,
                if raw.value.is_empty() { "the experiment has no phases" } else { "no phase injects a fault" },
                "give one phase an `inject:` list, such as [{network.partition: {from: api, to: db}}]",
            ),
            Some(0) => self.problem(
                raw.referenced,
                "there is no baseline: the first phase injects a fault already",
                "put a phase before it: what a fault changes can only be told from what was before",
            ),
            Some(_) => {}
        }
        raw.value
            .into_iter()
            .enumerate()
            .map(|(i, phase)| {
                let role = match (first, last) {
                    (Some(first), _) if i < first => PhaseRole::Baseline,
                    (_, Some(last)) if i > last => PhaseRole::Recovery,
                    // Between two faults nothing is well again yet: it counts as fault.
                    _ => PhaseRole::Fault,
                };
                self.phase(phase.value, role)
            })
            .collect()
    }

    fn phase(&mut self, raw: RawPhase, role: PhaseRole) -> Phase {
        if raw.length.value.0 < Duration::from_secs(1) {
            self.problem(
                raw.length.referenced,
                format!("the phase \"{}\" is shorter than a second", raw.name.value),
                "figures are given per second: write `for: 1s` or more",
            );
        }
        if raw.until.is_some() && role != PhaseRole::Recovery {
            self.problem(
                raw.name.referenced,
                format!("the phase \"{}\" cannot end when steady", raw.name.value),
                "`until: steady` belongs to a phase after the last fault",
            );
        }
        let mut inject = Vec::new();
        for item in raw.inject {
            let at = item.referenced;
            let fault = fault::parse(item, &self.targets, &mut self.problems);
            if let Some(fault) = fault {
                self.fits(&fault, at, raw.length.value.0);
                inject.push(fault);
            }
        }
        Phase {
            role,
            length: raw.length.value.0,
            until_steady: raw.until.is_some(),
            inject,
            name: raw.name.value,
        }
    }

    /// Whether a fault's time lies within its phase, and is no longer than allowed.
    fn fits(&mut self, fault: &Fault, at: Location, phase: Duration) {
        let end = fault.after.saturating_add(fault.lasting.unwrap_or_default());
        if fault.after >= phase || end > phase {
            self.problem(
                at,
                format!("{} is not over when its phase is", fault.name()),
                format!("the phase lasts {}", units::write_duration(phase)),
            );
            return;
        }
        let lasting = fault.lasting.unwrap_or(phase - fault.after);
        if fault.ramp.is_some_and(|ramp| ramp > lasting) {
            self.problem(
                at,
                format!("the ramp of {} is longer than the fault", fault.name()),
                format!("it lasts {}", units::write_duration(lasting)),
            );
        }
        let max = self.safety.fault_max;
        if lasting > max && !fault.spec.instant {
            self.problem(
                at,
                format!(
                    "{} would be in place for {}, which is longer than {}",
                    fault.name(),
                    units::write_duration(lasting),
                    units::write_duration(max)
                ),
                format!(
                    "if that is meant, write `safety: {{faultMax: {}}}`",
                    units::write_duration(lasting)
                ),
            );
        }
    }

    fn steady_state(
        &mut self,
        items: Vec<Spanned<RawConditions>>,
        has_load: bool,
    ) -> Vec<Expectation> {
        self.conditions(items, |item| {
            let only_load = item.conditions.iter().all(|c| c.figure.name().starts_with("load."));
            if !only_load {
                return Some("steadyState takes figures of the load: they exist for every second");
            }
            if !has_load {
                return Some("steadyState needs a `load:`");
            }
            if item.during.is_some() {
                return Some("steadyState holds in every phase but the fault: leave out `during`");
            }
            None
        })
    }

    fn abort(&mut self, items: Vec<Spanned<RawConditions>>, has_load: bool) -> Vec<Abort> {
        let mut aborts = Vec::new();
        for mut item in items {
            let lasting = item.value.lasting.as_ref().map_or(Duration::from_secs(1), |d| d.0);
            if let Some(check) = item.value.check.take() {
                if !self.watched.contains(&format!("check {}", check.value)) {
                    let checks: Vec<&str> =
                        self.watched.iter().filter_map(|w| w.strip_prefix("check ")).collect();
                    let help = format!("the checks are: {}", checks.join(", "));
                    let what = format!("unknown check \"{}\"", check.value);
                    self.problem(check.referenced, what, help);
                }
                if !item.value.conditions.is_empty() {
                    let help = "write an item for each";
                    self.problem(item.referenced, "an abort condition is one condition", help);
                }
                aborts.push(Abort { when: AbortWhen::Check(check.value), lasting });
                continue;
            }
            let checked = self.conditions_with_for(vec![item], true, |item| {
                let only_load =
                    item.conditions.iter().all(|c| c.figure.name().starts_with("load."));
                if !only_load {
                    return Some("abort takes figures of the load: they exist for every second");
                }
                (!has_load).then_some("abort needs a `load:`")
            });
            aborts.extend(
                checked.into_iter().map(|e| Abort { when: AbortWhen::Load(e.condition), lasting }),
            );
        }
        aborts
    }

    fn expect(
        &mut self,
        items: Vec<Spanned<RawConditions>>,
        phases: &[String],
        has: Has,
    ) -> Vec<Expectation> {
        for item in &items {
            if let Some(during) = &item.value.during
                && !phases.contains(&during.value)
            {
                self.problem(
                    during.referenced,
                    format!("unknown phase \"{}\"", during.value),
                    format!("the phases are: {}", phases.join(", ")),
                );
            }
        }
        self.conditions(items, |item| {
            let of = |what| move |c: &temblor_event::Condition| c.figure.name().starts_with(what);
            // Such a figure would never be observed: the run would fail after all its work.
            if !has.load && item.conditions.iter().any(of("load.")) {
                return Some("figures of the load need a `load:`");
            }
            if !has.ledger && item.conditions.iter().any(of("ledger.")) {
                return Some("figures of the ledger need a `ledger:`, which reads the database");
            }
            (item.during.is_some() && !item.conditions.iter().all(of("load.")))
                .then_some("only figures of the load have a phase: leave out `during`")
        })
    }

    fn conditions(
        &mut self,
        items: Vec<Spanned<RawConditions>>,
        objection: impl Fn(&RawConditions) -> Option<&'static str>,
    ) -> Vec<Expectation> {
        self.conditions_with_for(items, false, objection)
    }

    fn conditions_with_for(
        &mut self,
        items: Vec<Spanned<RawConditions>>,
        takes_for: bool,
        objection: impl Fn(&RawConditions) -> Option<&'static str>,
    ) -> Vec<Expectation> {
        let mut expectations = Vec::new();
        for item in items {
            if item.value.conditions.is_empty() {
                self.problem(
                    item.referenced,
                    "nothing is compared here",
                    "write a figure and a comparison, such as {ledger.lost: 0}",
                );
            } else if let Some(objection) = objection(&item.value) {
                self.problems.push(Problem::at(item.referenced, objection));
            } else if item.value.check.is_some() {
                self.problems.push(Problem::at(item.referenced, "a check belongs to `abort` only"));
            } else if item.value.lasting.is_some() && !takes_for {
                self.problems.push(Problem::at(item.referenced, "`for` belongs to `abort` only"));
            }
            expectations.extend(item.value.expectations());
        }
        expectations
    }
}
