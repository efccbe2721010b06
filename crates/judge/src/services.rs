//! The services' story: who exited, who was started again, who was well again and when.
//!
//! - An outage begins when a service's main process ends, or when somebody says that the service
//!   is not well, whichever is first; where only a new process was noticed, when that was.
//! - It ends when the service is said to be well. A new process ends it where nobody ever asks
//!   this service how it is; and where somebody does but said nothing else for as long as
//!   steadiness must last, since health is told only when it changes.
//! - It ended only if the service stays well for as long as steadiness must last, or to the end of
//!   the log: a crash loop is one outage.
//! - Restarts are the new processes seen, or the growth of the keeper's own count where that is
//!   more: a process may come and go between two looks.
//! - All services are well again when the last outage that ends after the injection has ended. If
//!   one has not, there is no such moment.

use std::collections::BTreeMap;

use crate::faults::ends_processes;
use crate::log::{Log, seconds_between};
use crate::recovery::Recovery;
use crate::result::FaultResult;
use crate::services_result::{Outage, ServiceStep, ServiceStepKind, ServiceStory, ServicesResult};

/// Services told of.
const STORIES_MAX: usize = 50;
/// Outages told of one service.
const OUTAGES_MAX: usize = 20;
/// Whoever looks at the processes.
const PROCESS_SOURCE: &str = "the process itself (pidfd)";

