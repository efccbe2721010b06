//! From how an exchange ended to what the ledger may say about it. No I/O.
//!
//! `ok` and `fail` are promises that are later held against the database, so each needs proof:
//!
//! | what happened | outcome | because |
//! | --- | --- | --- |
//! | complete 2xx answer that acknowledges this order | ok | |
//! | 2xx whose body is no acknowledgement of it | unsure | something took it, we cannot say what |
//! | complete 4xx answer | fail | a refusal |
//! | 503 with a JSON object that has `error` | fail | the API's own refusal, made before it acts |
//! | any other 503, and 502 or 504 | unsure | a proxy says it when its upstream was lost half-way |
//! | 500 and every other 5xx, 3xx, 1xx | unsure | not a refusal: it may have happened and then failed |
//! | no connection, in time or at all | fail | no byte of it left |
//! | no connection for want of descriptors, ports or memory here | unsent | our own fault, not the server's |
//! | time-out, reset, end or rubbish after it may have left | unsure | |

use bytes::Bytes;
use serde_json::Value;
use temblor_event::Outcome;

use crate::profiles::Profile;

/// Bytes of a refusal that are kept as the reason.
const REASON_CHARS_MAX: usize = 200;

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was no connection, so nothing of the request left.
    NoConnection(String),
    /// This machine could not open a connection: out of descriptors, ports or memory.
    Exhausted(String),
    /// A complete answer.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The whole body.
        body: Bytes,
    },
    /// The request may have left, and no complete answer came.
    Broken {
        /// If it was the body that broke off.
        status: Option<u16>,
        /// In what way.
        why: String,
    },
    /// The request may have left, and no complete answer came in time.
    TimedOut {
        /// If the time ran out while the body was read.
        status: Option<u16>,
    },
}

/// What the ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) timed_out: bool,
    pub(crate) status: Option<u16>,
    pub(crate) order_id: Option<String>,
    pub(crate) error: Option<String>,
}

impl Verdict {
    pub(crate) fn without_answer(outcome: Outcome, error: impl Into<String>) -> Self {
        Self { outcome, timed_out: false, status: None, order_id: None, error: Some(error.into()) }
    }
}

pub(crate) fn judge(ended: Ended, key: &str, profile: &dyn Profile) -> Verdict {
    match ended {
        Ended::NoConnection(why) => Verdict::without_answer(Outcome::Fail, why),
        Ended::Exhausted(why) => Verdict::without_answer(Outcome::Unsent, why),
        Ended::Broken { status, why } => {
            Verdict { status, ..Verdict::without_answer(Outcome::Unsure, why) }
        }
        Ended::TimedOut { status } => Verdict {
            status,
            timed_out: true,
            ..Verdict::without_answer(Outcome::Unsure, "no complete answer within the time-out")
        },
        Ended::Answered { status, body } => answered(status, &body, key, profile),
    }
}

fn answered(status: u16, body: &[u8], key: &str, profile: &dyn Profile) -> Verdict {
    let (outcome, order_id, error) = match status {
        200..=299 => match profile.acknowledged(key, body) {
            Ok(id) => (Outcome::Ok, Some(id), None),
            Err(why) => (Outcome::Unsure, None, Some(why)),
        },
        400..=499 => (Outcome::Fail, None, Some(reason(status, body))),
        503 if is_refusal(body) => (Outcome::Fail, None, Some(reason(status, body))),
        _ => (Outcome::Unsure, None, Some(reason(status, body))),
    };
    Verdict { outcome, timed_out: false, status: Some(status), order_id, error }
}

fn is_refusal(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("error").is_some())
}

fn reason(status: u16, body: &[u8]) -> String {
    let body: String = String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_CHARS_MAX)
        .collect();
    format!("status {status}: {}", body.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles;

    #[test]
    fn each_ending_has_its_outcome() {
        use Outcome::{Fail, Ok, Unsent, Unsure};
        let check = |ended: Ended, outcome: Outcome, error: Option<&str>| {
            let verdict = judge(ended.clone(), "k-1", profiles::by_name("orders").unwrap());
            assert_eq!(verdict.outcome, outcome, "{ended:?}");
            assert_eq!(verdict.order_id.is_some(), outcome == Ok, "{ended:?}");
            assert_eq!(verdict.timed_out, matches!(ended, Ended::TimedOut { .. }));
            match error {
                Some(part) => assert!(verdict.error.unwrap().contains(part), "{ended:?}"),
                None => assert_eq!(verdict.error, None),
            }
        };
        let answer = |status, body: &'static str| Ended::Answered { status, body: body.into() };
        let refusal = r#"{"error":{"code":"backlog_full","message":"try later"}}"#;
        let nginx = "<html>\r\n<head><title>An error of the proxy</title></head>\r\n</html>";
        check(answer(201, r#"{"order_id":"7","client_order_id":"k-1"}"#), Ok, None);
        check(answer(200, r#"{"order_id":"7"}"#), Ok, None);
        check(answer(201, "{}"), Unsure, Some("no order_id"));
        check(answer(204, ""), Unsure, Some("not an acknowledgement"));
        check(answer(201, r#"{"order_id":"7","client_order_id":"k-2"}"#), Unsure, Some("k-2"));
        check(answer(302, ""), Unsure, Some("302"));
        for status in [400, 404, 409, 413, 422, 429] {
            check(answer(status, refusal), Fail, Some("backlog_full"));
            check(answer(status, nginx), Fail, Some("proxy"));
        }
        check(answer(503, refusal), Fail, Some("try later"));
        check(answer(503, nginx), Unsure, Some("503"));
        check(answer(503, ""), Unsure, Some("503"));
        for status in [500, 501, 502, 504, 599] {
            check(answer(status, refusal), Unsure, Some("backlog_full"));
            check(answer(status, nginx), Unsure, Some("proxy"));
        }
        check(Ended::NoConnection("refused".into()), Fail, Some("refused"));
        check(Ended::Exhausted("too many".into()), Unsent, Some("too many"));
        check(Ended::Broken { status: None, why: "reset".into() }, Unsure, Some("reset"));
        check(Ended::Broken { status: Some(201), why: "cut".into() }, Unsure, Some("cut"));
        check(Ended::TimedOut { status: None }, Unsure, Some("time-out"));
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let text = reason(500, "a\nb\0".repeat(1_000).as_bytes());
        assert!(text.chars().count() <= REASON_CHARS_MAX + 12 && !text.contains('\n'), "{text}");
        assert_eq!(reason(500, &[0xff]), "status 500: \u{fffd}");
    }
}
