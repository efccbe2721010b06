//! Values with their units read.

use std::fmt;
use std::time::Duration;

use super::spec::Kind;
use crate::units;

/// A value that a fault was given.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The name of a target.
    Target(String),
    /// Targets and addresses.
    Peers(Peers),
    /// Ports.
    Ports(Vec<u16>),
    /// A length of time.
    Duration(Duration),
    /// A length of time, and whether it counts backwards.
    Offset {
        /// How far.
        by: Duration,
        /// Into the past.
        back: bool,
    },
    /// A share (0 to 1), or a number with a fraction.
    Number(f64),
    /// A whole number: a count, bytes, or so many a second.
    Count(u64),
    /// A word, a path, any text. A signal is its number.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Yes or no.
    Flag(bool),
}

/// The other side of a fault of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// Targets, by name.
    pub targets: Vec<String>,
    /// Addresses and prefixes, as written.
    pub addresses: Vec<String>,
}

/// The signals that can be named, with their numbers where they are the same on every
/// architecture that we run on.
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
];

/// Reads one scalar as a value of this kind.
///
/// # Errors
/// In words for the file's author.
pub(super) fn read(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Duration { min, max } => {
            let d = units::parse_duration(text)?;
            if d < min || d > max {
                let (min, max) = (units::write_duration(min), units::write_duration(max));
                return Err(format!("{text} is out of range: from {min} to {max}"));
            }
            Ok(Value::Duration(d))
        }
        Kind::Offset { max } => {
            let (back, rest) = match text.trim().strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, text.trim().trim_start_matches('+')),
            };
            let by = units::parse_offset(rest)?;
            if by.is_zero() || by > max {
                let days = max.as_secs() / 86_400;
                return Err(format!(
                    "{text} is out of range: not 0, and at most {days}d either way"
                ));
            }
            Ok(Value::Offset { by, back })
        }
        Kind::Share { min, max } => {
            let share = units::parse_share(text)?;
            if share < min || share > max {
                return Err(format!(
                    "{text} is out of range: from {}% to {}%",
                    min * 100.0,
                    max * 100.0
                ));
            }
            Ok(Value::Number(share))
        }
        Kind::Number { min, max } => {
            let number: f64 = text
                .trim()
                .parse()
                .map_err(|_| format!("\"{text}\" is not a number: write one such as 0.5"))?;
            if !(min..=max).contains(&number) {
                return Err(format!("{text} is out of range: from {min} to {max}"));
            }
            Ok(Value::Number(number))
        }
        Kind::Count { min, max } => in_range(text, units::parse_count(text)?, min, max),
        Kind::Bytes { min, max } => in_range(text, units::parse_bytes(text)?, min, max),
        Kind::BytesPerSecond { min, max } => {
            in_range(text, units::parse_bytes_per_second(text)?, min, max)
        }
        Kind::PerSecond { min, max } => in_range(text, units::parse_per_second(text)?, min, max),
        Kind::Word(words) => {
            if words.contains(&text) {
                Ok(Value::Text(text.to_owned()))
            } else {
                Err(format!("\"{text}\" is not one of: {}", words.join(", ")))
            }
        }
        Kind::Signal => signal(text),
        Kind::Path => {
            if text.starts_with('/') {
                Ok(Value::Text(text.to_owned()))
            } else {
                Err(format!("\"{text}\" is not an absolute path: it begins with a slash"))
            }
        }
        Kind::Flag => match text {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(format!("\"{text}\" is neither true nor false")),
        },
        Kind::Port | Kind::Ports => port(text).map(|port| Value::Ports(vec![port])),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Texts => Ok(Value::Texts(vec![text.to_owned()])),
        Kind::Target | Kind::Other | Kind::Peers => Ok(Value::Target(text.to_owned())),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("\"{text}\" is not a port: write a whole number from 1 to 65535"))
}

fn in_range(text: &str, value: u64, min: u64, max: u64) -> Result<Value, String> {
    if (min..=max).contains(&value) {
        Ok(Value::Count(value))
    } else {
        Err(format!("{text} is out of range: from {min} to {max}"))
    }
}

fn signal(text: &str) -> Result<Value, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = SIGNALS.iter().find(|(known, number)| *known == name || number.to_string() == name);
    known.map(|(_, number)| Value::Count(u64::from(*number))).ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        format!("\"{text}\" is not a signal: known are {}", names.join(", "))
    })
}

/// As it stands in a file, with the unit that its kind has.
pub(crate) struct Written<'a>(pub(crate) Kind, pub(crate) &'a Value);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (_, Value::Duration(d)) => f.write_str(&units::write_duration(*d)),
            (_, Value::Offset { by, back }) => {
                write!(f, "{}{}", if *back { "-" } else { "" }, units::write_duration(*by))
            }
            (Kind::Share { .. }, Value::Number(share)) => f.write_str(&units::write_share(*share)),
            (_, Value::Number(number)) => write!(f, "{number}"),
            (Kind::Bytes { .. }, Value::Count(n)) => write!(f, "{n}B"),
            (Kind::BytesPerSecond { .. }, Value::Count(n)) => write!(f, "{n}B/s"),
            (Kind::PerSecond { .. }, Value::Count(n)) => write!(f, "{n}/s"),
            (Kind::Signal, Value::Count(n)) => {
                let name = SIGNALS.iter().find(|(_, number)| u64::from(*number) == *n);
                write!(f, "{}", name.map_or("KILL", |(name, _)| name))
            }
            (_, Value::Count(n)) => write!(f, "{n}"),
            (_, Value::Flag(yes)) => write!(f, "{yes}"),
            (_, Value::Target(text) | Value::Text(text)) => f.write_str(&quote(text)),
            (_, Value::Texts(texts)) => list(f, texts.iter().map(|text| quote(text))),
            (Kind::Port, Value::Ports(ports)) => {
                ports.first().map_or(Ok(()), |port| write!(f, "{port}"))
            }
            (_, Value::Ports(ports)) => list(f, ports.iter().map(ToString::to_string)),
            (_, Value::Peers(peers)) => {
                list(f, peers.targets.iter().chain(&peers.addresses).map(|peer| quote(peer)))
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    write!(f, "[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A double-quoted YAML scalar, which every text fits into.
pub(crate) fn quote(text: &str) -> String {
    use fmt::Write as _;

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
