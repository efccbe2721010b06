//! The reference of all faults, written from the table.

use std::fmt::Write as _;

use super::spec::{Choice, FaultSpec, Kind};
use super::table::FAULTS;
use crate::units::{write_bytes, write_duration};

/// `docs/faults.md`: every fault with its values, its undo and its effect.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Faults\n\nWritten from the program's own table: a test holds this page against it.\n\
         \nEach fault stands in a phase's `inject` list and is in place from the phase's start to \
         its end.\nBeside it may stand `after: 5s` (it begins later), `for: 10s` (it ends \
         earlier), and, where the\ndose can grow, `ramp: 10s` (evenly, from nothing) or \
         `steps: [25%, 50%, 100%]` (in equal parts of\nits time).\n\n    \
         inject:\n      - {network.latency: {from: api, to: db, delay: 100ms}, ramp: 10s}\n      \
         - {process.kill: {target: cache}, after: 5s}\n",
    );
    let mut family = "";
    for spec in FAULTS {
        let this = spec.name.split('.').next().unwrap_or_default();
        if this != family {
            family = this;
            let _ = writeln!(out, "\n## {family}");
        }
        section(&mut out, spec);
    }
    out
}

fn section(out: &mut String, spec: &FaultSpec) {
    let _ = writeln!(
        out,
        "\n### `{}`\n\n{}.\n\n    {}: {{{}}}\n\n| value | what it may be | what it says |\n| --- | --- | --- |",
        spec.name,
        spec.what,
        spec.name,
        spec.example()
    );
    for param in spec.params {
        let left_out = match (param.required, param.default) {
            (true, _) => "required",
            (false, Some(default)) => &format!("{default} unless said"),
            (false, None) => "may be left out",
        };
        let (name, kind, what) = (param.name, param.kind.words(), param.what);
        let _ = writeln!(out, "| `{name}` | {kind}; {left_out} | {what} |");
    }
    let _ = writeln!(out);
    for choice in spec.choices {
        let (words, names) = match choice {
            Choice::ExactlyOne(names) => ("Exactly one", names),
            Choice::AtLeastOne(names) => ("At least one", names),
        };
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(out, "{words} of {}.", names.join(", "));
    }
    let _ = writeln!(out, "Effect: {}.\nUndone by: {}.", spec.effect, spec.undone_by);
    if spec.levels {
        let _ = writeln!(out, "Takes `ramp` and `steps`.");
    }
}

impl Kind {
    /// What a value of this kind may be, in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Target | Self::Other => "a target's name".into(),
            Self::Peers => "a target's name, an address, a prefix, or a list of them".into(),
            Self::Port => "1 to 65535".into(),
            Self::Ports => "a port, or a list of ports".into(),
            Self::Duration { min, max } => {
                format!("a length of time, {} to {}", write_duration(min), write_duration(max))
            }
            Self::Offset { max } => {
                format!("a length of time with a sign, at most {}d", max.as_secs() / 86_400)
            }
            Self::Share { min, max } => {
                format!("a share, {}% to {}%", min * 100.0, max * 100.0)
            }
            Self::Number { min, max } => format!("a number, {min} to {max}"),
            Self::Count { min, max } => format!("a whole number, {min} to {max}"),
            Self::Bytes { min, max } => format!("{} to {}", write_bytes(min), write_bytes(max)),
            Self::BytesPerSecond { min, max } => {
                format!("{}/s to {}/s", write_bytes(min), write_bytes(max))
            }
            Self::PerSecond { min, max } => format!("{min}/s to {max}/s"),
            Self::Word(words) => words.join(", "),
            Self::Signal => "a signal's name or number".into(),
            Self::Text => "a text".into(),
            Self::Texts => "a text, or a list of texts".into(),
            Self::Path => "an absolute path".into(),
            Self::Flag => "true or false".into(),
        }
    }

    /// A value of this kind as somebody would write it.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Target => "api",
            Self::Other => "front",
            Self::Peers => "db",
            Self::Port | Self::Ports => "5432",
            Self::Duration { .. } => "100ms",
            Self::Offset { .. } => "-1h",
            Self::Share { .. } => "10%",
            Self::Number { .. } => "0.5",
            Self::Count { .. } => "10",
            Self::Bytes { .. } => "64MiB",
            Self::BytesPerSecond { .. } => "1MiB/s",
            Self::PerSecond { .. } => "100/s",
            Self::Word(words) => words[0],
            Self::Signal => "TERM",
            Self::Text | Self::Texts => "example.com",
            Self::Path => "/var/lib/example",
            Self::Flag => "true",
        }
    }
}
