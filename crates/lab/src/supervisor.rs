//! The process that keeps a lab: makes it, watches it, takes it down.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::getppid;
use serde::{Deserialize, Serialize};
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::process::Identity;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep_until};

use crate::cleanup;
use crate::error::{Doing, Error, Result, chain};
use crate::launch;
use crate::lock::make_dir;
use crate::network::Network;
use crate::options::Options;
use crate::plan::{Plan, ServicePlan, closed_to_others};
use crate::state::{NetworkState, Phase, ServiceState, ServiceStatus, State};
use crate::unit::{Board, Failure, Unit, unix_ms};

/// How much of a log an error shows.
const LOG_LINES: usize = 15;
/// How often to look whether whoever wanted the lab still waits for it.
const LOOK_AT_PARENT: Duration = Duration::from_millis(200);

/// What the supervisor tells `up`, as one line on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "temblor_lab", rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Every service is healthy.
    Ready,
    /// The lab could not be started; it is down again.
    Failed { service: Option<String>, reason: String, log: Vec<String>, left_behind: Vec<String> },
}

/// Keeps a lab until it is told to end (SIGTERM or SIGINT). Called by the process that
/// [`crate::up`] starts, on its main thread: the services die with the thread that started them.
///
/// # Errors
/// The lab could not be started, or something of it was left behind.
pub fn supervise(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "start the supervisor's runtime".into())?;
    let parent = getppid();
    let started = LocalSet::new().block_on(&runtime, async {
        let mut signals = Signals::new()?;
        let mut lab = match Running::start(options) {
            Ok(lab) => lab,
            Err(error) => return Err((error, cleanup::everything(options))),
        };
        let reached = tokio::select! {
            reached = lab.all_ready(options) => reached,
            () = signals.wanted() => Err(interrupted("it was told to end before it was up")),
            () = orphaned(parent) => Err(interrupted("whoever wanted it has gone")),
        };
        if let Err(error) = reached {
            lab.stop().await;
            return Err((error, cleanup::everything(options)));
        }
        lab.board.update(|state| state.phase = Phase::Up);
        tell(&Outcome::Ready);
        signals.wanted().await;
        lab.stop().await;
        Ok(cleanup::everything(options))
    });
    match started {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(Error::LeftBehind(left)),
        Err((error, left_behind)) => {
            let outcome = match &error {
                Error::StartFailed { service, reason, log } => Outcome::Failed {
                    service: service.clone(),
                    reason: reason.clone(),
                    log: log.clone(),
                    left_behind,
                },
                error => Outcome::Failed {
                    service: None,
                    reason: chain(error),
                    log: Vec::new(),
                    left_behind,
                },
            };
            tell(&outcome);
            Err(error)
        }
    }
}

fn interrupted(reason: &str) -> Error {
    Error::StartFailed { service: None, reason: reason.to_owned(), log: Vec::new() }
}

/// Writes the one line that `up` waits for. It begins a line, whatever stood there before.
fn tell(outcome: &Outcome) {
    let line = serde_json::to_string(outcome).unwrap_or_default();
    let mut stdout = std::io::stdout();
    // `up` may have been killed; the lab is what it is all the same.
    let _ = writeln!(stdout, "\n{line}").and_then(|()| stdout.flush());
}

