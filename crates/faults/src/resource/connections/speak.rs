//! What is said on a connection so that the server counts it, and what its answer means.

use std::net::SocketAddr;

/// What a connection says to the server, so that it counts as one of the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speak {
    /// Nothing: a connection that waits, as one of a pool does.
    Tcp,
    /// PostgreSQL's start-up: the connection has a backend. No password is sent: a server that
    /// wants one keeps a backend waiting for it until its `authentication_timeout`.
    Postgres {
        /// Who connects.
        user: String,
        /// To what.
        database: String,
    },
    /// Redis: the client names itself `temblor`.
    Redis,
    /// HTTP/1.1: a request whose head never ends.
    Http,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is not all there yet.
    More,
    /// The server has taken the connection.
    Taken,
    /// The server has not; its words.
    Refused(String),
}

/// More than any greeting says.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How much of a server's words is passed on.
const WORDS_CHARS_MAX: usize = 160;

impl Speak {
    /// The word for it in an experiment file.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Postgres { .. } => "postgres",
            Self::Redis => "redis",
            Self::Http => "http",
        }
    }

    /// What is said first on a connection that is to be held.
    pub(super) fn opening(&self, to: SocketAddr) -> Vec<u8> {
        match self {
            Self::Tcp => Vec::new(),
            Self::Postgres { user, database } => startup(user, database),
            Self::Redis => b"CLIENT SETNAME temblor\r\n".to_vec(),
            Self::Http => format!("GET / HTTP/1.1\r\nHost: {to}\r\n").into_bytes(),
        }
    }

    /// What is said on a connection that only asks whether it would be taken.
    pub(super) fn question(&self, to: SocketAddr) -> Vec<u8> {
        match self {
            Self::Http => {
                format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").into_bytes()
            }
            _ => self.opening(to),
        }
    }

    /// Whether the server says something before it counts a held connection as one.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Self::Postgres { .. } | Self::Redis)
    }

    /// What the bytes so far mean.
    pub(super) fn heard(&self, bytes: &[u8]) -> Heard {
        match self {
            // A server that speaks first has taken the connection.
            Self::Tcp => {
                if bytes.is_empty() {
                    Heard::More
                } else {
                    Heard::Taken
                }
            }
            Self::Postgres { .. } => heard_postgres(bytes),
            Self::Redis => heard_line(bytes, |line| {
                line.starts_with("-ERR max") || line.starts_with("-DENIED")
            }),
            Self::Http => heard_line(bytes, |line| {
                let status = line.split(' ').nth(1).unwrap_or_default();
                ["408", "429", "503"].contains(&status)
            }),
        }
    }
}

/// Version 3.0 of the protocol, without encryption.
fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", user, "database", database, "application_name", "temblor"] {
        body.extend(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &body].concat()
}

fn heard_postgres(mut bytes: &[u8]) -> Heard {
    loop {
        let Some((head, rest)) = bytes.split_at_checked(5) else { return Heard::More };
        let (kind, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let Some(length) = (u32::from_be_bytes(length) as usize).checked_sub(4) else {
            return Heard::Refused("it does not speak PostgreSQL's protocol".into());
        };
        if length > MESSAGE_BYTES_MAX {
            // A server that could not even start a backend says so as in version 2 of the
            // protocol: `E`, a line, a zero.
            return match (kind, bytes.contains(&0) || bytes.len() > MESSAGE_BYTES_MAX) {
                (b'E', false) => Heard::More,
                (b'E', true) => Heard::Refused(words(&bytes[1..])),
                _ => Heard::Refused("it does not speak PostgreSQL's protocol".into()),
            };
        }
        let Some((message, after)) = rest.split_at_checked(length) else { return Heard::More };
        match kind {
            b'E' => return Heard::Refused(error_response(message)),
            b'Z' => return Heard::Taken,
            // It asks for a password: a backend waits for it.
            b'R' if message != [0; 4] => return Heard::Taken,
            b'R' | b'S' | b'K' | b'N' | b'v' => bytes = after,
            _ => return Heard::Refused("it does not speak PostgreSQL's protocol".into()),
        }
    }
}

/// `FATAL: sorry, too many clients already (53300)`.
fn error_response(message: &[u8]) -> String {
    let field = |code: u8| {
        let found = message.split(|byte| *byte == 0).find(|field| field.first() == Some(&code));
        words(found.and_then(|field| field.get(1..)).unwrap_or_default())
    };
    format!("{}: {} ({})", field(b'S'), field(b'M'), field(b'C'))
}

fn heard_line(bytes: &[u8], is_refusal: impl Fn(&str) -> bool) -> Heard {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > MESSAGE_BYTES_MAX {
            Heard::Refused("its answer has no end".into())
        } else {
            Heard::More
        };
    };
    let line = words(&bytes[..end]);
    if is_refusal(&line) { Heard::Refused(line) } else { Heard::Taken }
}

