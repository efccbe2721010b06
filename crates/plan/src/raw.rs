//! The file as it is written: every field typed, names not resolved yet.
//!
//! Values with units are read by types of their own here, so that a wrong unit is reported at
//! the place where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use temblor_event::{Condition, Expectation, Figure};

use crate::experiment::{Action, Direction};
use crate::units::{parse_comparison, parse_duration, parse_rate};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawExperiment {
    pub(crate) api_version: Spanned<String>,
    pub(crate) kind: Spanned<String>,
    pub(crate) metadata: RawMetadata,
    pub(crate) lab: Option<Spanned<String>>,
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
    pub(crate) observe: Vec<Spanned<String>>,
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
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTarget {
    pub(crate) service: Option<Spanned<String>>,
    pub(crate) pid: Option<u32>,
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
    pub(crate) http: RawHttp,
    pub(crate) every: Option<Dur>,
    pub(crate) timeout: Option<Spanned<Dur>>,
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
    pub(crate) inject: Vec<RawFault>,
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawUntil {
    Steady,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) enum RawFault {
    #[serde(rename = "network.partition")]
    Partition(RawPartition),
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPartition {
    pub(crate) from: Spanned<String>,
    pub(crate) to: Spanned<OneOrMany<String>>,
    pub(crate) ports: Option<OneOrMany<Port>>,
    #[serde(default)]
    pub(crate) direction: Direction,
    #[serde(default)]
    pub(crate) action: Action,
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

/// One value, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of values")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(v))
                    .map(|v| OneOrMany(vec![v]))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::U64Deserializer::new(v))
                    .map(|v| OneOrMany(vec![v]))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::I64Deserializer::new(v))
                    .map(|v| OneOrMany(vec![v]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// One item of `steadyState`, `abort` or `expect`: a name, perhaps a phase, and comparisons:
/// `{load: {success: ">= 99.9%"}}` or `{ledger.lost: 0}`.
#[derive(Debug, Default)]
pub(crate) struct RawConditions {
    name: Option<String>,
    pub(crate) during: Option<Spanned<String>>,
    pub(crate) lasting: Option<Dur>,
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
                (None, "for") => item.lasting = Some(map.next_value()?),
                (None, group @ ("load" | "ledger" | "recovery")) => {
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
