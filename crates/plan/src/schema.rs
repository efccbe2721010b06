//! The JSON Schema of the experiment file, written from the same table that the parser reads.

use serde_json::{Map, Value, json};
use temblor_event::Figure;

use crate::fault::{Choice, FAULTS, FaultSpec, Kind};
use crate::profile::ProfileKind;
use crate::{ALLOWED, API_VERSION, LABS, LOAD_PROFILES, PROBES};

const DURATION: &str = r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*(us|ms|s|m|h)\s*$";
const RATE: &str = r"^\s*[0-9.]+\s*/\s*(s|m)\s*$";
const SHARE: &str = r"^\s*[0-9.]+\s*%\s*$";
const SIZE: &str = r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$";
const BYTE_RATE: &str =
    r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|bit|kbit|Kbit|Mbit|Gbit)/s\s*$";

/// The schema (draft 2020-12). What it accepts may still be refused for what no schema can say:
/// names that do not resolve, values that do not fit together.
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(
        &["apiVersion", "kind", "metadata", "phases"],
        &[
            ("apiVersion", json!({"const": API_VERSION})),
            ("kind", json!({"const": "Experiment"})),
            ("metadata", metadata()),
            ("lab", json!({"enum": LABS})),
            ("safety", safety()),
            ("targets", json!({"type": "object", "additionalProperties": target()})),
            ("load", load()),
            ("steadyState", list(conditions(false))),
            ("steadyHold", text(DURATION)),
            ("checks", list(check())),
            ("gauges", list(gauge())),
            (
                "counters",
                list(object(
                    &["name", "prometheus"],
                    &[("name", string()), ("prometheus", metric())],
                )),
            ),
            ("ledger", ledger()),
            ("phases", json!({"type": "array", "minItems": 1, "items": phase()})),
            ("observe", list(observed())),
            ("profile", profile()),
            ("abort", list(conditions(true))),
            ("expect", list(conditions(false))),
        ],
    );
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("Temblor experiment"));
    }
    schema
}

fn string() -> Value {
    json!({"type": "string"})
}

fn text(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn port() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 65535})
}

