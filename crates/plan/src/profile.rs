//! What an experiment profiles: kinds of profile, and for each the phases that it is collected in.

use serde_saphyr::{Location, Spanned};

use crate::problem::Problem;
use crate::raw::RawValue;
use crate::units::parse_rate;

/// A kind of profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProfileKind {
    /// Where processor time goes.
    Cpu,
    /// Where threads wait.
    OffCpu,
    /// Where threads wait for locks.
    Lock,
    /// Where memory is allocated.
    Allocs,
}

/// What is known of a kind: a further one is a row here, and an arm where the runner collects it.
struct Known {
    kind: ProfileKind,
    name: &'static str,
    /// How often a second it looks where the file does not say; none: it does not look by a clock.
    rate_hz: Option<u32>,
}

const KINDS: &[Known] = &[
    Known { kind: ProfileKind::Cpu, name: "cpu", rate_hz: Some(99) },
    Known { kind: ProfileKind::OffCpu, name: "off-cpu", rate_hz: None },
    Known { kind: ProfileKind::Lock, name: "lock", rate_hz: None },
    Known { kind: ProfileKind::Allocs, name: "allocs", rate_hz: None },
];

/// How often a second may be looked at most.
pub(crate) const RATE_HZ_MAX: u32 = 10_000;

impl ProfileKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|known| known.kind)
    }

    fn known(self) -> &'static Known {
        // Each kind has its row: a test holds them against each other.
        KINDS.iter().find(|known| known.kind == self).unwrap_or(&KINDS[0])
    }

    /// As the file has it: `cpu`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// How often a second it looks unless somebody says otherwise; none: it does not look by a clock.
    #[must_use]
    pub fn rate_hz(self) -> Option<u32> {
        self.known().rate_hz
    }

    fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|known| known.name == name).map(|known| known.kind)
    }
}

/// A kind of profile with the phases that it is collected in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiled {
    /// What is collected.
    pub kind: ProfileKind,
    /// In which phases, in the order of the run.
    pub phases: Vec<String>,
    /// How often a second it looks; none: it does not look by a clock.
    pub rate_hz: Option<u32>,
}

/// What `profile` says, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Profiles<'a> {
    pub(crate) profiled: Vec<Profiled>,
    pub(crate) problems: Vec<Problem>,
    phases: &'a [String],
}

const HELP: &str = "write kinds with their phases, such as {cpu: [baseline, fault]}, or kinds alone \
     for all phases: cpu";

/// The value of `profile` in a run of these phases.
pub(crate) fn profiles(raw: Option<Spanned<RawValue>>, phases: &[String]) -> Profiles<'_> {
    let mut profiles = Profiles { profiled: Vec::new(), problems: Vec::new(), phases };
    if let Some(raw) = raw {
        profiles.read(raw);
    }
    profiles
}

impl Profiles<'_> {
    fn problem(&mut self, at: Location, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(at, what).help(help));
    }

    fn read(&mut self, raw: Spanned<RawValue>) {
        let at = raw.referenced;
        match raw.value {
            RawValue::Scalar(name) => self.in_all_phases(at, &name),
            RawValue::List(items) if !items.is_empty() => {
                for item in items {
                    match item.value {
                        RawValue::Scalar(name) => self.in_all_phases(item.referenced, &name),
                        _ => self.problem(item.referenced, "this is no kind of profile", HELP),
                    }
                }
            }
            RawValue::Map(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    self.kind(&key, value);
                }
            }
            _ => self.problem(at, "nothing is profiled here", HELP),
        }
    }

    fn in_all_phases(&mut self, at: Location, name: &str) {
        if let Some(kind) = self.known(at, name) {
            let (phases, rate_hz) = (self.phases.to_vec(), kind.rate_hz());
            self.profiled.push(Profiled { kind, phases, rate_hz });
        }
    }

    fn known(&mut self, at: Location, name: &str) -> Option<ProfileKind> {
        let kind = ProfileKind::named(name);
        match kind {
            None => {
                let known: Vec<&str> = ProfileKind::all().map(ProfileKind::name).collect();
                let what = format!("unknown kind of profile \"{name}\"");
                self.problem(at, what, format!("known: {}", known.join(", ")));
            }
            Some(kind) if self.profiled.iter().any(|other| other.kind == kind) => {
                let help = "name the kind once, with all its phases";
                self.problem(at, format!("the profile \"{name}\" is there twice"), help);
            }
            Some(_) => return kind,
        }
        None
    }

    fn kind(&mut self, key: &Spanned<String>, value: Spanned<RawValue>) {
        let Some(kind) = self.known(key.referenced, &key.value) else { return };
        let (mut phases, mut rate_hz) = (None, kind.rate_hz());
        match value.value {
            RawValue::Map(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    match key.value.as_str() {
                        "phases" => phases = Some(self.named_phases(value)),
                        "rate" => rate_hz = self.rate(kind, &value),
                        other => {
                            let what = format!("a profile has no value \"{other}\"");
                            self.problem(key.referenced, what, "known: phases, rate");
                        }
                    }
                }
            }
            _ => phases = Some(self.named_phases(value)),
        }
        let phases = phases.unwrap_or_else(|| self.phases.to_vec());
        self.profiled.push(Profiled { kind, phases, rate_hz });
    }

    /// A phase or several, each once; in the order of the run, whatever that of the file is.
    fn named_phases(&mut self, value: Spanned<RawValue>) -> Vec<String> {
        let at = value.referenced;
        let items = match value.value {
            RawValue::List(items) => items,
            RawValue::Null => Vec::new(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.problem(at, "no phase is named here", HELP);
        }
        let mut named: Vec<String> = Vec::new();
        for item in items {
            let RawValue::Scalar(phase) = item.value else {
                self.problem(item.referenced, "this is not the name of a phase", HELP);
                continue;
            };
            if !self.phases.contains(&phase) {
                let known = format!("the phases are: {}", self.phases.join(", "));
                self.problem(item.referenced, format!("unknown phase \"{phase}\""), known);
            } else if named.contains(&phase) {
                let what = format!("the phase \"{phase}\" is named twice");
                self.problem(item.referenced, what, "name each phase once");
            }
            named.push(phase);
        }
        self.phases.iter().filter(|phase| named.contains(phase)).cloned().collect()
    }

    fn rate(&mut self, kind: ProfileKind, value: &Spanned<RawValue>) -> Option<u32> {
        let at = value.referenced;
        if kind.rate_hz().is_none() {
            let what = format!("the profile \"{}\" does not look by a clock", kind.name());
            self.problem(at, what, "leave out `rate`");
            return None;
        }
        const WANTED: &str = "write how often a second each processor is looked at, such as 99/s";
        let RawValue::Scalar(text) = &value.value else {
            self.problem(at, "`rate` takes one value", WANTED);
            return None;
        };
        match parse_rate(text) {
            Err(why) => self.problem(at, why, WANTED),
            Ok(rate) if rate.fract() != 0.0 || rate > f64::from(RATE_HZ_MAX) => {
                let what = format!("the rate \"{text}\" is out of range");
                self.problem(at, what, format!("a whole number from 1/s to {RATE_HZ_MAX}/s"));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "just seen"
            )]
            Ok(rate) => return Some(rate as u32),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_row_and_a_name_of_its_own() {
        for kind in ProfileKind::all() {
            assert_eq!(kind.known().kind, kind);
            assert_eq!(ProfileKind::named(kind.name()), Some(kind));
        }
    }
}
