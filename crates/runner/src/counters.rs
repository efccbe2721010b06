//! Counters kept by others, read before and after.

use std::fs;

use temblor_event::{CounterRead, CounterUnread, CounterWhen, Event, clock};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use crate::recorder::Recorder;

/// How often a counter is read until it stands still for as long as two readings take.
const READINGS_MAX: u32 = 100;

/// Records each target's own count of TCP segments sent again. The count belongs to the network
/// namespace and survives the processes in it, so it is read from inside the namespace.
pub(crate) fn read_retransmits(targets: &[Target], when: CounterWhen, to: &Recorder) {
    let ours = Netns::of_this_thread().ok();
    for target in targets {
        let others = targets.iter().filter(|other| other.netns == target.netns).count() > 1;
        let value = if others || Some(&target.netns) == ours.as_ref() {
            Err("it shares its network namespace, and the kernel counts for all in it".to_owned())
        } else {
            target.netns.run(read_still).map_err(|error| error.to_string()).flatten()
        };
        let (counter, service) = ("TcpRetransSegs".to_owned(), target.service.clone());
        let source = format!("/proc/net/snmp in the network namespace of {service}");
        record(CounterOf { counter, service, source }, when, value, to);
    }
}

/// The count of this namespace, and a moment at which it was this: between two readings that are
/// alike. On a busy machine much time may pass between a reading and a look at the clock, and what
/// is sent again meanwhile would be on the wrong side of it.
fn read_still() -> Result<(u64, f64), String> {
    let read = || {
        let text = fs::read_to_string("/proc/thread-self/net/snmp").map_err(|e| e.to_string())?;
        field(&text, "Tcp:", "RetransSegs").ok_or_else(|| "it has no RetransSegs".to_owned())
    };
    let mut before = read()?;
    let mut t_ns = clock::now_ns();
    for _ in 0..READINGS_MAX {
        let after = read()?;
        // Whole numbers, far below 2^53.
        if (after - before).abs() < 0.5 {
            break;
        }
        (before, t_ns) = (after, clock::now_ns());
    }
    Ok((t_ns, before))
}

/// Which counter, whose, and where it was read.
pub(crate) struct CounterOf {
    pub(crate) counter: String,
    pub(crate) service: String,
    pub(crate) source: String,
}

/// Records a reading and when it was so, or why there is none: a counter that was not read must not
/// vanish.
pub(crate) fn record(
    of: CounterOf,
    when: CounterWhen,
    value: Result<(u64, f64), String>,
    to: &Recorder,
) {
    let CounterOf { counter, service, source } = of;
    match value {
        Ok((t_ns, value)) => {
            to.record(Event::at(t_ns, CounterRead { counter, service, source, when, value }));
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
