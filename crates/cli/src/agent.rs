//! `temblor agent`: watches for as long as it runs, and serves the figures to Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use temblor_event::{Body, clock};
use temblor_exporter::{Figures, Limits, Pages, Resources, serve};
use temblor_plan::{PROBES, PROBES_ON_REQUEST};
use temblor_runner::{AgentSettings, Looked, Stop, Told};

use crate::args::Agent;
use crate::exit::{Exit, Failure};
use crate::run::{lab_that_is_up, need_root};
use crate::terminal::{plain, say};
use crate::watched::{budget, end_on_signals, input, probes, sought};

/// It looks every five seconds; an engine of containers may take its time to answer.
const LOOKS_EVERY_NS_MAX: u64 = 60_000_000_000;

/// Watches and serves until it is ended.
pub(crate) fn agent(args: &Agent) -> Result<Exit, Failure> {
    let probes = if args.probes.is_empty() { usual_probes() } else { probes(&args.probes)? };
    let budget = budget(args.budget.as_deref())?;
    need_root()?;
    let stop = Stop::default();
    // Whoever ends it, it has done what it was asked to.
    end_on_signals(&stop)?;
    let listener = listen(args.listen)?;
    let shared = Arc::new(Mutex::new(State {
        figures: Figures::new(Limits {
            series_max: args.series_max as usize,
            peers_max: args.peers_max as usize,
            ..Limits::default()
        }),
        began_unix_ns: clock::wall_unix_ns(),
        looked_ns: None,
        down: BTreeMap::new(),
        there: BTreeMap::new(),
    }));
    let server = serve(listener, Served(Arc::clone(&shared))).map_err(Failure::other)?;
    let address = server.address();
    say(&format!("the figures are at http://{address}/metrics"));
    if !address.ip().is_loopback() {
        say(&format!(
            "  whoever can reach {address} can read them: nobody is asked for a password; let a \
             firewall or a proxy see to it"
        ));
    }
    let lab = || {
        let options = temblor_lab::Options::from_env().map_err(Failure::from);
        options.and_then(|options| lab_that_is_up(&options)).unwrap_or(None)
    };
    let settings =
        AgentSettings { probes, targets: sought(&args.targets), lab: &lab, budget, stop };
    temblor_runner::agent(&settings, &mut |told| lock(&shared).take(told))?;
    Ok(Exit::Pass)
}

/// Those that cost whom nobody watches nothing.
fn usual_probes() -> Vec<String> {
    let usual = PROBES.iter().filter(|probe| !PROBES_ON_REQUEST.contains(probe));
    usual.map(|probe| (*probe).to_owned()).collect()
}

fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(at).map_err(|error| {
        let how = if error.kind() == std::io::ErrorKind::AddrInUse {
            "; another program has this port, perhaps another agent: end that, or give --listen \
             with another"
        } else {
            ""
        };
        input(format!("--listen {at}: {error}{how}"))
    })
}

/// What the probes' thread fills and the server's reads.
struct State {
    figures: Figures,
    began_unix_ns: u64,
    /// When it was last looked who is there; not before the probes are attached.
    looked_ns: Option<u64>,
    /// Probes that are not attached, and why.
    down: BTreeMap<String, String>,
    /// Who was there at the last look, by what is sought.
    there: BTreeMap<String, BTreeSet<String>>,
}

impl State {
    fn take(&mut self, told: Told) {
        let now_ns = clock::now_ns();
        match told {
            Told::Event(event) => {
                if let Body::ProbeStatus(status) = &event.body {
                    let again = self.down.remove(&status.probe).is_some();
                    say(&format!(
                        "the {} probe is attached{}",
                        status.probe,
                        if again { " again" } else { "" }
                    ));
                    for unseen in status.unseen.iter().filter(|_| !again) {
                        say(&format!("  not seen: {}", plain(unseen)));
                    }
                }
                if let Body::ProbeShed(shed) = &event.body {
                    say(&format!("the {} probe cost too much, and sees {}", shed.probe, shed.now));
                    if shed.off {
                        self.down.insert(shed.probe.clone(), "it cost too much".into());
                    }
                }
                self.figures.add(&event, now_ns);
            }
            Told::Watching(targets) => self.figures.watching(targets),
            Told::Looked(looked) => {
                self.looked_ns = Some(now_ns);
                let present = looked.iter().flat_map(|one| one.targets.iter().cloned());
                self.figures.present(present);
                looked.iter().for_each(|one| self.looked(one));
            }
            Told::Down { probe, why } => {
                self.figures.down(&probe);
                if let Some(why) = why {
                    let why = chain(&why);
                    say(&format!("temblor: {why}"));
                    self.down.insert(probe, why);
                }
            }
            Told::Unwatched { probe, ns } => self.figures.unwatched(&probe, ns),
        }
    }

    /// Says who came and who went.
    fn looked(&mut self, one: &Looked) {
        self.figures.found(&one.written, one.targets.len() as u64);
        let now: BTreeSet<String> = one.targets.iter().cloned().collect();
        let known = self.there.insert(one.written.clone(), now.clone());
        if known.as_ref() == Some(&now) {
            return;
        }
        for name in now.iter().filter(|name| known.as_ref().is_some_and(|k| !k.contains(*name))) {
            say(&format!("{} is there", plain(name)));
        }
        if now.is_empty() {
            let why = one.why_none.as_deref().unwrap_or("there is nobody");
            say(&format!("{}; it is looked for every few seconds", plain(why)));
        }
        if one.left_out > 0 {
            say(&format!("{}: {} more are left out", plain(&one.written), one.left_out));
        }
    }

    fn healthy(&self) -> Result<(), String> {
        let Some(looked_ns) = self.looked_ns else {
            return Err("the probes are not attached yet".into());
        };
        let since_ns = clock::now_ns().saturating_sub(looked_ns);
        if since_ns > LOOKS_EVERY_NS_MAX {
            return Err(format!("nothing was looked at for {} s", since_ns / 1_000_000_000));
        }
        match self.down.first_key_value() {
            Some((probe, why)) => Err(format!("the {probe} probe is not attached: {why}")),
            None => Ok(()),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic elsewhere leaves sums of whole events.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}

struct Served(Arc<Mutex<State>>);

impl Pages for Served {
    fn metrics(&self) -> Result<String, String> {
        let mut state = lock(&self.0);
        let began_unix_ns = state.began_unix_ns;
        state.figures.resources(resources(began_unix_ns));
        state.figures.text(clock::now_ns()).map_err(|error| chain(&error))
    }

    fn healthy(&self) -> Result<(), String> {
        lock(&self.0).healthy()
    }
}

fn resources(began_unix_ns: u64) -> Resources {
    let own = temblor_runner::own_cost();
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    Resources {
        cpu_ns: own.user_ns.saturating_add(own.system_ns),
        resident_bytes: pages.map(|pages| pages * rustix::param::page_size() as u64),
        open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        began_unix_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_every_system_call_dearer_is_for_whoever_names_it() {
        let usual = usual_probes();
        assert!(!usual.contains(&"syscall".to_owned()) && PROBES.contains(&"syscall"));
        assert_eq!(usual.len() + PROBES_ON_REQUEST.len(), PROBES.len());
    }
}
