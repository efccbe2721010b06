//! One service, kept running.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use temblor_event::clock::now_ns;
use temblor_host::cgroup::Group;
use temblor_host::netns::Netns;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::error::{Doing, Result, chain};
use crate::health;
use crate::launch::{self, Place};
use crate::plan::{Command, ServicePlan};
use crate::spec::Restart;
use crate::state::{ServiceState, ServiceStatus, State};

/// Between two questions until the first good answer.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A service that dies this often before it was ever healthy will not get well by trying.
const EARLY_DEATHS_MAX: u32 = 3;
/// For a service to end in good order, before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// For SIGKILL to empty a cgroup.
const KILL_WITHIN_MS: u64 = 5_000;
/// A service's log is copied to one older file beyond this.
const LOG_BYTES_MAX: u64 = 32 << 20;

/// The lab's state as all its services share it; every change is written at once.
#[derive(Debug)]
pub(crate) struct Board {
    state: RefCell<State>,
    path: PathBuf,
}

impl Board {
    pub(crate) fn new(state: State, path: PathBuf) -> Self {
        Self { state: RefCell::new(state), path }
    }

    /// Changes the state and writes it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        if let Err(error) = state.write(&self.path) {
            // A full disk must not take the services down; the next change tries again.
            tracing::error!(path = %self.path.display(), %error, "the lab's state was not written");
        }
    }

    pub(crate) fn service(&self, index: usize, change: impl FnOnce(&mut ServiceState)) {
        self.update(|state| change(&mut state.services[index]));
    }

    /// What was the matter last with the services that are not well.
    pub(crate) fn unwell(&self) -> Option<(String, String)> {
        let state = self.state.borrow();
        let waits = |s: &&ServiceState| s.state == ServiceStatus::Waiting;
        let well = |s: &&ServiceState| s.state == ServiceStatus::Healthy;
        let unwell = state.services.iter().filter(|s| !well(s));
        // A service that waits for another one is not the cause.
        let cause = unwell.clone().find(|s| !waits(s)).or_else(|| unwell.clone().next())?;
        let problem = cause.problem.clone().unwrap_or_else(|| "it was not ready in time".into());
        Some((cause.name.clone(), problem))
    }
}

/// A service that could not be started.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) service: String,
    pub(crate) reason: String,
}

/// What a service is run with.
pub(crate) struct Unit {
    pub(crate) index: usize,
    pub(crate) plan: ServicePlan,
    pub(crate) netns: Netns,
    pub(crate) group: Group,
    pub(crate) board: Rc<Board>,
    /// One a service it waits for.
    pub(crate) after: Vec<watch::Receiver<bool>>,
    /// Set once, when it is healthy for the first time.
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) failures: mpsc::UnboundedSender<Failure>,
}

/// Why a service's process is no more.
enum End {
    Died(String),
    Stopped,
}

impl Unit {
    /// Keeps the service running until it is told to stop; then nothing of it is left running.
    pub(crate) async fn run(mut self) {
        let mut stop = self.stop.clone();
        let outcome = tokio::select! {
            biased;
            () = told(&mut stop) => Ok(()),
            prepared = self.prepare() => prepared,
        };
        match outcome {
            Ok(()) => self.keep().await,
            Err(error) => self.fail(chain(&error)),
        }
        let left = self.kill_all().await;
        self.board.service(self.index, |service| {
            service.pid = None;
            if service.state != ServiceStatus::Failed {
                service.state = ServiceStatus::Stopped;
            }
            if !left.is_empty() {
                service.problem = Some(format!("these processes do not die: {left:?}"));
            }
        });
    }

