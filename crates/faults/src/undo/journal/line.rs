//! Lines: written, read back, and told apart from what was cut short or spoilt.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;

/// What a line begins with, up to its checksum.
const BEFORE_SUM: &str = "{\"crc32\":\"";
/// What stands between the checksum and what it is of.
const AFTER_SUM: &str = "\",\"line\":";
const SUM_DIGITS: usize = 8;

/// The version of this format. A reader that does not know it replays nothing.
pub(crate) const VERSION: u32 = 1;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Line<U> {
    /// The first: whose journal this is.
    Header(Header),
    /// Who replays it when the owner is dead. The last one counts.
    Guardian {
        /// The process.
        guardian: Identity,
    },
    /// A change that is about to be made.
    Record {
        /// Counted from 1.
        id: u64,
        /// How it is undone.
        undo: U,
    },
    /// A change that is undone.
    Done {
        /// Which.
        id: u64,
    },
}

/// Whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) version: u32,
    /// The process that makes the changes.
    pub(crate) owner: Identity,
    /// The inode of the pid namespace in which its pid, and all others here, count.
    pub(crate) pid_namespace: u64,
    /// When it is to be done, in CLOCK_MONOTONIC nanoseconds of the owner's boot; none without a
    /// guardian.
    pub(crate) deadline_ns: Option<u64>,
    /// The same, for people: nanoseconds since 1970.
    pub(crate) deadline_unix_ns: Option<u64>,
}

/// A line as it stands in the file, with its newline.
pub(crate) fn encode<U: Serialize>(line: &Line<U>) -> std::io::Result<Vec<u8>> {
    let text = serde_json::to_string(line)?;
    let sum = crc32fast::hash(text.as_bytes());
    Ok(format!("{BEFORE_SUM}{sum:08x}{AFTER_SUM}{text}}}\n").into_bytes())
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed<U> {
    /// None: it cannot be told whose it is.
    pub(crate) header: Option<Header>,
    /// The last guardian that was started.
    pub(crate) guardian: Option<Identity>,
    /// What is not done, in the order in which it was recorded.
    pub(crate) open: Vec<(u64, U)>,
    /// Lines that were whole once and cannot be read, each in words.
    pub(crate) damage: Vec<String>,
    /// The last line was cut short, so its change was not made.
    pub(crate) torn: bool,
    /// How long the file is without what was cut short.
    pub(crate) whole_bytes: usize,
}

/// Reads a journal.
pub(crate) fn parse<U: DeserializeOwned>(bytes: &[u8]) -> Parsed<U> {
    let mut parsed = Parsed {
        header: None,
        guardian: None,
        open: Vec::new(),
        damage: Vec::new(),
        torn: false,
        whole_bytes: 0,
    };
    let mut at = 0;
    let mut number = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let len = rest.iter().position(|b| *b == b'\n');
        let text = &rest[..len.unwrap_or(rest.len())];
        let is_last = len.is_none_or(|len| at + len + 1 == bytes.len());
        number += 1;
        // A write that was cut short has no newline; blocks that were never written are zeros.
        if is_last && (len.is_none() || text.contains(&0)) {
            parsed.torn = true;
            break;
        }
        match decode(text) {
            Ok(line) => parsed.take(line, number),
            Err(why) => parsed.damage.push(format!("line {number} {why}")),
        }
        at += text.len() + 1;
        parsed.whole_bytes = at;
    }
    if parsed.header.is_none() {
        parsed.damage.push("it does not say whose it is".into());
    }
    parsed
}

impl<U> Parsed<U> {
    fn take(&mut self, line: Line<U>, number: usize) {
        match line {
            Line::Header(header) if number == 1 && header.version == VERSION => {
                self.header = Some(header);
            }
            Line::Header(header) => self.damage.push(format!(
                "line {number} is a header of version {}, where none of that version is known",
                header.version
            )),
            Line::Guardian { guardian } => self.guardian = Some(guardian),
            Line::Record { id, undo } => self.open.push((id, undo)),
            Line::Done { id } => self.open.retain(|(open, _)| *open != id),
        }
    }
}

fn decode<U: DeserializeOwned>(text: &[u8]) -> Result<Line<U>, String> {
    let spoilt = || "is spoilt".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| spoilt())?;
    let rest = text.strip_prefix(BEFORE_SUM).ok_or_else(spoilt)?;
    let (sum, rest) = rest.split_at_checked(SUM_DIGITS).ok_or_else(spoilt)?;
    let body = rest
        .strip_prefix(AFTER_SUM)
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|body| format!("{:08x}", crc32fast::hash(body.as_bytes())) == sum)
        .ok_or_else(spoilt)?;
    // Whole, and yet not to be understood: a newer version wrote it.
    serde_json::from_str(body).map_err(|e| format!("is of a kind that is not known here: {e}"))
}
