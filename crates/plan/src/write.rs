//! An experiment written out resolved: every default filled in, so that a run's copy says what
//! was done even after the defaults have changed.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use temblor_event::Expectation;

use crate::experiment::{AbortWhen, Ask, Experiment, Find, Metric, Pick, Side, TargetSelector};
use crate::fault::{Fault, Written, quote};
use crate::units::{write_duration, write_share};

impl Experiment {
    /// The experiment as a file that [`Experiment::parse`] reads back as the same experiment.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = self.write_yaml(&mut out);
        out
    }

    fn write_yaml(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "apiVersion: {}\nkind: Experiment\nmetadata:", crate::API_VERSION)?;
        writeln!(out, "  name: {}\n  title: {}", self.name, quote(&self.title))?;
        if let Some(hypothesis) = &self.hypothesis {
            writeln!(out, "  hypothesis: {}", quote(hypothesis))?;
        }
        if !self.learn.is_empty() {
            writeln!(out, "  learn:")?;
        }
        for question in &self.learn {
            let answers: Vec<String> = question.answers.iter().map(|a| quote(a)).collect();
            let (text, answers) = (quote(&question.question), answers.join(", "));
            writeln!(out, "    - {{question: {text}, answers: [{answers}]}}")?;
        }
        let allow = self.safety.allow.join(", ");
        let (share, max) = (write_share(self.safety.share), write_duration(self.safety.fault_max));
        writeln!(out, "safety: {{allow: [{allow}], share: {share}, faultMax: {max}}}")?;
        if let Some(lab) = &self.lab {
            writeln!(out, "lab: {}", quote(lab))?;
        }
        if !self.targets.is_empty() {
            writeln!(out, "targets:")?;
        }
        for (name, target) in &self.targets {
            write_target(out, name, target)?;
        }
        if let Some(load) = &self.load {
            writeln!(
                out,
                "load:\n  profile: {}\n  rate: {}/s",
                load.profile, load.rate_per_second
            )?;
            let arrivals = if load.poisson { "poisson" } else { "constant" };
            writeln!(out, "  arrivals: {arrivals}\n  {}", side(&load.to, "\n  "))?;
            writeln!(out, "  timeout: {}", write_duration(load.timeout))?;
        }
        expectations(out, "steadyState", &self.steady_state)?;
        writeln!(out, "steadyHold: {}", write_duration(self.steady_hold))?;
        self.write_watch(out)?;
        writeln!(out, "phases:")?;
        for phase in &self.phases {
            writeln!(out, "  - name: {}", quote(&phase.name))?;
            writeln!(out, "    for: {}", write_duration(phase.length))?;
            if phase.until_steady {
                writeln!(out, "    until: steady")?;
            }
            if !phase.inject.is_empty() {
                writeln!(out, "    inject:")?;
            }
            for fault in &phase.inject {
                write_fault(out, fault)?;
            }
        }
        let scripts = self.scripts.iter();
        let scripts = scripts.map(|script| format!("{{bpftrace: {}}}", quote(&script.path)));
        let observe: Vec<String> = self.observe.iter().cloned().chain(scripts).collect();
        writeln!(out, "observe: [{}]", observe.join(", "))?;
        self.write_profiles(out)?;
        if !self.abort.is_empty() {
            writeln!(out, "abort:")?;
        }
        for abort in &self.abort {
            let lasting = write_duration(abort.lasting);
            match &abort.when {
                AbortWhen::Load(c) => {
                    writeln!(out, "  - {{{}: {}, for: {lasting}}}", c.figure, quote(&c.text))?;
                }
                AbortWhen::Check(name) => {
                    writeln!(out, "  - {{check: {}, for: {lasting}}}", quote(name))?;
                }
            }
        }
        expectations(out, "expect", &self.expect)
    }

    fn write_profiles(&self, out: &mut String) -> fmt::Result {
        if !self.profile.is_empty() {
            writeln!(out, "profile:")?;
        }
        for profiled in &self.profile {
            let phases: Vec<String> = profiled.phases.iter().map(|phase| quote(phase)).collect();
            write!(out, "  {}: {{phases: [{}]", profiled.kind.name(), phases.join(", "))?;
            if let Some(rate_hz) = profiled.rate_hz {
                write!(out, ", rate: {rate_hz}/s")?;
            }
            writeln!(out, "}}")?;
        }
        Ok(())
    }

    fn write_watch(&self, out: &mut String) -> fmt::Result {
        if !self.checks.is_empty() {
            writeln!(out, "checks:")?;
        }
        for check in &self.checks {
            writeln!(out, "  - name: {}", quote(&check.name))?;
            Self::write_ask(out, &check.ask)?;
            writeln!(out, "    every: {}", write_duration(check.every))?;
            writeln!(out, "    timeout: {}", write_duration(check.timeout))?;
        }
        self.write_readings(out)
    }

    fn write_ask(out: &mut String, ask: &Ask) -> fmt::Result {
        match ask {
            Ask::Tcp(of) => writeln!(out, "    tcp: {{{}}}", side(of, ", ")),
            Ask::Http(http) => {
                writeln!(out, "    http:")?;
                writeln!(out, "      {}", side(&http.of, "\n      "))?;
                writeln!(out, "      path: {}\n      status: {}", quote(&http.path), http.status)?;
                match &http.json {
                    Some(json) => writeln!(
                        out,
                        "      json: {{{}: {}}}",
                        quote(&json.field),
                        quote(&json.equals)
                    ),
                    None => Ok(()),
                }
            }
        }
    }

    fn write_readings(&self, out: &mut String) -> fmt::Result {
        if !self.gauges.is_empty() {
            writeln!(out, "gauges:")?;
        }
        for gauge in &self.gauges {
            writeln!(out, "  - name: {}\n    {}", quote(&gauge.name), metric(&gauge.metric))?;
            writeln!(out, "    every: {}", write_duration(gauge.every))?;
            writeln!(out, "    backlog: {}", gauge.backlog)?;
        }
        if !self.counters.is_empty() {
            writeln!(out, "counters:")?;
        }
        for counter in &self.counters {
            writeln!(out, "  - name: {}\n    {}", quote(&counter.name), metric(&counter.metric))?;
        }
        if let Some(ledger) = &self.ledger {
            writeln!(out, "ledger:\n  postgres:")?;
            writeln!(out, "    {}", side(&ledger.of, "\n    "))?;
            writeln!(out, "    user: {}", quote(&ledger.user))?;
            writeln!(out, "    database: {}", quote(&ledger.database))?;
            writeln!(out, "    query: {}", quote(&ledger.query))?;
            writeln!(out, "  settle: {}", write_duration(ledger.settle))?;
        }
        Ok(())
    }
}