/// An object with these fields and no others.
fn object(required: &[&str], properties: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn metadata() -> Value {
    let question = object(
        &["question", "answers"],
        &[
            ("question", string()),
            ("answers", json!({"type": "array", "minItems": 1, "items": {"type": "string"}})),
        ],
    );
    object(
        &["name"],
        &[
            ("name", text("^[a-z0-9][a-z0-9-]{0,62}$")),
            ("title", string()),
            ("hypothesis", string()),
            ("learn", list(question)),
        ],
    )
}

fn safety() -> Value {
    let words: Vec<&str> = ALLOWED.iter().map(|(word, _)| *word).collect();
    object(
        &[],
        &[
            ("allow", list(json!({"enum": words}))),
            ("share", text(SHARE)),
            ("faultMax", text(DURATION)),
        ],
    )
}

fn target() -> Value {
    const WAYS: &[&str] =
        &["service", "pid", "process", "cgroup", "unit", "container", "label", "compose"];
    let mut properties: Vec<(&str, Value)> = WAYS.iter().map(|way| (*way, string())).collect();
    properties[1].1 = json!({"type": "integer", "minimum": 1});
    properties.push(("project", string()));
    properties.push(("pick", json!({"type": ["string", "integer"]})));
    let mut target = object(&[], &properties);
    let one_of: Vec<Value> = WAYS.iter().map(|way| json!({"required": [way]})).collect();
    target["oneOf"] = json!(one_of);
    target
}

fn load() -> Value {
    object(
        &["profile", "rate", "target", "port"],
        &[
            ("profile", json!({"enum": LOAD_PROFILES})),
            ("rate", text(RATE)),
            ("arrivals", json!({"enum": ["poisson", "constant"]})),
            ("target", string()),
            ("port", port()),
            ("timeout", text(DURATION)),
        ],
    )
}

fn check() -> Value {
    let http = object(
        &["target", "port", "path"],
        &[
            ("target", string()),
            ("port", port()),
            ("path", text("^/\\S*$")),
            ("status", json!({"type": "integer", "minimum": 100, "maximum": 599})),
            (
                "json",
                json!({"type": "object", "minProperties": 1, "maxProperties": 1,
                    "additionalProperties": {"type": "string"}}),
            ),
        ],
    );
    let mut check = object(
        &["name"],
        &[
            ("name", string()),
            ("http", http),
            ("tcp", object(&["target", "port"], &[("target", string()), ("port", port())])),
            ("every", text(DURATION)),
            ("timeout", text(DURATION)),
        ],
    );
    check["oneOf"] = json!([{"required": ["http"]}, {"required": ["tcp"]}]);
    check
}

fn metric() -> Value {
    object(
        &["target", "port", "metric"],
        &[
            ("target", string()),
            ("port", port()),
            ("path", text("^/\\S*$")),
            ("metric", string()),
            ("labels", json!({"type": "object", "additionalProperties": {"type": "string"}})),
        ],
    )
}

fn gauge() -> Value {
    object(
        &["name", "prometheus"],
        &[
            ("name", string()),
            ("prometheus", metric()),
            ("every", text(DURATION)),
            ("backlog", json!({"type": "boolean"})),
        ],
    )
}

fn ledger() -> Value {
    let postgres = object(
        &["target", "user", "database", "query"],
        &[
            ("target", string()),
            ("port", port()),
            ("user", string()),
            ("database", string()),
            ("query", text("\\$1")),
        ],
    );
    object(&["postgres"], &[("postgres", postgres), ("settle", text(DURATION))])
}

fn phase() -> Value {
    object(
        &["name", "for"],
        &[
            ("name", string()),
            ("for", text(DURATION)),
            ("until", json!({"const": "steady"})),
            ("inject", list(inject())),
        ],
    )
}

/// One fault, and beside it when and how it grows.
fn inject() -> Value {
    let mut properties: Vec<(&str, Value)> =
        FAULTS.iter().map(|spec| (spec.name, fault(spec))).collect();
    properties.push(("after", text(DURATION)));
    properties.push(("for", text(DURATION)));
    properties.push(("ramp", text(DURATION)));
    properties.push(("steps", json!({"type": "array", "minItems": 1, "items": text(SHARE)})));
    let mut item = object(&[], &properties);
    let one_of: Vec<Value> = FAULTS.iter().map(|spec| json!({"required": [spec.name]})).collect();
    item["oneOf"] = json!(one_of);
    item
}

fn fault(spec: &FaultSpec) -> Value {
    let required: Vec<&str> =
        spec.params.iter().filter(|param| param.required).map(|param| param.name).collect();
    let properties: Vec<(&str, Value)> = spec
        .params
        .iter()
        .map(|param| {
            let mut value = kind(param.kind);
            value["description"] = json!(param.what);
            if let Some(default) = param.default {
                value["default"] = json!(default);
            }
            (param.name, value)
        })
        .collect();
    let mut fault = object(&required, &properties);
    fault["description"] = json!(spec.what);
    let choices: Vec<Value> = spec
        .choices
        .iter()
        .map(|choice| match choice {
            Choice::ExactlyOne(names) => {
                let each: Vec<Value> = names.iter().map(|n| json!({"required": [n]})).collect();
                json!({"oneOf": each})
            }
            Choice::AtLeastOne(names) => {
                let each: Vec<Value> = names.iter().map(|n| json!({"required": [n]})).collect();
                json!({"anyOf": each})
            }
        })
        .collect();
    if !choices.is_empty() {
        fault["allOf"] = json!(choices);
    }
    fault
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Target | Kind::Other => string(),
        Kind::Peers | Kind::Texts => {
            json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Kind::Port => port(),
        Kind::Ports => json!({"oneOf": [port(), {"type": "array", "items": port()}]}),
        Kind::Duration { .. } => text(DURATION),
        Kind::Offset { .. } => text(r"^\s*[+-]?[0-9.]+\s*(us|ms|s|m|h|d)\s*$"),
        Kind::Share { .. } => text(SHARE),
        Kind::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Bytes { .. } => text(SIZE),
        Kind::BytesPerSecond { .. } => text(BYTE_RATE),
        Kind::PerSecond { .. } => text(r"^\s*[0-9]+\s*/s\s*$"),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Signal => json!({"type": ["string", "integer"]}),
        Kind::Text => string(),
        Kind::Path => text("^/"),
        Kind::Flag => json!({"type": "boolean"}),
    }
}

/// A probe by its name, or a bpftrace script by its path.
fn observed() -> Value {
    let script = object(&["bpftrace"], &[("bpftrace", json!({"type": "string", "minLength": 1}))]);
    json!({"oneOf": [{"enum": PROBES}, script]})
}

/// A kind of profile, several, or each with its phases.
fn profile() -> Value {
    let kinds: Vec<&str> = ProfileKind::all().map(ProfileKind::name).collect();
    let phases = json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": string()});
    let phases = json!({"oneOf": [string(), phases]});
    let of = |kind: ProfileKind| {
        let mut values = vec![("phases", phases.clone())];
        if kind.rate_hz().is_some() {
            values.push(("rate", text(RATE)));
        }
        let mut values = object(&[], &values);
        values["minProperties"] = json!(1);
        (kind.name(), json!({"oneOf": [phases["oneOf"][0], phases["oneOf"][1], values]}))
    };
    let properties: Vec<(&str, Value)> = ProfileKind::all().map(of).collect();
    let mut each = object(&[], &properties);
    each["minProperties"] = json!(1);
    let all =
        json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": {"enum": kinds}});
    json!({"oneOf": [{"enum": kinds}, all, each]})
}

/// One item of `steadyState`, `abort` or `expect`.
fn conditions(abort: bool) -> Value {
    let comparison = json!({"type": ["string", "integer"]});
    let mut properties: Vec<(String, Value)> =
        vec![("name".into(), string()), ("during".into(), string())];
    if abort {
        properties.push(("for".into(), text(DURATION)));
        properties.push(("check".into(), string()));
    }
    let mut groups: Map<String, Value> = Map::new();
    for figure in Figure::ALL {
        properties.push((figure.name().to_owned(), comparison.clone()));
        if let Some((group, short)) = figure.name().split_once('.') {
            let entry = groups.entry(group).or_insert_with(
                || json!({"type": "object", "additionalProperties": false, "properties": {}}),
            );
            entry["properties"][short] = comparison.clone();
        }
    }
    properties.extend(groups);
    let properties: Map<String, Value> = properties.into_iter().collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
