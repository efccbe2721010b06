//! PostgreSQL: the first word of a statement, and the code of its error.
//!
//! A simple query carries its text. Of the extended protocol one step has the text (Parse) and
//! another runs it (Bind, Execute): where those go to the server apart, the statement's name joins
//! them.

use std::collections::HashMap;

use super::{Heads, Request};

const PROTOCOL: &str = "PostgreSQL";
/// Statements that are remembered by name, on all connections together.
const STATEMENTS_MAX: usize = 65_536;
/// What the two sides' messages begin with.
const OF_CLIENT: &[u8] = b"QPBEDCSHFXcdf";
const OF_SERVER: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";

/// Statements that carry a name of their own, which the server has been told before.
const PREPARED: &str = "prepared";
/// Several statements at once: which answer is whose is not followed.
const BATCH: &str = "batch";
/// A statement was parsed, none was run.
const PREPARE: &str = "prepare";
const COPY_DATA: &str = "COPY data";
const OTHER: &str = "other";

const WORDS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "WITH",
    "VALUES",
    "TABLE",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "SHOW",
    "RESET",
    "DISCARD",
    "COPY",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "COMMENT",
    "GRANT",
    "REVOKE",
    "EXPLAIN",
    "ANALYZE",
    "VACUUM",
    "REINDEX",
    "CLUSTER",
    "REFRESH",
    "CHECKPOINT",
    "CALL",
    "DO",
    "LOCK",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
];

/// The messages of a request's first packet and of its answer's, by their letters; 0 is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages<'a> {
    pub(super) request: &'a [u8],
    pub(super) answer: &'a [u8],
    /// The beginning of the first error.
    pub(super) failure: &'a [u8],
}

type Connection = (u64, u64);

/// The statements that servers have been told, by connection and name.
#[derive(Debug, Default)]
pub(super) struct Statements {
    words: HashMap<(Connection, Vec<u8>), &'static str>,
}

impl Statements {
    pub(super) fn read(
        &mut self,
        of: Connection,
        heads: Heads<'_>,
        messages: Messages<'_>,
    ) -> Option<Request> {
        let asked = letters(messages.request, OF_CLIENT)?;
        letters(messages.answer, OF_SERVER)?;
        let failed = messages.failure.first() == Some(&b'E');
        let error = failed.then(|| failure(messages.failure)).flatten();
        // There may be more than were looked at.
        let more = asked.len() == messages.request.len();
        let kind = self.kind(of, (asked, more), heads.request, error.is_none())?;
        Some(Request { protocol: PROTOCOL, kind: kind.to_owned(), error })
    }

    fn kind(
        &mut self,
        of: Connection,
        (asked, more): (&[u8], bool),
        head: &[u8],
        succeeded: bool,
    ) -> Option<&'static str> {
        let mut ran = None;
        for (letter, body) in messages(head) {
            match letter {
                b'Q' => ran = ran.or_else(|| Some(word(text(body)?.0))),
                b'P' => {
                    let Some((name, rest)) = text(body) else { continue };
                    let word = word(text(rest).map_or(rest, |(query, _)| query));
                    if !name.is_empty() && succeeded {
                        self.remember(of, name, word);
                    }
                    ran = ran.or(Some(word));
                }
                b'B' => {
                    let Some((_, rest)) = text(body) else { continue };
                    let known = text(rest).and_then(|(name, _)| self.known(of, name));
                    ran = ran.or(known).or(Some(PREPARED));
                }
                _ => {}
            }
        }
        let count = |letters: &[u8]| asked.iter().filter(|one| letters.contains(one)).count();
        match asked[0] {
            b'c' | b'd' | b'f' => Some(COPY_DATA),
            b'X' => None,
            _ if more || count(b"QE") > 1 || count(b"QS") > 1 => Some(BATCH),
            _ if count(b"QEF") == 1 => Some(ran.unwrap_or(OTHER)),
            _ if count(b"P") > 0 => Some(PREPARE),
            _ => Some(OTHER),
        }
    }

    fn known(&self, of: Connection, name: &[u8]) -> Option<&'static str> {
        self.words.get(&(of, name.to_vec())).copied()
    }

    fn remember(&mut self, of: Connection, name: &[u8], word: &'static str) {
        // Of those that are gone nobody tells; the rest is told anew, or goes by another word.
        if self.words.len() >= STATEMENTS_MAX {
            self.words.clear();
        }
        self.words.insert((of, name.to_vec()), word);
    }
}

/// The letters, if all are of this side's messages.
fn letters<'a>(all: &'a [u8], of: &[u8]) -> Option<&'a [u8]> {
    let length = all.iter().position(|letter| *letter == 0).unwrap_or(all.len());
    let all = &all[..length];
    (!all.is_empty() && all.iter().all(|letter| of.contains(letter))).then_some(all)
}

/// The messages of which at least the letter and the length are there, each with as much of its
/// body as is.
fn messages(head: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let (letter, after) = rest.split_first()?;
        let length = after.first_chunk::<4>().map(|length| u32::from_be_bytes(*length))?;
        let end = usize::try_from(length).ok().filter(|length| *length >= 4)?.min(after.len());
        rest = &after[end..];
        Some((*letter, &after[4..end]))
    })
}