/// What happened to a service.
#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Ended(Option<&'a str>),
    Unwell(&'a str),
    Started(Option<u32>),
    Well(&'a str),
}

/// Everything that is known of services, by service and in order.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    by_service: BTreeMap<&'a str, Vec<(u64, What<'a>)>>,
    outages: Vec<(&'a str, Away)>,
    watched: bool,
}

/// A time in which a service was away.
#[derive(Debug, Clone)]
struct Away {
    from_ns: u64,
    began: String,
    started_ns: Option<u64>,
    end: Option<(u64, &'static str)>,
    source: String,
}

impl<'a> Services<'a> {
    pub(crate) fn new(log: &Log<'a>) -> Self {
        let ended = log
            .processes_ended
            .iter()
            .map(|e| (e.t_ns, 0, e.get().service.as_str(), What::Ended(e.get().how.as_deref())));
        let health = log.service_health.iter().map(|h| {
            let source = h.get().source.as_str();
            let (rank, what) =
                if h.healthy { (3, What::Well(source)) } else { (1, What::Unwell(source)) };
            (h.t_ns, rank, h.get().service.as_str(), what)
        });
        let started = log
            .processes_started
            .iter()
            .map(|s| (s.t_ns, 2, s.get().service.as_str(), What::Started(s.restarts)));
        let mut all: Vec<_> = ended.chain(health).chain(started).collect();
        // What is told of one moment: it went before it came back.
        all.sort_by_key(|(t_ns, rank, ..)| (*t_ns, *rank));
        let mut by_service: BTreeMap<&str, Vec<(u64, What<'_>)>> = BTreeMap::new();
        for (t_ns, _, service, what) in all {
            by_service.entry(service).or_default().push((t_ns, what));
        }
        let hold_ns = log.started.steady_hold_ns;
        let mut outages: Vec<(&str, Away)> = by_service
            .iter()
            .flat_map(|(service, told)| {
                outages(told, hold_ns, log.last_ns).into_iter().map(|away| (*service, away))
            })
            .collect();
        outages.sort_by_key(|(_, away)| away.from_ns);
        let watched =
            !by_service.is_empty() || log.targets.iter().any(|target| !target.pids.is_empty());
        Self { by_service, outages, watched }
    }

    /// When all services were well again after the first injection; the injection itself where
    /// none was away. None: nobody watched, nothing was injected, or one is still away.
    pub(crate) fn well_ns(&self, log: &Log<'_>) -> Option<u64> {
        if !self.watched || log.injected.is_empty() {
            return None;
        }
        self.after(log.signs_from_ns)
            .map(|away| away.end.map(|(end_ns, _)| end_ns))
            .try_fold(log.t0_ns, |latest, end_ns| end_ns.map(|end_ns| latest.max(end_ns)))
    }

    fn after(&self, since_ns: u64) -> impl Iterator<Item = &Away> {
        let outages = self.outages.iter().map(|(_, away)| away);
        outages.filter(move |away| away.end.is_none_or(|(end_ns, _)| end_ns >= since_ns))
    }

    pub(crate) fn result(
        &self,
        log: &Log<'_>,
        faults: &[FaultResult],
        recovery: &Recovery<'_>,
    ) -> ServicesResult {
        let restarts = self.by_service.values().map(|told| restarts(told)).sum();
        let longest = self
            .outages
            .iter()
            .map(|(_, away)| away.end.map(|(end_ns, _)| seconds_between(away.from_ns, end_ns)))
            .try_fold(0.0_f64, |longest, length| length.map(|length| longest.max(length)));
        ServicesResult {
            watched: self.watched,
            stories: self.stories(log, faults),
            order: self.order(log),
            restarts: self.watched.then_some(restarts),
            outage_seconds: longest.filter(|_| self.watched),
            well_after_injection_seconds: self.well_ns(log).map(|t_ns| log.t_seconds(t_ns)),
            steady_after_injection_seconds: recovery.full_ns.map(|t_ns| log.t_seconds(t_ns)),
        }
    }

    fn stories(&self, log: &Log<'_>, faults: &[FaultResult]) -> Vec<ServiceStory> {
        let mut stories: Vec<ServiceStory> = Vec::new();
        for (service, away) in &self.outages {
            let at = stories.iter().position(|story| story.service == *service);
            let at = match at {
                Some(at) => at,
                None if stories.len() < STORIES_MAX => {
                    stories.push(self.story(service, faults));
                    stories.len() - 1
                }
                None => continue,
            };
            if stories[at].outages.len() < OUTAGES_MAX {
                stories[at].outages.push(Outage {
                    from_seconds: log.t_seconds(away.from_ns),
                    began: away.began.clone(),
                    started_seconds: away.started_ns.map(|t_ns| log.t_seconds(t_ns)),
                    to_seconds: away.end.map(|(t_ns, _)| log.t_seconds(t_ns)),
                    ended: away.end.map_or("not over", |(_, how)| how).to_owned(),
                    length_seconds: away.end.map(|(t_ns, _)| seconds_between(away.from_ns, t_ns)),
                    source: away.source.clone(),
                });
            }
        }
        stories
    }

    fn story(&self, service: &str, faults: &[FaultResult]) -> ServiceStory {
        let told = self.by_service.get(service).map(Vec::as_slice).unwrap_or_default();
        let about = faults.iter().filter(|fault| fault.services.iter().any(|s| s == service));
        let mut names: Vec<String> = about.map(|fault| fault.name.clone()).collect();
        names.dedup();
        ServiceStory {
            service: service.to_owned(),
            faults: names,
            exits: told.iter().filter(|(_, what)| matches!(what, What::Ended(_))).count() as u64,
            restarts: restarts(told),
            outages: Vec::new(),
        }
    }

    /// First exit, first start and first well of each service that was away.
    fn order(&self, log: &Log<'_>) -> Vec<ServiceStep> {
        let mut steps: Vec<(u64, ServiceStep)> = Vec::new();
        for (service, told) in &self.by_service {
            let mut add = |t_ns, step, source: &str| {
                let (t_seconds, service) = (log.t_seconds(t_ns), (*service).to_owned());
                steps.push((t_ns, ServiceStep { t_seconds, service, step, source: source.into() }));
            };
            let after = || told.iter().filter(|(t_ns, _)| *t_ns >= log.signs_from_ns);
            if let Some((t_ns, _)) = after().find(|(_, what)| matches!(what, What::Ended(_))) {
                add(*t_ns, ServiceStepKind::Exited, PROCESS_SOURCE);
            }
            if let Some((t_ns, _)) = after().find(|(_, what)| matches!(what, What::Started(_))) {
                add(*t_ns, ServiceStepKind::Started, PROCESS_SOURCE);
            }
            let away = |t_ns: u64| {
                let mut of_this = self.outages.iter().filter(|(name, _)| name == service);
                of_this.any(|(_, away)| away.from_ns <= t_ns)
            };
            let well = after().find_map(|(t_ns, what)| match what {
                What::Well(source) if away(*t_ns) => Some((*t_ns, *source)),
                _ => None,
            });
            if let Some((t_ns, source)) = well {
                add(t_ns, ServiceStepKind::Well, source);
            }
        }
        steps.sort_by_key(|(t_ns, _)| *t_ns);
        steps.truncate(3 * STORIES_MAX);
        steps.into_iter().map(|(_, step)| step).collect()
    }
}

/// Services of which a process ended though no fault was about to end it, each with the process.
pub(crate) fn ended_unasked(log: &Log<'_>, faults: &[FaultResult]) -> Vec<(String, u32)> {
    let asked = |service: &str, t_ns: u64| {
        t_ns >= log.signs_from_ns
            && faults.iter().filter(|fault| ends_processes(&fault.name)).any(|fault| {
                // A fault that names no service that is known may be about any.
                fault.services.is_empty() || fault.services.iter().any(|s| s == service)
            })
    };
    let ended = log.processes_ended.iter().filter(|e| !asked(&e.service, e.t_ns));
    ended.map(|e| (e.service.clone(), e.pid)).collect()
}

fn restarts(told: &[(u64, What<'_>)]) -> u64 {
    let started = told.iter().filter(|(_, what)| matches!(what, What::Started(_))).count() as u64;
    let mut counts = told.iter().filter_map(|(_, what)| match what {
        What::Started(count) => *count,
        _ => None,
    });
    let first = counts.next();
    let last = counts.next_back().or(first);
    // The first of them is itself a restart, so the count before it was one less.
    let grown = first.zip(last).map_or(0, |(first, last)| last.saturating_sub(first) + 1);
    started.max(u64::from(grown))
}

fn outages(told: &[(u64, What<'_>)], hold_ns: u64, last_ns: u64) -> Vec<Away> {
    let asked = told.iter().any(|(_, what)| matches!(what, What::Well(_) | What::Unwell(_)));
    let mut done: Vec<Away> = Vec::new();
    let mut open: Option<Away> = None;
    for (i, (t_ns, what)) in told.iter().enumerate() {
        let t_ns = *t_ns;
        let begin = |began: String, source: &str| Away {
            from_ns: t_ns,
            began,
            started_ns: None,
            end: None,
            source: source.to_owned(),
        };
        match what {
            What::Ended(_) | What::Unwell(_) => {
                let away = open.take().or_else(|| relapse(&mut done, t_ns, hold_ns));
                open = Some(away.unwrap_or_else(|| match what {
                    What::Ended(Some(how)) => begin(format!("exited, {how}"), PROCESS_SOURCE),
                    What::Unwell(source) => begin("not well".to_owned(), source),
                    _ => begin("exited".to_owned(), PROCESS_SOURCE),
                }));
            }
            What::Started(_) => {
                let mut away = open
                    .take()
                    .or_else(|| relapse(&mut done, t_ns, hold_ns))
                    .unwrap_or_else(|| begin("a new process".to_owned(), PROCESS_SOURCE));
                away.started_ns = Some(t_ns);
                let next = told.get(i + 1).map(|(next_ns, next)| (*next_ns, *next));
                let stays_ns = next.map_or(last_ns, |(next_ns, _)| next_ns).saturating_sub(t_ns);
                let told_of_next = matches!(next, Some((_, What::Well(_) | What::Unwell(_))));
                if !asked || (!told_of_next && stays_ns >= hold_ns) {
                    away.end = Some((t_ns, "started again"));
                    done.push(away);
                } else {
                    open = Some(away);
                }
            }
            What::Well(_) => {
                if let Some(mut away) = open.take() {
                    away.end = Some((t_ns, "well"));
                    done.push(away);
                }
            }
        }
    }
    done.extend(open);
    done
}

/// The last outage goes on, if the service was well for less than the hold.
fn relapse(done: &mut Vec<Away>, t_ns: u64, hold_ns: u64) -> Option<Away> {
    let (end_ns, _) = done.last()?.end?;
    if t_ns.saturating_sub(end_ns) >= hold_ns {
        return None;
    }
    let mut away = done.pop()?;
    away.end = None;
    Some(away)
}