    /// Waits for the others, then makes directories, files and data.
    async fn prepare(&mut self) -> Result<()> {
        for after in &mut self.after {
            // An error means that the other one ended: whoever stopped it stops this one too.
            if after.wait_for(|ready| *ready).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        let (plan, user) = (&self.plan, &self.plan.user);
        own_dir(&plan.data, user)?;
        own_dir(&plan.run, user)?;
        if is_empty(&plan.data)? {
            for (command, input) in &plan.init {
                self.init(command, input).await?;
            }
        }
        for (path, text) in &self.plan.files {
            fs::write(path, text)
                .and_then(|()| std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)))
                .doing(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Runs a command to its end. The bound of the lab's whole start is its bound, too.
    async fn init(&self, command: &Command, input: &str) -> Result<()> {
        self.board.service(self.index, |service| {
            service.problem = Some(format!("{} is still at work", command.program.display()));
        });
        let shown = || format!("run {} once", command.program.display());
        let mut child = self.spawn(command, Stdio::piped()).doing(shown)?;
        let run = async {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes()).await?;
            }
            child.wait().await
        };
        match run.await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(std::io::Error::other(format!("it ended with {status}"))),
            Err(error) => Err(error),
        }
        .doing(shown)?;
        self.board.service(self.index, |service| service.problem = None);
        Ok(())
    }

    fn spawn(&self, command: &Command, input: Stdio) -> std::io::Result<Child> {
        let place = Place {
            user: &self.plan.user,
            netns: Some(&self.netns),
            group: Some(&self.group),
            dir: &self.plan.run,
            on_supervisor_death: self.plan.stop,
        };
        launch::spawn(command, &place, input, launch::open_log(&self.plan.log)?)
    }

    async fn keep(&mut self) {
        let mut backoff = Backoff::new(self.plan.restart);
        let mut early_deaths = 0;
        while !*self.stop.borrow() {
            let started_ns = now_ns();
            let problem = match self.live().await {
                End::Stopped => return,
                End::Died(problem) => problem,
            };
            let lived_ms = (now_ns() - started_ns) / 1_000_000;
            if !*self.ready.borrow() {
                early_deaths += 1;
                if early_deaths >= EARLY_DEATHS_MAX {
                    return self.fail(problem);
                }
            }
            let wait = backoff.wait_ms(lived_ms);
            self.note(&format!("{problem}; it is started again in {wait} ms"));
            self.board.service(self.index, |service| {
                service.enter(ServiceStatus::Backoff);
                service.pid = None;
                service.problem = Some(problem);
            });
            tokio::select! {
                () = sleep(Duration::from_millis(wait)) => {}
                () = told(&mut self.stop) => return,
            }
            self.board.service(self.index, |service| service.restarts += 1);
        }
    }

    /// From one start to the death that follows it.
    async fn live(&mut self) -> End {
        // A killed server's workers may have outlived it, and would hold its port.
        let left = self.kill_all().await;
        if !left.is_empty() {
            return End::Died(format!("processes of its last life do not die: {left:?}"));
        }
        let mut child = match self.spawn(&self.plan.command, Stdio::null()) {
            Ok(child) => child,
            Err(error) => {
                let program = self.plan.command.program.display();
                return End::Died(format!("{program} cannot be run: {error}"));
            }
        };
        self.board.service(self.index, |service| {
            service.enter(ServiceStatus::Starting);
            service.pid = child.id();
        });
        tracing::info!(service = self.plan.name, pid = child.id(), "started");
        let mut stop = self.stop.clone();
        tokio::select! {
            status = child.wait() => End::Died(describe(status)),
            () = self.watch() => End::Stopped,
            () = told(&mut stop) => {
                self.end(&mut child).await;
                End::Stopped
            }
        }
    }

    /// Asks for ever.
    async fn watch(&self) {
        let mut told = None;
        loop {
            let answer = health::check(&self.plan).await;
            if told.as_ref() != Some(&answer) {
                self.tell(&answer);
            }
            let pause = match (&answer, *self.ready.borrow()) {
                (Err(_), false) => ASK_AGAIN,
                _ => Duration::from_millis(self.plan.health_every_ms),
            };
            told = Some(answer);
            if let Err(error) = launch::bound_log(&self.plan.log, LOG_BYTES_MAX) {
                tracing::warn!(log = %self.plan.log.display(), %error, "the log is not bounded");
            }
            sleep(pause).await;
        }
    }

    fn tell(&self, answer: &std::result::Result<(), String>) {
        self.board.service(self.index, |service| match answer {
            Ok(()) => {
                service.enter(ServiceStatus::Healthy);
                service.problem = None;
            }
            Err(problem) => {
                if service.state == ServiceStatus::Healthy {
                    service.enter(ServiceStatus::Unhealthy);
                }
                service.problem = Some(problem.clone());
            }
        });
        if answer.is_ok() {
            self.ready.send_replace(true);
        }
    }

    /// Ends the process in good order, if it will.
    async fn end(&self, child: &mut Child) {
        let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else {
            return;
        };
        // Not yet waited for, so the pid is still this child's.
        if kill_process(pid, self.plan.stop).is_ok()
            && timeout(STOP_WITHIN, child.wait()).await.is_err()
        {
            self.note(&format!("it did not end within {} s and is killed", STOP_WITHIN.as_secs()));
            // Stopped by somebody, or busy: SIGKILL reaches it either way.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    async fn kill_all(&self) -> Vec<u32> {
        let group = self.group.clone();
        let killed = tokio::task::spawn_blocking(move || group.kill_all(KILL_WITHIN_MS)).await;
        match killed {
            Ok(Ok(left)) => left,
            _ => self.group.processes(),
        }
    }

    fn fail(&self, reason: String) {
        self.note(&reason);
        self.board.service(self.index, |service| {
            service.enter(ServiceStatus::Failed);
            service.problem = Some(reason.clone());
        });
        // Nobody listens once the lab is up, and then nobody needs to.
        let _ = self.failures.send(Failure { service: self.plan.name.clone(), reason });
    }

    /// Says something where people look for it: in the service's own log.
    fn note(&self, text: &str) {
        tracing::warn!(service = self.plan.name, "{text}");
        let written =
            launch::open_log(&self.plan.log).and_then(|mut log| writeln!(log, "temblor: {text}"));
        if let Err(error) = written {
            tracing::warn!(log = %self.plan.log.display(), %error, "the log was not written");
        }
    }
}