/// A string that ends with 0, and what follows. None: its end is not in sight.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The first word of a statement, behind comments and parentheses.
fn word(statement: &[u8]) -> &'static str {
    let mut rest = statement;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(comment) = rest.strip_prefix(b"--") {
            let end = comment.iter().position(|c| *c == b'\n').unwrap_or(comment.len());
            rest = &comment[end..];
        } else if let Some(comment) = rest.strip_prefix(b"/*") {
            let end = comment.windows(2).position(|two| two == b"*/");
            rest = end.map_or(&[], |end| &comment[end + 2..]);
        } else if let Some(inner) = rest.strip_prefix(b"(") {
            rest = inner;
        } else {
            break;
        }
    }
    let length = rest.iter().take_while(|c| c.is_ascii_alphabetic()).count();
    let known = |word: &&&str| rest[..length].eq_ignore_ascii_case(word.as_bytes());
    WORDS.iter().find(known).copied().unwrap_or(OTHER)
}

/// `ERROR 57P01`, from the fields of an error: each a letter and a text.
fn failure(message: &[u8]) -> Option<String> {
    let (mut severity, mut code) = (None, None);
    let mut rest = message.get(5..)?;
    while let Some((field, value)) = rest.split_first() {
        let Some((value, after)) = text(value) else { break };
        match field {
            b'S' if severity.is_none() => severity = Some(value),
            // The same, in no language but PostgreSQL's own.
            b'V' => severity = Some(value),
            b'C' => code = Some(value),
            _ => {}
        }
        rest = after;
    }
    let plain = |bytes: &&[u8]| {
        (1..=12).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_alphanumeric)
    };
    let severity = severity.filter(plain).unwrap_or(b"ERROR");
    let code = code.filter(plain)?;
    Some(format!("{} {}", String::from_utf8_lossy(severity), String::from_utf8_lossy(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[letter][..], &length, body].concat()
    }

    /// The letters, as the kernel half hands them over.
    fn types(of: &str) -> [u8; 16] {
        let mut types = [0; 16];
        types[..of.len()].copy_from_slice(of.as_bytes());
        types
    }

    struct Case<'a> {
        request: &'a [Vec<u8>],
        asked: &'a str,
        answered: &'a str,
        failure: &'a [u8],
    }

    impl Statements {
        fn check(&mut self, case: &Case<'_>, expected: Option<(&str, Option<&str>)>) {
            let request = case.request.concat();
            let head = &request[..request.len().min(96)];
            let heads = Heads { request: head, request_bytes: request.len(), answer: b"" };
            let (asked, answered) = (types(case.asked), types(case.answered));
            let messages = Messages { request: &asked, answer: &answered, failure: case.failure };
            let read = self.read((1, 1), heads, messages);
            let read = read.as_ref().map(|one| (one.kind.as_str(), one.error.as_deref()));
            assert_eq!(read, expected, "{} {}", case.asked, case.answered);
        }
    }

    #[test]
    fn a_simple_query_is_known_by_its_first_word() {
        let mut statements = Statements::default();
        let mut check = |query: &str, word| {
            let request = [message(b'Q', format!("{query}\0").as_bytes())];
            let case = Case { request: &request, asked: "Q", answered: "TDCZ", failure: b"" };
            statements.check(&case, Some((word, None)));
        };
        check("select 1", "SELECT");
        check("  (SELECT 1) UNION SELECT 2", "SELECT");
        check("-- who\n/* why */ insert into t values (1)", "INSERT");
        check("UPDATE t SET a = 1;", "UPDATE");
        check("frobnicate", "other");
        check("/* without end", "other");
        check("", "other");
    }

    #[test]
    fn a_statement_that_is_prepared_is_known_when_it_runs() {
        let mut statements = Statements::default();
        let parse = message(b'P', b"s1\0INSERT INTO orders VALUES ($1)\0\0\0");
        let (sync, execute) = (message(b'S', b""), message(b'E', b"\0\0\0\0\0"));
        let describe = message(b'D', b"Ss1\0");
        let bind = |name: &[u8]| message(b'B', &[b"\0", name, b"\0\0\0"].concat());
        let case = |request, asked, answered| Case { request, asked, answered, failure: b"" };
        let run = [bind(b"s1"), execute.clone(), sync.clone()];
        statements.check(&case(&run, "BES", "2CZ"), Some(("prepared", None)));
        let prepare = [parse, describe, sync.clone()];
        statements.check(&case(&prepare, "PDS", "1tnZ"), Some(("prepare", None)));
        statements.check(&case(&run, "BES", "2CZ"), Some(("INSERT", None)));
        let unnamed =
            message(b'P', b"\0DELETE FROM orders WHERE id = $1 AND a_long_name_it_is = $2\0\0\0");
        let whole = [unnamed, bind(b""), execute.clone(), sync.clone()];
        statements.check(&case(&whole, "PBES", "12CZ"), Some(("DELETE", None)));
        let twice = [bind(b"s1"), execute.clone(), bind(b"s1"), execute, sync];
        statements.check(&case(&twice, "BEBES", "2C2CZ"), Some(("batch", None)));
        statements.check(&case(&run, "BES", "hello"), None);
        statements.check(&case(&run, "GET", "2CZ"), None);
    }

    #[test]
    fn an_error_has_its_code() {
        let mut statements = Statements::default();
        let request = [message(b'Q', b"SELECT 1/0\0")];
        let failure = message(b'E', b"SFEHLER\0VERROR\0C22012\0Mdivision by zero\0Fint.c\0\0");
        let mut check = |failure: &[u8], error| {
            let case = Case { request: &request, asked: "Q", answered: "EZ", failure };
            statements.check(&case, Some(("SELECT", error)));
        };
        check(&failure, Some("ERROR 22012"));
        check(&failure[..27], Some("ERROR 22012"));
        check(&failure[..25], None);
        check(&message(b'E', b"SFATAL\0C57P01\0\0"), Some("FATAL 57P01"));
        check(b"", None);
    }
}
