//! Counters kept by others, read before and after.

use std::fs;

use temblor_event::{CounterRead, CounterUnread, CounterWhen, Event};
use temblor_host::target::Target;

use crate::recorder::Recorder;

/// Records each target's own count of TCP segments sent again. The count belongs to the network
/// namespace and survives the processes in it, so it is read from inside the namespace.
pub(crate) fn read_retransmits(targets: &[Target], when: CounterWhen, to: &Recorder) {
    for target in targets {
        let text = target.netns.run(|| fs::read_to_string("/proc/thread-self/net/snmp"));
        let value = text.and_then(|text| text).map_err(|e| e.to_string()).and_then(|text| {
            field(&text, "Tcp:", "RetransSegs").ok_or_else(|| "it has no RetransSegs".to_owned())
        });
        let (counter, service) = ("TcpRetransSegs".to_owned(), target.service.clone());
        let source = format!("/proc/net/snmp in the network namespace of {service}");
        record(CounterOf { counter, service, source }, when, value, to);
    }
}

/// Which counter, whose, and where it was read.
pub(crate) struct CounterOf {
    pub(crate) counter: String,
    pub(crate) service: String,
    pub(crate) source: String,
}

/// Records a reading, or why there is none: a counter that was not read must not vanish.
pub(crate) fn record(of: CounterOf, when: CounterWhen, value: Result<f64, String>, to: &Recorder) {
    let CounterOf { counter, service, source } = of;
    match value {
        Ok(value) => {
            to.record(Event::now(CounterRead { counter, service, source, when, value }));
        }
        Err(why) => {
            to.record(Event::now(CounterUnread { counter, service, source, when, why }));
        }
    }
}

/// A field of `/proc/net/snmp`: a line of names, then a line of values, both with the protocol in
/// front.
fn field(text: &str, protocol: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name() {
        let text = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
            Tcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs\nTcp: 1 100 200 17 0\n";
        assert_eq!(field(text, "Tcp:", "RetransSegs"), Some(17.0));
        assert_eq!(field(text, "Tcp:", "Retrans"), None);
        assert_eq!(field("Tcp: RetransSegs\n", "Tcp:", "RetransSegs"), None);
    }

    #[test]
    fn the_running_kernel_has_it() {
        let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        assert!(field(&text, "Tcp:", "RetransSegs").is_some());
    }
}
