//! Redis: a command, as clients send it (an array of bulk strings), and the error of its answer.

use super::{Heads, Request};

const PROTOCOL: &str = "Redis";
/// Several commands at once: which answer is whose is not followed.
const PIPELINE: &str = "pipeline";
/// What an answer begins with.
const ANSWERS: &[u8] = b"+-:$*_#,(!=%~>|";
const NAME_MAX: usize = 20;
const ERROR_MAX: usize = 20;

pub(super) fn read(heads: Heads<'_>) -> Option<Request> {
    let first = heads.answer.first().filter(|first| ANSWERS.contains(first))?;
    let (name, length) = command(heads.request)?;
    if length.is_some_and(|length| heads.request_bytes > length) {
        return Some(Request { protocol: PROTOCOL, kind: PIPELINE.into(), error: None });
    }
    let error = match first {
        b'-' => Some(format!("-{}", error_word(&heads.answer[1..]))),
        _ => None,
    };
    Some(Request { protocol: PROTOCOL, kind: name, error })
}

/// The command's name, and how long the whole of it is where as much can be read.
fn command(head: &[u8]) -> Option<(String, Option<usize>)> {
    let (parts, rest) = number(head.strip_prefix(b"*")?)?;
    let (length, rest) = number(rest.strip_prefix(b"$")?)?;
    let name = rest.get(..length)?;
    let is_name = (1..=NAME_MAX).contains(&name.len())
        && name.iter().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(c));
    let name = is_name.then(|| String::from_utf8_lossy(name).to_ascii_uppercase())?;
    Some((name, (parts > 0).then(|| whole(head, parts)).flatten()))
}

/// Where an array of this many bulk strings ends. None: not in sight.
fn whole(head: &[u8], parts: usize) -> Option<usize> {
    let (_, first) = number(head.strip_prefix(b"*")?)?;
    let mut at = head.len() - first.len();
    for _ in 0..parts {
        let (length, rest) = number(head.get(at..)?.strip_prefix(b"$")?)?;
        at = (head.len() - rest.len()).checked_add(length)?.checked_add(b"\r\n".len())?;
    }
    Some(at)
}

/// A number with the end of its line, and what follows.
fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, text[digits..].strip_prefix(b"\r\n")?))
}

/// `ERR`, `WRONGTYPE`, `MOVED`.
fn error_word(answer: &[u8]) -> String {
    let word: Vec<u8> =
        answer.iter().copied().take_while(u8::is_ascii_uppercase).take(ERROR_MAX).collect();
    String::from_utf8(word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_its_error_are_read() {
        let check =
            |request: &str, bytes: usize, answer: &str, expected: Option<(&str, Option<&str>)>| {
                let heads = Heads {
                    request: request.as_bytes(),
                    request_bytes: bytes,
                    answer: answer.as_bytes(),
                };
                let read = read(heads).map(|request| (request.kind, request.error));
                let expected = expected.map(|(kind, e)| (kind.to_owned(), e.map(str::to_owned)));
                assert_eq!(read, expected, "{request:?} {answer:?}");
            };
        let get = "*2\r\n$3\r\nget\r\n$1\r\nk\r\n";
        check(get, get.len(), "$-1\r\n", Some(("GET", None)));
        check(get, get.len(), "-WRONGTYPE Operation", Some(("GET", Some("-WRONGTYPE"))));
        check(get, 2 * get.len(), "$-1\r\n", Some(("pipeline", None)));
        // As much as is kept of a long value.
        let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
        let whole = set.find("vvv").unwrap() + 1000 + 2;
        check(set, whole, "+OK\r\n", Some(("SET", None)));
        check(set, whole + 10, "+OK\r\n", Some(("pipeline", None)));
        // Where the end is not in sight it is taken for one.
        check("*9\r\n$4\r\nMSET\r\n$1\r\n", 5_000, "+OK\r\n", Some(("MSET", None)));
        check("*1\r\n$4\r\nPI", 14, "+PONG\r\n", None);
        check(get, get.len(), "HTTP/1.1", None);
        check("*2\r\n$3\r\n\0\x01\x02\r\n", 16, "+OK\r\n", None);
        check("*18446744073709551615\r\n$4\r\nPING\r\n", 40, "+OK\r\n", Some(("PING", None)));
    }
}
