//! Answers by what became of the services.

use super::NOT_OBSERVED;
use crate::human::{count, duration, moment};
use crate::services_result::{Outage, ServiceStepKind, ServiceStory, ServicesResult};

pub(super) fn answer(services: &ServicesResult) -> Vec<String> {
    if !services.watched {
        return vec![format!("services: {NOT_OBSERVED}, nobody watched their processes")];
    }
    if services.stories.is_empty() {
        return vec!["no service exited, was started again or was not well".to_owned()];
    }
    let mut found: Vec<String> = services.stories.iter().flat_map(story).collect();
    if services.stories.len() > 1 {
        for (kind, words) in [
            (ServiceStepKind::Exited, "order of exits"),
            (ServiceStepKind::Started, "order of starts"),
            (ServiceStepKind::Well, "order in which they were first well again"),
        ] {
            let steps = services.order.iter().filter(|step| step.step == kind);
            let steps: Vec<String> =
                steps.map(|s| format!("{} {}", s.service, moment(s.t_seconds))).collect();
            let order = if steps.is_empty() { NOT_OBSERVED.to_owned() } else { steps.join(", ") };
            found.push(format!("{words}: {order}"));
        }
    }
    let after = |seconds: Option<f64>| {
        seconds.map_or_else(
            || NOT_OBSERVED.to_owned(),
            |s| format!("{} after the first injection", duration(s)),
        )
    };
    found
        .push(format!("all services well again: {}", after(services.well_after_injection_seconds)));
    found.push(format!("steady again: {}", after(services.steady_after_injection_seconds)));
    found
}

fn story(story: &ServiceStory) -> Vec<String> {
    let more = if story.restarts > 1 {
        format!(" ({} restarts)", count(story.restarts))
    } else {
        String::new()
    };
    story.outages.iter().map(|away| format!("{}: {}{more}", story.service, outage(away))).collect()
}

/// `exited, signal 9 (SIGKILL) at +0.0 s; started again at +0.4 s; well at +1.9 s: away for 1.9 s`.
fn outage(away: &Outage) -> String {
    let mut words = format!("{} at {}", away.began, moment(away.from_seconds));
    if let Some(started) = away.started_seconds {
        words.push_str(&format!("; started again at {}", moment(started)));
    }
    match (away.to_seconds, away.length_seconds) {
        (Some(to), Some(length)) => {
            if away.ended == "well" {
                words.push_str(&format!("; well at {}", moment(to)));
            }
            words.push_str(&format!(": away for {}", duration(length)));
        }
        _ => words.push_str("; not well again before the run ended"),
    }
    words
}
