//! Recorded events, as anybody may hand them over for a report.

use std::io::Cursor;
use std::mem::discriminant;

use temblor_event::Event;
use temblor_judge::judge;
use temblor_runs::Reader;

/// Events are the same when they are written and read again, and a verdict comes of whatever was
/// recorded.
pub(crate) fn events(bytes: &[u8]) {
    let log = |bytes: &[u8]| Reader::new(Cursor::new(bytes.to_vec()), "events.ndjson").read_all();
    let recorded = match log(bytes) {
        Ok(recorded) => recorded,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = lines(&recorded.events);
    let again = log(&written).unwrap();
    assert!(again.torn.is_none());
    assert_eq!(lines(&again.events), written);

    let judged = judge(&recorded.events).unwrap();
    serde_json::to_vec(&judged.result).unwrap();
}

fn lines<'of>(events: impl IntoIterator<Item = &'of Event>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        serde_json::to_writer(&mut bytes, event).unwrap();
        bytes.push(b'\n');
    }
    bytes
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    let run = crate::repository("tests/recorded/network-partition");
    let recorded = Reader::open(&run).unwrap().read_all().unwrap();
    let mut seen = Vec::new();
    // One of each kind: the recorded run has thousands.
    let few = recorded.events.iter().filter(|event| {
        let kind = discriminant(&event.body);
        let is_new = !seen.contains(&kind);
        seen.push(kind);
        is_new
    });
    let few: Vec<&Event> = few.collect();
    vec![lines(few.iter().copied()), lines(few.iter().copied().take(4))]
}
