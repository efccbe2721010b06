//! From one item of `inject` to a fault: the table says what it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::spec::{Choice, FaultSpec, Kind, Param};
use super::value::{self, Peers, Value};
use super::{FAULTS, Fault, fault_spec};
use crate::problem::Problem;
use crate::raw::{RawInject, RawValue};
use crate::units;

/// How many shares of a dose a fault goes through at most.
const STEPS_MAX: usize = 100;

/// Whether a text is an address or a prefix rather than a misspelt target.
fn looks_like_an_address(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    address.parse::<std::net::IpAddr>().is_ok()
}

/// Reads one item. What is wrong is added to `problems`, and then there is none.
pub(crate) fn parse(
    raw: Spanned<RawInject>,
    targets: &[String],
    problems: &mut Vec<Problem>,
) -> Option<Fault> {
    let before = problems.len();
    let at = raw.referenced;
    let raw = raw.value;
    let Some((name, values)) = raw.fault else {
        problems.push(
            Problem::at(at, "no fault is named here")
                .help("write one such as {network.partition: {from: api, to: db}}"),
        );
        return None;
    };
    let Some(spec) = fault_spec(&name.value) else {
        problems.push(unknown_fault(&name));
        return None;
    };
    let mut reader = Reader { spec, targets, problems, at: name.referenced };
    let values = reader.values(values);
    let (after, lasting) = (reader.time("after", raw.after), reader.time("for", raw.lasting));
    let ramp = reader.time("ramp", raw.ramp);
    let steps = raw.steps.map_or_else(Vec::new, |steps| reader.steps(steps));
    reader.options(ramp, &steps, lasting, &values);
    (problems.len() == before).then(|| Fault {
        spec,
        values,
        after: after.unwrap_or_default(),
        lasting,
        ramp,
        steps,
    })
}

fn unknown_fault(name: &Spanned<String>) -> Problem {
    let family = name.value.split('.').next().unwrap_or_default();
    let same: Vec<&str> = FAULTS
        .iter()
        .map(|spec| spec.name)
        .filter(|known| known.split('.').next() == Some(family))
        .collect();
    let known = if same.is_empty() { FAULTS.iter().map(|spec| spec.name).collect() } else { same };
    Problem::at(name.referenced, format!("unknown fault \"{}\"", name.value))
        .help(format!("known: {}", known.join(", ")))
}

struct Reader<'a> {
    spec: &'static FaultSpec,
    targets: &'a [String],
    problems: &'a mut Vec<Problem>,
    /// Where the fault's name stands.
    at: Location,
}

