//! What `perf script` prints, folded.
//!
//! inferno folds it, and trusts what it reads: it panics where the first event has no name, and where
//! weights are more than a number holds. So that is found out before. It also cuts names where no
//! letter may end, and so it gets them in ASCII.

use std::io::{Error, ErrorKind};

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options};

/// Folded stacks of the first kind of event.
pub(crate) fn folded(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidData, what);
    let bytes = &ascii(bytes)[..];
    let first = first_event(bytes).ok_or_else(|| invalid("none of its lines names an event"))?;
    if weight(bytes).is_none() {
        return Err(invalid("its events weigh more than can be counted"));
    }
    let mut stacks = Vec::new();
    let mut options = Options::default();
    options.event_filter = Some(first);
    Folder::from(options).collapse(bytes, &mut stacks)?;
    Ok(original(&stacks))
}

/// Stands before the two digits of a byte that is no ASCII.
const MARK: u8 = 1;

fn ascii(bytes: &[u8]) -> Vec<u8> {
    let mut ascii = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii() && *byte != MARK {
            ascii.push(*byte);
        } else {
            ascii.push(MARK);
            ascii.extend(format!("{byte:02x}").bytes());
        }
    }
    ascii
}

/// The inverse of [`ascii`].
fn original(mut ascii: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ascii.len());
    while let Some((first, rest)) = ascii.split_first() {
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == MARK) {
            Some(byte) => {
                bytes.push(byte);
                ascii = &rest[2..];
            }
            None => {
                bytes.push(*first);
                ascii = rest;
            }
        }
    }
    bytes
}

/// The lines as inferno has them, without remarks.
fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
    lines.map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
}

/// The first event that has a name. Events of other names are left out: cycles and instructions do
/// not add up.
fn first_event(bytes: &[u8]) -> Option<String> {
    // The lines behind an event's, up to an empty one, are its stack.
    let mut in_stack = false;
    for line in lines(bytes) {
        if line.is_empty() {
            in_stack = false;
        } else if !in_stack && let Some(rest) = behind_thread(&line) {
            in_stack = true;
            if let (_, Some(name)) = period_and_event(rest) {
                return Some(name.to_owned());
            }
        }
    }
    None
}

/// What all lines weigh together that may be an event's; none where that is too much.
fn weight(bytes: &[u8]) -> Option<i64> {
    lines(bytes).try_fold(0_i64, |sum, line| {
        let (period, _) = behind_thread(&line).map_or((None, None), period_and_event);
        sum.checked_add_unsigned(period.unwrap_or(1))
    })
}

/// What stands behind the number of the thread, or of process and thread, in
/// `api 42/43 [001] 100.25: 10101010 cpu-clock:`. The first word is the thread's name, whatever it is.
fn behind_thread(line: &str) -> Option<&str> {
    let (_, mut rest) = line.split_once(' ')?;
    loop {
        let (word, behind) = rest.split_once(' ')?;
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/');
        if is_number && !word.is_empty() {
            return Some(behind);
        }
        rest = behind;
    }
}

fn period_and_event(rest: &str) -> (Option<u64>, Option<&str>) {
    let mut words = rest.split(':').nth(1).into_iter().flat_map(|part| part.rsplit(' '));
    let name = words.next();
    (words.next().and_then(|period| period.parse().ok()), name)
}