/// The first line of what a server said, in a length for people.
pub(super) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split(['\n', '\r', '\0']).find(|line| !line.trim().is_empty());
    line.unwrap_or_default()
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(WORDS_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres() -> Speak {
        Speak::Postgres { user: "app".into(), database: "shop".into() }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn the_start_up_message_is_as_the_protocol_has_it() {
        let said = postgres().opening("10.0.0.1:5432".parse().unwrap());
        let expected = b"\x00\x03\x00\x00user\0app\0database\0shop\0application_name\0temblor\0\0";
        assert_eq!(said[..4], u32::try_from(said.len()).unwrap().to_be_bytes());
        assert_eq!(&said[4..], expected);
    }

    #[test]
    fn an_answer_is_understood_however_it_is_cut() {
        let ready = [
            message(b'R', &[0; 4]),
            message(b'S', b"TimeZone\0UTC\0"),
            message(b'K', &[1; 8]),
            message(b'Z', b"I"),
        ]
        .concat();
        let full =
            message(b'E', b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0Fproc.c\0\0");
        let refused = |said: &str| Heard::Refused(said.into());
        let not_postgres = || refused("it does not speak PostgreSQL's protocol");
        for (speak, bytes, expected) in [
            (postgres(), ready, Heard::Taken),
            (postgres(), message(b'R', &[0, 0, 0, 10, b'S']), Heard::Taken),
            (postgres(), full, refused("FATAL: sorry, too many clients already (53300)")),
            (
                postgres(),
                b"Ecould not fork new process for connection: no\n\0".to_vec(),
                refused("could not fork new process for connection: no"),
            ),
            (postgres(), b"HTTP/1.1 400 Bad Request\r\n".to_vec(), not_postgres()),
            (postgres(), vec![b'R', 0, 0, 0, 1, 0], not_postgres()),
            (Speak::Redis, b"+OK\r\n".to_vec(), Heard::Taken),
            (Speak::Redis, b"-NOAUTH Authentication required.\r\n".to_vec(), Heard::Taken),
            (
                Speak::Redis,
                b"-ERR max number of clients reached\r\n".to_vec(),
                refused("-ERR max number of clients reached"),
            ),
            (Speak::Http, b"HTTP/1.1 200 OK\r\n".to_vec(), Heard::Taken),
            (
                Speak::Http,
                b"HTTP/1.1 503 Service Unavailable\r\n".to_vec(),
                refused("HTTP/1.1 503 Service Unavailable"),
            ),
        ] {
            assert_eq!(speak.heard(&bytes), expected);
            if expected != not_postgres() {
                for cut in 0..bytes.len() {
                    let early = speak.heard(&bytes[..cut]);
                    assert!(early == Heard::More || early == expected, "{early:?} at {cut}");
                }
            }
        }
    }

    #[test]
    fn words_are_one_line_of_bounded_length() {
        assert_eq!(words(b"\r\n one\x07 \ntwo"), "one");
        assert_eq!(words(&[b'x'; 1000]).len(), WORDS_CHARS_MAX);
        assert_eq!(words(&[0xff, b'a']), "\u{fffd}a");
    }
}
