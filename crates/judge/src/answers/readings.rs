//! Answers by a gauge's readings and by a check's answers.

use temblor_event::PhaseRole;

use super::{NOT_OBSERVED, Sources};
use crate::detection::answered_ns;
use crate::human::{count, duration, moment, number};
use crate::log::seconds_between;

/// `order backlog: 0 to 31 in baseline → 12 to 6,003 in fault`; and when it was back.
pub(super) fn gauge(from: &Sources<'_>, name: &str) -> Vec<String> {
    let log = from.log;
    let readings: Vec<(u64, f64)> = log
        .gauges
        .iter()
        .filter(|gauge| gauge.gauge == name && gauge.value.is_finite())
        .map(|gauge| (gauge.t_ns, gauge.value))
        .collect();
    let range = |within: &dyn Fn(u64) -> bool| {
        let values = || readings.iter().filter(|(t_ns, _)| within(*t_ns)).map(|(_, value)| *value);
        values().reduce(f64::min).zip(values().reduce(f64::max))
    };
    let phases: Vec<String> = from
        .windows
        .iter()
        .map(|window| match range(&|t_ns| window.contains(t_ns)) {
            None => format!("{NOT_OBSERVED} in {}", window.name),
            Some((min, max)) if number(min) == number(max) => {
                format!("{} in {}", number(min), window.name)
            }
            Some((min, max)) => format!("{} to {} in {}", number(min), number(max), window.name),
        })
        .collect();
    if readings.is_empty() || phases.is_empty() {
        return vec![format!("gauge {name}: {NOT_OBSERVED}")];
    }
    let in_baseline =
        |t_ns: u64| from.windows.iter().any(|w| w.role == PhaseRole::Baseline && w.contains(t_ns));
    let mut found = vec![format!("{name}: {}", phases.join(" → "))];
    let after: Vec<(u64, f64)> =
        readings.iter().filter(|(t_ns, _)| *t_ns >= log.t0_ns).copied().collect();
    if log.injected.is_empty() || after.is_empty() {
        return found;
    }
    let Some((_, bound)) = range(&in_baseline) else {
        found.push(format!("{name}: no reading in the baseline to compare with"));
        return found;
    };
    found.push(format!("{name}: {}", return_to(from, &after, bound)));
    found
}

/// When it rose above its baseline, how far, and when it was back after healing.
fn return_to(from: &Sources<'_>, after: &[(u64, f64)], bound: f64) -> String {
    let log = from.log;
    let most = format!("its baseline's greatest ({})", number(bound));
    let Some((rose_ns, _)) = after.iter().find(|(_, value)| *value > bound) else {
        return format!("never above {most} after the injection");
    };
    let peak = after.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    let (peak_ns, peak) = peak.unwrap_or((*rose_ns, bound));
    let rose = format!(
        "above {most} from {} on, at most {} at {}",
        moment(log.t_seconds(*rose_ns)),
        number(peak),
        moment(log.t_seconds(peak_ns))
    );
    let Some(healed_ns) = log.healed_ns() else {
        return rose;
    };
    let back =
        after.iter().find(|(t_ns, value)| *t_ns >= healed_ns.max(*rose_ns) && *value <= bound);
    match back {
        None => format!("{rose}; not back before the run ended"),
        Some((t_ns, _)) => {
            let took = duration(seconds_between(healed_ns, *t_ns));
            format!("{rose}; back {took} after healing")
        }
    }
}

/// `the API is ready: yes 40 of 40 in baseline → 3 of 60 in fault`; the first no and yes.
pub(super) fn check(from: &Sources<'_>, name: &str) -> Vec<String> {
    let log = from.log;
    let answers: Vec<_> = log.checks.iter().filter(|check| check.check == name).collect();
    if answers.is_empty() || from.windows.is_empty() {
        return vec![format!("check {name}: {NOT_OBSERVED}")];
    }
    let phases: Vec<String> = from
        .windows
        .iter()
        .map(|window| {
            let within = answers.iter().filter(|check| window.contains(check.t_ns));
            let (asked, yes) = within
                .fold((0_u64, 0_u64), |(asked, yes), check| (asked + 1, yes + u64::from(check.ok)));
            if asked == 0 {
                format!("{NOT_OBSERVED} in {}", window.name)
            } else {
                format!("{} of {} in {}", count(yes), count(asked), window.name)
            }
        })
        .collect();
    let mut found = vec![format!("{name}: yes {}", phases.join(" → "))];
    let after = || answers.iter().filter(|check| answered_ns(check.get(), check.t_ns) >= log.t0_ns);
    if log.injected.is_empty() {
        return found;
    }
    let Some(no) = after().find(|check| !check.ok) else {
        found.push(format!("{name}: never no after the injection"));
        return found;
    };
    let seen = if no.seen.is_empty() { String::new() } else { format!(" ({})", no.seen) };
    let last_no_ns = after().filter(|check| !check.ok).map(|check| check.t_ns).max();
    let yes = answers.iter().find(|check| check.ok && Some(check.t_ns) > last_no_ns);
    let for_good = yes.map_or_else(
        || "no yes after its last no".to_owned(),
        |yes| {
            let after = log
                .healed_ns()
                .map(|healed_ns| duration(seconds_between(healed_ns, yes.t_ns)))
                .map(|after| format!(", {after} after healing"))
                .unwrap_or_default();
            format!("yes for good from {} on{after}", moment(log.t_seconds(yes.t_ns)))
        },
    );
    found.push(format!("{name}: first no at {}{seen}; {for_good}", moment(log.t_seconds(no.t_ns))));
    found
}