/// Returns when the process that started this one has ended: a lab that nobody waits for any more
/// is not started to its end.
async fn orphaned(parent: Option<rustix::process::Pid>) {
    while getppid() == parent {
        tokio::time::sleep(LOOK_AT_PARENT).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::result::Result<Self, (Error, Vec<String>)> {
        let listen = |kind| {
            let listening = signal(kind).doing(|| "listen to signals".into());
            listening.map_err(|error| (error, Vec::new()))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A lab that is running, or on its way.
struct Running {
    board: Rc<Board>,
    network: Option<Network>,
    units: Vec<RunningUnit>,
    failures: mpsc::UnboundedReceiver<Failure>,
}

struct RunningUnit {
    log: PathBuf,
    ready: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(options: &Options) -> Result<Self> {
        let lab = options.read_lab()?;
        let network = options.network.ok_or_else(|| Error::Option("no range was chosen".into()))?;
        let plan = Plan::new(&lab, options, network)?;
        make_dir(&options.log_dir())?;
        make_dir(&options.runtime_dir.join("run"))?;
        make_dir(&options.data_dir.join("services"))?;
        install_programs(options, &plan)?;
        let cgroups = Cgroups::detect().doing(|| "read /proc/self/mountinfo".into())?;
        let groups = plan
            .services
            .iter()
            .map(|service| make_group(&cgroups, options, service))
            .collect::<Result<Vec<_>>>()?;
        // Written before the network is made: whoever cleans up after a crash finds the names.
        let mut state = first_state(options, &plan, &cgroups, &groups)?;
        state.write(&options.state_file()).doing(|| "write the lab's state".into())?;
        let network = Network::create(&plan, &options.link)?;
        for (service, netns) in state.services.iter_mut().zip(&network.services) {
            use std::os::fd::{AsFd, AsRawFd};
            service.netns_inode = netns.inode();
            service.netns_fd = netns.as_fd().as_raw_fd();
        }
        state.write(&options.state_file()).doing(|| "write the lab's state".into())?;
        let board = Rc::new(Board::new(state, options.state_file()));
        let (failed, failures) = mpsc::unbounded_channel();
        let units = spawn_units(&plan, &network, groups, &board, &failed);
        Ok(Self { board, network: Some(network), units, failures })
    }

    /// Returns when every service has been healthy, or with the first that cannot be.
    async fn all_ready(&mut self, options: &Options) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(options.start_within_ms);
        let mut ready: Vec<_> = self.units.iter().map(|unit| unit.ready.clone()).collect();
        let all = async {
            for unit in &mut ready {
                // The task ended before it was ready: its failure is on its way.
                if unit.wait_for(|ready| *ready).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let (service, reason) = tokio::select! {
            biased;
            Some(failure) = self.failures.recv() => (failure.service, failure.reason),
            () = all => return Ok(()),
            () = sleep_until(deadline) => {
                let (service, problem) = self.board.unwell().unwrap_or_default();
                let bound = options.start_within_ms as f64 / 1000.0;
                let reason = format!(
                    "not healthy within {bound} s: {problem}; a slow machine may be given more \
                     time: TEMBLOR_LAB_START_SECONDS"
                );
                (service, reason)
            }
        };
        let log = launch::last_lines(&options.log_dir().join(format!("{service}.log")), LOG_LINES);
        Err(Error::StartFailed { service: Some(service), reason, log })
    }

    /// Stops the services, last first: nobody loses what it depends on while it still serves.
    async fn stop(&mut self) {
        self.board.update(|state| state.phase = Phase::Stopping);
        for unit in self.units.iter_mut().rev() {
            unit.stop.send_replace(true);
            if let Err(error) = (&mut unit.task).await {
                tracing::error!(log = %unit.log.display(), %error, "a service's keeper failed");
            }
        }
        if let Some(Err(error)) = self.network.take().map(Network::remove) {
            tracing::error!(error = %chain(&error), "the lab's link was not removed");
        }
    }
}

fn spawn_units(
    plan: &Plan,
    network: &Network,
    groups: Vec<Group>,
    board: &Rc<Board>,
    failures: &mpsc::UnboundedSender<Failure>,
) -> Vec<RunningUnit> {
    let (ready, is_ready): (Vec<_>, Vec<_>) =
        plan.services.iter().map(|_| watch::channel(false)).unzip();
    let parts = plan.services.iter().zip(&network.services).zip(groups).zip(ready).enumerate();
    parts
        .map(|(index, (((service, netns), group), ready))| {
            let (stop, stopped) = watch::channel(false);
            let unit = Unit {
                index,
                plan: service.clone(),
                netns: netns.clone(),
                group,
                board: board.clone(),
                after: service.after.iter().map(|other| is_ready[*other].clone()).collect(),
                ready,
                stop: stopped,
                failures: failures.clone(),
            };
            RunningUnit {
                log: service.log.clone(),
                ready: is_ready[index].clone(),
                stop,
                task: tokio::task::spawn_local(unit.run()),
            }
        })
        .collect()
}

fn make_group(cgroups: &Cgroups, options: &Options, service: &ServicePlan) -> Result<Group> {
    let name = format!("{}/{}", options.cgroup(), service.name);
    let group =
        Group::create(cgroups, &name).doing(|| format!("make the cgroup {name} (needs root)"))?;
    let unlimited =
        group.limit(service.limits).doing(|| format!("limit the cgroup of {}", service.name))?;
    if !unlimited.is_empty() {
        tracing::warn!(service = service.name, ?unlimited, "no controller here to limit these");
    }
    Ok(group)
}

/// Copies programs that may lie where the services' users cannot go (a home directory), and that a
/// build may replace while they run.
fn install_programs(options: &Options, plan: &Plan) -> Result<()> {
    make_dir(&options.data_dir.join("bin"))?;
    for service in &plan.services {
        let Some(from) = &service.copied_from else { continue };
        let to = &service.command.program;
        fs::copy(from, to).doing(|| format!("copy {} to {}", from.display(), to.display()))?;
    }
    let places = [&options.data_dir.join("services"), &options.runtime_dir.join("run")];
    let programs = plan.services.iter().map(|service| &service.command.program);
    for path in programs.chain(places) {
        if let Some(closed) = closed_to_others(path) {
            return Err(Error::Option(format!(
                "{} is closed to other users, and the lab's services, which do not run as root, \
                 need {}; choose another directory, or open it: chmod o+x {}",
                closed.display(),
                path.display(),
                closed.display()
            )));
        }
    }
    Ok(())
}

fn first_state(
    options: &Options,
    plan: &Plan,
    cgroups: &Cgroups,
    groups: &[Group],
) -> Result<State> {
    let now = unix_ms();
    let services = plan.services.iter().zip(groups).map(|(service, group)| ServiceState {
        name: service.name.clone(),
        state: ServiceStatus::Waiting,
        since_unix_ms: now,
        problem: None,
        pid: None,
        restarts: 0,
        address: service.address,
        port: service.port,
        netns_inode: 0,
        netns_fd: -1,
        cgroups: group.dirs().to_vec(),
        log: service.log.clone(),
    });
    Ok(State {
        lab: plan.lab.clone(),
        phase: Phase::Starting,
        supervisor: Identity::of_self().doing(|| "read /proc/self/stat".into())?,
        since_unix_ms: now,
        network: NetworkState {
            range: plan.network,
            link: options.link.clone(),
            host_address: plan.host_address,
        },
        data_dir: options.data_dir.clone(),
        cgroups: Group::find(cgroups, &options.cgroup()).dirs().to_vec(),
        services: services.collect(),
    })
}
