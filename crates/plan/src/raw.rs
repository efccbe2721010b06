//! The file as it is written: every field typed, names not resolved yet.
//!
//! Values with units are read by types of their own here, so that a wrong unit is reported at
//! the place where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use temblor_event::{Condition, Expectation, Figure};

use crate::units::{parse_comparison, parse_duration, parse_rate, parse_share};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawExperiment {
    pub(crate) api_version: Spanned<String>,
    pub(crate) kind: Spanned<String>,
    pub(crate) metadata: RawMetadata,
    pub(crate) lab: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) safety: RawSafety,
    #[serde(default)]
    pub(crate) targets: BTreeMap<String, Spanned<RawTarget>>,
    pub(crate) load: Option<RawLoad>,
    #[serde(default)]
    pub(crate) steady_state: Vec<Spanned<RawConditions>>,
    pub(crate) steady_hold: Option<Dur>,
    #[serde(default)]
    pub(crate) checks: Vec<RawCheck>,
    #[serde(default)]
    pub(crate) gauges: Vec<RawGauge>,
    #[serde(default)]
    pub(crate) counters: Vec<RawCounter>,
    pub(crate) ledger: Option<RawLedger>,
    pub(crate) phases: Option<Spanned<Vec<Spanned<RawPhase>>>>,
    #[serde(default)]
    pub(crate) observe: Vec<Spanned<RawValue>>,
    pub(crate) profile: Option<Spanned<RawValue>>,
    #[serde(default)]
    pub(crate) abort: Vec<Spanned<RawConditions>>,
    #[serde(default)]
    pub(crate) expect: Vec<Spanned<RawConditions>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMetadata {
    pub(crate) name: Spanned<String>,
    pub(crate) title: Option<String>,
    pub(crate) hypothesis: Option<String>,
    #[serde(default)]
    pub(crate) learn: Vec<RawQuestion>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuestion {
    pub(crate) question: String,
    pub(crate) answers: Vec<Spanned<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawSafety {
    #[serde(default)]
    pub(crate) allow: Vec<Spanned<String>>,
    pub(crate) share: Option<Share>,
    pub(crate) fault_max: Option<Dur>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTarget {
    pub(crate) service: Option<Spanned<String>>,
    pub(crate) pid: Option<u32>,
    pub(crate) process: Option<String>,
    pub(crate) cgroup: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) container: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) compose: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) pick: Option<Spanned<RawValue>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLoad {
    pub(crate) profile: Spanned<String>,
    pub(crate) rate: Rate,
    #[serde(default)]
    pub(crate) arrivals: RawArrivals,
    pub(crate) target: Spanned<String>,
    pub(crate) port: Spanned<Port>,
    pub(crate) timeout: Option<Spanned<Dur>>,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawArrivals {
    #[default]
    Poisson,
    Constant,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCheck {
    pub(crate) name: Spanned<String>,
    pub(crate) http: Option<RawHttp>,
    pub(crate) tcp: Option<RawTcp>,
    pub(crate) every: Option<Dur>,
    pub(crate) timeout: Option<Spanned<Dur>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTcp {
    pub(crate) target: Spanned<String>,
    pub(crate) port: Port,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHttp {
    pub(crate) target: Spanned<String>,
    pub(crate) port: Port,
    pub(crate) path: Path,
    pub(crate) status: Option<u16>,
    pub(crate) json: Option<Spanned<BTreeMap<String, String>>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGauge {
    pub(crate) name: Spanned<String>,
    pub(crate) prometheus: RawMetric,
    pub(crate) every: Option<Dur>,
    #[serde(default)]
    pub(crate) backlog: bool,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCounter {
    pub(crate) name: Spanned<String>,
    pub(crate) prometheus: RawMetric,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMetric {
    pub(crate) target: Spanned<String>,
    pub(crate) port: Port,
    pub(crate) path: Option<Path>,
    pub(crate) metric: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLedger {
    pub(crate) postgres: RawPostgres,
    pub(crate) settle: Option<Dur>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPostgres {
    pub(crate) target: Spanned<String>,
    pub(crate) port: Option<Port>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) query: Spanned<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPhase {
    pub(crate) name: Spanned<String>,
    #[serde(rename = "for")]
    pub(crate) length: Spanned<Dur>,
    pub(crate) until: Option<RawUntil>,
    #[serde(default)]
    pub(crate) inject: Vec<Spanned<RawInject>>,
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawUntil {
    Steady,
}

/// Any value, not understood yet.
#[derive(Debug)]
pub(crate) enum RawValue {
    /// Nothing was written.
    Null,
    /// A number, a text, true or false, as text.
    Scalar(String),
    /// Values.
    List(Vec<Spanned<RawValue>>),
    /// Values with names, in the order of the file.
    Map(Vec<(Spanned<String>, Spanned<RawValue>)>),
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list or a map")
            }
            fn visit_unit<E: Error>(self) -> Result<RawValue, E> {
                Ok(RawValue::Null)
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<RawValue, E> {
                Ok(RawValue::Scalar(v.to_string()))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<RawValue, E> {
                Ok(RawValue::Scalar(v.to_owned()))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<RawValue, E> {
                Ok(RawValue::Scalar(v.to_string()))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<RawValue, E> {
                Ok(RawValue::Scalar(v.to_string()))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<RawValue, E> {
                Ok(RawValue::Scalar(v.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(RawValue::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
                let mut fields = Vec::new();
                while let Some(key) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(RawValue::Map(fields))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

/// One item of `inject`: a fault with its values, and when within the phase.
#[derive(Debug, Default)]
pub(crate) struct RawInject {
    pub(crate) fault: Option<(Spanned<String>, Spanned<RawValue>)>,
    pub(crate) after: Option<Spanned<RawValue>>,
    pub(crate) lasting: Option<Spanned<RawValue>>,
    pub(crate) ramp: Option<Spanned<RawValue>>,
    pub(crate) steps: Option<Spanned<RawValue>>,
}

impl<'de> Deserialize<'de> for RawInject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;
        impl<'de> Visitor<'de> for Item {
            type Value = RawInject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fault such as {network.partition: {from: api, to: db}}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawInject, A::Error> {
                let mut item = RawInject::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    match key.value.as_str() {
                        "after" => item.after = Some(map.next_value()?),
                        "for" => item.lasting = Some(map.next_value()?),
                        "ramp" => item.ramp = Some(map.next_value()?),
                        "steps" => item.steps = Some(map.next_value()?),
                        _ if item.fault.is_none() => item.fault = Some((key, map.next_value()?)),
                        other => {
                            return Err(A::Error::custom(format!(
                                "\"{other}\" stands beside a fault: write each fault as an item of \
                                 its own; beside it may stand after, for, ramp, steps"
                            )));
                        }
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Item)
    }
}

macro_rules! from_text {
    ($name:ident($inner:ty), $parse:expr) => {
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Scalar(text) = Scalar::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<$inner, String> = $parse;
                parse(&text).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

from_text!(Dur(Duration), parse_duration);
from_text!(Rate(f64), parse_rate);
from_text!(Share(f64), parse_share);
from_text!(Port(u16), |text| {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("\"{text}\" is not a port: write a whole number from 1 to 65535"))
});
from_text!(Path(String), |text| {
    if text.starts_with('/') && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is not a path: it begins with a slash and has no spaces"))
    }
});

/// A scalar as text, whether YAML took it for a number or not.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Scalar, E> {
                Ok(Scalar(v.to_owned()))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// One item of `steadyState`, `abort` or `expect`: a name, perhaps a phase, and comparisons:
/// `{load: {success: ">= 99.9%"}}` or `{ledger.lost: 0}`.
#[derive(Debug, Default)]
pub(crate) struct RawConditions {
    name: Option<String>,
    pub(crate) during: Option<Spanned<String>>,
    pub(crate) lasting: Option<Dur>,
    /// A check that fails, in `abort`.
    pub(crate) check: Option<Spanned<String>>,
    pub(crate) conditions: Vec<Condition>,
}

impl RawConditions {
    /// One expectation per comparison; an item with one comparison may have a name of its own.
    pub(crate) fn expectations(self) -> impl Iterator<Item = Expectation> {
        let Self { name, during, conditions, .. } = self;
        let several = conditions.len() > 1;
        let during = during.map(|d| d.value);
        conditions.into_iter().map(move |condition| Expectation {
            name: match &name {
                Some(name) if several => format!("{name}: {}", condition.figure),
                Some(name) => name.clone(),
                None => format!("{} {}", condition.figure, condition.text),
            },
            during: during.clone(),
            condition,
        })
    }
}

impl<'de> Deserialize<'de> for RawConditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConditionsVisitor { group: None })
    }
}

/// Reads the item itself (`group` is none) or the map of a group of figures within it.
struct ConditionsVisitor<'a> {
    group: Option<&'a str>,
}

impl<'de> Visitor<'de> for ConditionsVisitor<'_> {
    type Value = RawConditions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("comparisons such as {load: {success: \">= 99.9%\"}} or {ledger.lost: 0}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawConditions, A::Error> {
        let mut item = RawConditions::default();
        while let Some(key) = map.next_key::<String>()? {
            match (self.group, key.as_str()) {
                (None, "name") => item.name = Some(map.next_value()?),
                (None, "during") => item.during = Some(map.next_value()?),
                (None, "check") => item.check = Some(map.next_value()?),
                (None, "for") => item.lasting = Some(map.next_value()?),
                (None, group @ ("load" | "ledger" | "recovery" | "service")) => {
                    let inner = map.next_value_seed(Group(group))?;
                    item.conditions.extend(inner.conditions);
                }
                (group, key) => {
                    let full = group.map_or_else(|| key.to_owned(), |g| format!("{g}.{key}"));
                    let figure = Figure::ALL.into_iter().find(|f| f.name() == full);
                    let figure = figure.ok_or_else(|| unknown_figure::<A::Error>(&full))?;
                    let Scalar(text) = map.next_value()?;
                    let (op, bound) =
                        parse_comparison(&text, figure.unit()).map_err(A::Error::custom)?;
                    item.conditions.push(Condition { figure, op, bound, text });
                }
            }
        }
        Ok(item)
    }
}

struct Group<'a>(&'a str);

impl<'de> serde::de::DeserializeSeed<'de> for Group<'_> {
    type Value = RawConditions;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawConditions, D::Error> {
        deserializer.deserialize_map(ConditionsVisitor { group: Some(self.0) })
    }
}

fn unknown_figure<E: Error>(name: &str) -> E {
    let known: Vec<&str> = Figure::ALL.iter().map(|f| f.name()).collect();
    E::custom(format!("there is no figure \"{name}\": known are {}", known.join(", ")))
}