impl Reader<'_> {
    fn problem(&mut self, at: Location, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(at, what).help(help));
    }

    fn values(&mut self, raw: Spanned<RawValue>) -> BTreeMap<&'static str, Value> {
        let told = self.problems.len();
        let mut values = BTreeMap::new();
        let fields = match raw.value {
            RawValue::Map(fields) => fields,
            RawValue::Null => Vec::new(),
            _ => {
                let help = format!("write {}: {{{}}}", self.spec.name, self.spec.example());
                self.problem(raw.referenced, "a fault takes named values", help);
                return values;
            }
        };
        for (key, value) in fields {
            let Some(param) = self.spec.params.iter().find(|p| p.name == key.value) else {
                let known: Vec<&str> = self.spec.params.iter().map(|p| p.name).collect();
                self.problem(
                    key.referenced,
                    format!("{} has no value \"{}\"", self.spec.name, key.value),
                    format!("it takes: {}", known.join(", ")),
                );
                continue;
            };
            if values.contains_key(param.name) {
                let what = format!("\"{}\" is given twice", param.name);
                self.problem(key.referenced, what, "leave one of them out");
            }
            if let Some(value) = self.value(param, value) {
                values.insert(param.name, value);
            }
        }
        // A value that could not be read is not missing: it has been told already.
        if self.problems.len() == told {
            self.complete(&mut values);
        }
        values
    }

    /// What was left out: a default, a problem, or nothing.
    fn complete(&mut self, values: &mut BTreeMap<&'static str, Value>) {
        for param in self.spec.params {
            if values.contains_key(param.name) {
                continue;
            }
            if param.required {
                let help = format!("{}: {}", param.name, param.what);
                let what = format!("{} wants `{}`", self.spec.name, param.name);
                self.problem(self.at, what, help);
            } else if let Some(Ok(value)) = param.default.map(|text| value::read(param.kind, text))
            {
                values.insert(param.name, value);
            }
        }
        for choice in self.spec.choices {
            let (names, good, words) = match choice {
                Choice::ExactlyOne(names) => {
                    let given = names.iter().filter(|n| values.contains_key(*n)).count();
                    (names, given == 1, "exactly one of")
                }
                Choice::AtLeastOne(names) => {
                    let given = names.iter().filter(|n| values.contains_key(*n)).count();
                    (names, given >= 1, "at least one of")
                }
            };
            if !good {
                let what = format!("{} takes {words} {}", self.spec.name, names.join(", "));
                let help =
                    format!("docs/faults.md says what each is; such as {}", self.spec.example());
                self.problem(self.at, what, help);
            }
        }
    }

    fn value(&mut self, param: &Param, raw: Spanned<RawValue>) -> Option<Value> {
        let at = raw.referenced;
        let items = match raw.value {
            RawValue::Scalar(text) => vec![(at, text)],
            RawValue::List(items) if many(param.kind) => {
                let mut texts = Vec::new();
                for item in items {
                    match item.value {
                        RawValue::Scalar(text) => texts.push((item.referenced, text)),
                        _ => {
                            self.problem(
                                item.referenced,
                                format!("`{}` takes a list of single values", param.name),
                                param.what,
                            );
                            return None;
                        }
                    }
                }
                texts
            }
            _ => {
                self.problem(at, format!("`{}` takes one value", param.name), param.what);
                return None;
            }
        };
        match param.kind {
            Kind::Target | Kind::Other => {
                let (at, name) = items.into_iter().next()?;
                self.known_target(at, &name).then_some(Value::Target(name))
            }
            Kind::Peers => self.peers(at, items).map(Value::Peers),
            Kind::Ports => {
                let ports = items
                    .into_iter()
                    .filter_map(|(at, text)| self.read(at, param, value::port(&text)));
                Some(Value::Ports(ports.collect()))
            }
            Kind::Texts => Some(Value::Texts(items.into_iter().map(|(_, text)| text).collect())),
            kind => {
                let (at, text) = items.into_iter().next()?;
                self.read(at, param, value::read(kind, &text))
            }
        }
    }

    fn read<T>(&mut self, at: Location, param: &Param, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| {
            self.problems.push(Problem::at(at, format!("`{}`: {why}", param.name)));
        })
        .ok()
    }

    fn peers(&mut self, at: Location, items: Vec<(Location, String)>) -> Option<Peers> {
        if items.is_empty() {
            self.problem(at, "the other side is empty", "name a target or an address in `to`");
            return None;
        }
        let mut peers = Peers::default();
        for (at, name) in items {
            if looks_like_an_address(&name) {
                peers.addresses.push(name);
            } else if self.targets.contains(&name) {
                peers.targets.push(name);
            } else {
                let help = format!(
                    "{}; an address such as 10.0.0.5 or fd00::/64 is possible too",
                    known_targets(self.targets)
                );
                self.problem(at, format!("unknown target \"{name}\""), help);
            }
        }
        Some(peers)
    }

    fn known_target(&mut self, at: Location, name: &str) -> bool {
        let known = self.targets.iter().any(|target| target == name);
        if !known {
            let help = known_targets(self.targets);
            self.problem(at, format!("unknown target \"{name}\""), help);
        }
        known
    }

    fn time(&mut self, what: &str, raw: Option<Spanned<RawValue>>) -> Option<Duration> {
        let raw = raw?;
        let RawValue::Scalar(text) = &raw.value else {
            self.problem(raw.referenced, format!("`{what}` takes a length of time"), "such as 5s");
            return None;
        };
        match units::parse_duration(text) {
            Ok(d) => Some(d),
            Err(why) => {
                self.problems.push(Problem::at(raw.referenced, why));
                None
            }
        }
    }

    fn steps(&mut self, raw: Spanned<RawValue>) -> Vec<f64> {
        let help = "such as steps: [25%, 50%, 100%]";
        let RawValue::List(items) = raw.value else {
            self.problem(raw.referenced, "`steps` takes a list of shares of the dose", help);
            return Vec::new();
        };
        if items.is_empty() || items.len() > STEPS_MAX {
            let what = format!("`steps` takes 1 to {STEPS_MAX} shares of the dose");
            self.problem(raw.referenced, what, help);
        }
        let mut steps = Vec::new();
        for item in items {
            let share = match &item.value {
                RawValue::Scalar(text) => units::parse_share(text),
                _ => Err("a step is one share of the dose".to_owned()),
            };
            match share {
                Ok(share) => steps.push(share),
                Err(why) => self.problem(item.referenced, why, help),
            }
        }
        steps
    }

    /// Whether ramps, steps, a length of its own and a repetition fit the kind of fault.
    fn options(
        &mut self,
        ramp: Option<Duration>,
        steps: &[f64],
        lasting: Option<Duration>,
        values: &BTreeMap<&'static str, Value>,
    ) {
        let (spec, at) = (self.spec, self.at);
        if ramp.is_some() && !steps.is_empty() {
            self.problem(
                at,
                "a dose grows in a ramp or in steps, not both",
                "leave out one of them",
            );
        }
        if (ramp.is_some() || !steps.is_empty()) && !spec.levels {
            let with: Vec<&str> =
                FAULTS.iter().filter(|spec| spec.levels).map(|spec| spec.name).collect();
            let what = format!("{} has no dose that could grow", spec.name);
            self.problem(at, what, format!("ramps and steps are for {}", with.join(", ")));
        }
        if lasting.is_some() && spec.instant && !values.contains_key("every") {
            let what = format!("{} is over as soon as it is done", spec.name);
            self.problem(at, what, "leave out `for`");
        }
        if lasting.is_some_and(|lasting| lasting.is_zero()) {
            self.problem(at, "a fault that lasts no time has no effect", "write `for: 5s` or more");
        }
        // Who is on both sides of a fault would be separated from itself.
        let from = values.get("from").or_else(|| values.get("target"));
        if let (Some(Value::Target(from)), Some(Value::Peers(peers))) = (from, values.get("to"))
            && peers.targets.contains(from)
        {
            let what = format!("\"{from}\" cannot be separated from itself");
            self.problem(at, what, "`from` and `to` are different targets");
        }
    }
}

fn known_targets(targets: &[String]) -> String {
    if targets.is_empty() {
        "the experiment has no `targets:`".to_owned()
    } else {
        format!("the targets are: {}", targets.join(", "))
    }
}

/// Whether several values of this kind make one.
fn many(kind: Kind) -> bool {
    matches!(kind, Kind::Peers | Kind::Ports | Kind::Texts)
}

impl FaultSpec {
    /// Its required values, as an example.
    #[must_use]
    pub fn example(&self) -> String {
        let chosen = |name: &str| {
            self.choices.iter().any(|choice| match choice {
                Choice::ExactlyOne(names) | Choice::AtLeastOne(names) => {
                    names.first() == Some(&name)
                }
            })
        };
        let params = self.params.iter().filter(|param| param.required || chosen(param.name));
        params
            .map(|param| format!("{}: {}", param.name, param.kind.example()))
            .collect::<Vec<_>>()
            .join(", ")
    }
}