/// Returns when the service is to stop, also when whoever could say so has gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Dropped at once: what it returns holds a lock.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl ServiceState {
    fn enter(&mut self, state: ServiceStatus) {
        if self.state != state {
            self.state = state;
            self.since_unix_ms = unix_ms();
        }
    }
}

/// Milliseconds since 1970: for people, not for arithmetic.
pub(crate) fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        // `exit status: 1`, `signal: 9 (SIGKILL)`.
        Ok(status) => format!("it ended ({status})"),
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}

fn own_dir(dir: &Path, user: &crate::plan::User) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| std::os::unix::fs::chown(dir, Some(user.uid), Some(user.gid)))
        .doing(|| format!("make the directory {}", dir.display()))
}

fn is_empty(dir: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?;
    Ok(entries.next().is_none())
}

/// How long to wait before a service is started again.
#[derive(Debug, PartialEq, Eq)]
struct Backoff {
    restart: Restart,
    next_ms: u64,
}

impl Backoff {
    fn new(restart: Restart) -> Self {
        Self { restart, next_ms: restart.backoff_initial_ms }
    }

    /// The wait after a life of this length; each next one is twice as long, up to a bound.
    fn wait_ms(&mut self, lived_ms: u64) -> u64 {
        if lived_ms >= self.restart.reset_after_ms {
            self.next_ms = self.restart.backoff_initial_ms;
        }
        let wait = self.next_ms;
        self.next_ms = wait.saturating_mul(2).min(self.restart.backoff_max_ms);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_long_life() {
        let mut backoff = Backoff::new(Restart::default());
        let waits: Vec<_> = (0..7).map(|_| backoff.wait_ms(9_999)).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(backoff.wait_ms(10_000), 200);
        assert_eq!(backoff.wait_ms(0), 400);
    }
}