fn write_fault(out: &mut String, fault: &Fault) -> fmt::Result {
    let mut values = Vec::new();
    for param in fault.spec.params {
        if let Some(value) = fault.values.get(param.name) {
            values.push(format!("{}: {}", param.name, Written(param.kind, value)));
        }
    }
    write!(out, "      - {{{}: {{{}}}", fault.name(), values.join(", "))?;
    if !fault.after.is_zero() {
        write!(out, ", after: {}", write_duration(fault.after))?;
    }
    if let Some(lasting) = fault.lasting {
        write!(out, ", for: {}", write_duration(lasting))?;
    }
    if let Some(ramp) = fault.ramp {
        write!(out, ", ramp: {}", write_duration(ramp))?;
    }
    if !fault.steps.is_empty() {
        let steps: Vec<String> = fault.steps.iter().map(|share| write_share(*share)).collect();
        write!(out, ", steps: [{}]", steps.join(", "))?;
    }
    writeln!(out, "}}")
}

fn write_target(out: &mut String, name: &str, target: &TargetSelector) -> fmt::Result {
    let (key, value) = match &target.find {
        Find::Service(name) => ("service", quote(name)),
        Find::Pid(pid) => ("pid", pid.to_string()),
        Find::Process(name) => ("process", quote(name)),
        Find::Cgroup(path) => ("cgroup", quote(path)),
        Find::Unit(name) => ("unit", quote(name)),
        Find::Container(name) => ("container", quote(name)),
        Find::Label(label) => ("label", quote(label)),
        Find::Compose { service, .. } => ("compose", quote(service)),
    };
    write!(out, "  {}: {{{key}: {value}", quote(name))?;
    if let Find::Compose { project: Some(project), .. } = &target.find {
        write!(out, ", project: {}", quote(project))?;
    }
    match target.pick {
        Pick::All => {}
        Pick::Count(n) => write!(out, ", pick: {n}")?,
        Pick::Share(share) => write!(out, ", pick: {}", write_share(share))?,
    }
    writeln!(out, "}}")
}

fn expectations(out: &mut String, key: &str, items: &[Expectation]) -> fmt::Result {
    if !items.is_empty() {
        writeln!(out, "{key}:")?;
    }
    for item in items {
        let c = &item.condition;
        write!(out, "  - {{name: {}, ", quote(&item.name))?;
        if let Some(during) = &item.during {
            write!(out, "during: {}, ", quote(during))?;
        }
        writeln!(out, "{}: {}}}", c.figure, quote(&c.text))?;
    }
    Ok(())
}

fn side(side: &Side, between: &str) -> String {
    format!("target: {}{between}port: {}", quote(&side.target), side.port)
}

fn metric(m: &Metric) -> String {
    let labels: &BTreeMap<String, String> = &m.labels;
    let labels: Vec<String> =
        labels.iter().map(|(k, v)| format!("{}: {}", quote(k), quote(v))).collect();
    format!(
        "prometheus: {{{}, path: {}, metric: {}, labels: {{{}}}}}",
        side(&m.of, ", "),
        quote(&m.path),
        quote(&m.metric),
        labels.join(", ")
    )
}
