//! An experiment written out resolved: every default filled in, so that a run's copy says what
//! was done even after the defaults have changed.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use temblor_event::Expectation;

use crate::experiment::{Action, Direction, Experiment, Fault, Metric, Side, TargetSelector};
use crate::units::write_duration;

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
        if let Some(lab) = &self.lab {
            writeln!(out, "lab: {}", quote(lab))?;
        }
        if !self.targets.is_empty() {
            writeln!(out, "targets:")?;
        }
        for (name, target) in &self.targets {
            match target {
                TargetSelector::Service(s) => {
                    writeln!(out, "  {}: {{service: {}}}", quote(name), quote(s))?;
                }
                TargetSelector::Pid(pid) => writeln!(out, "  {}: {{pid: {pid}}}", quote(name))?,
            }
        }
        if let Some(load) = &self.load {
            writeln!(
                out,
                "load:\n  profile: {}\n  rate: {}/s",
                load.profile, load.rate_per_second
            )?;
            let arrivals = if load.poisson { "poisson" } else { "constant" };
            writeln!(out, "  arrivals: {arrivals}\n  {}", side(&load.to).replace(", ", "\n  "))?;
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
        writeln!(out, "observe: [{}]", self.observe.join(", "))?;
        if !self.abort.is_empty() {
            writeln!(out, "abort:")?;
        }
        for abort in &self.abort {
            let (c, lasting) = (&abort.condition, write_duration(abort.lasting));
            writeln!(out, "  - {{{}: {}, for: {lasting}}}", c.figure, quote(&c.text))?;
        }
        expectations(out, "expect", &self.expect)
    }

    fn write_watch(&self, out: &mut String) -> fmt::Result {
        if !self.checks.is_empty() {
            writeln!(out, "checks:")?;
        }
        for check in &self.checks {
            let http = &check.http;
            writeln!(out, "  - name: {}\n    http:", quote(&check.name))?;
            writeln!(out, "      {}", side(&http.of).replace(", ", "\n      "))?;
            writeln!(out, "      path: {}\n      status: {}", quote(&http.path), http.status)?;
            if let Some(json) = &http.json {
                writeln!(out, "      json: {{{}: {}}}", quote(&json.field), quote(&json.equals))?;
            }
            writeln!(out, "    every: {}", write_duration(check.every))?;
            writeln!(out, "    timeout: {}", write_duration(check.timeout))?;
        }
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
            writeln!(out, "    {}", side(&ledger.of).replace(", ", "\n    "))?;
            writeln!(out, "    user: {}", quote(&ledger.user))?;
            writeln!(out, "    database: {}", quote(&ledger.database))?;
            writeln!(out, "    query: {}", quote(&ledger.query))?;
            writeln!(out, "  settle: {}", write_duration(ledger.settle))?;
        }
        Ok(())
    }
}

fn write_fault(out: &mut String, fault: &Fault) -> fmt::Result {
    match fault {
        Fault::Partition(p) => {
            let addresses = p.to_addresses.iter().map(ToString::to_string);
            let to: Vec<String> =
                p.to_targets.iter().cloned().chain(addresses).map(|s| quote(&s)).collect();
            writeln!(out, "      - network.partition:\n          from: {}", quote(&p.from))?;
            writeln!(out, "          to: [{}]", to.join(", "))?;
            if !p.ports.is_empty() {
                let ports: Vec<String> = p.ports.iter().map(ToString::to_string).collect();
                writeln!(out, "          ports: [{}]", ports.join(", "))?;
            }
            let direction = match p.direction {
                Direction::Both => "both",
                Direction::Out => "out",
                Direction::In => "in",
            };
            let action = match p.action {
                Action::Drop => "drop",
                Action::Reject => "reject",
            };
            writeln!(out, "          direction: {direction}\n          action: {action}")
        }
    }
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

fn side(side: &Side) -> String {
    format!("target: {}, port: {}", quote(&side.target), side.port)
}

fn metric(m: &Metric) -> String {
    let labels: &BTreeMap<String, String> = &m.labels;
    let labels: Vec<String> =
        labels.iter().map(|(k, v)| format!("{}: {}", quote(k), quote(v))).collect();
    format!(
        "prometheus: {{{}, path: {}, metric: {}, labels: {{{}}}}}",
        side(&m.of),
        quote(&m.path),
        quote(&m.metric),
        labels.join(", ")
    )
}

/// A double-quoted YAML scalar, which every text fits into.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
