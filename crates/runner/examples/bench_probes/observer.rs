//! Who watches while a slice of load is served: nobody, our probes, or a bpftrace script.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// bpftrace compiles its script first.
const ATTACHED_WITHIN: Duration = Duration::from_secs(60);
/// The services that are watched; the whole lab.
const SERVICES: [&str; 6] =
    ["trading-api", "postgres", "redis", "nginx", "market-simulator", "order-flow-simulator"];
const WITH_TRACEFS: &str = r#"
    [ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
    exec bpftrace -e "$1""#;
const SCRIPT: &str = include_str!("same_figures.bt");

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Nobody,
    Temblor,
    Bpftrace,
}

/// A program that watches. Dropping it ends it.
pub(crate) struct Observer {
    child: Option<Child>,
}

impl Observer {
    /// Starts it and waits until everything is attached.
    pub(crate) fn start(who: Who, temblor: &Path, probes: &[String]) -> Self {
        let mut command = match who {
            Who::Nobody => return Self { child: None },
            Who::Temblor => {
                let mut command = Command::new(temblor);
                command.arg("trace").args(probes).args(["--for", "10m"]);
                command.args(SERVICES.iter().flat_map(|service| ["--service", service]));
                command
            }
            Who::Bpftrace => {
                // It looks tracepoints up in a file system that need not be mounted, and is not
                // for anybody else.
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", WITH_TRACEFS, "sh", SCRIPT]);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", command_name(&command)));
        let lines = lines(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let wanted = if who == Who::Temblor { probes.len() } else { 1 };
        let is_sign = |line: &str| match who {
            Who::Temblor => line.ends_with(" probe is attached"),
            _ => line.starts_with("Attaching "),
        };
        let mut seen = 0;
        let mut said = Vec::new();
        while seen < wanted {
            match lines.recv_timeout(ATTACHED_WITHIN) {
                Ok(line) => {
                    seen += usize::from(is_sign(&line));
                    said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => panic!("{who:?} never attached: {said:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{who:?} ended: {said:#?}"),
            }
        }
        Self { child: Some(child) }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself; then the wait is over at once.
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = child.wait();
    }
}

/// Everything that it says, read to the end so that it never has to wait for us.
fn lines(
    stdout: impl Read + Send + 'static,
    stderr: impl Read + Send + 'static,
) -> Receiver<String> {
    let (to, lines) = channel();
    let streams: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
    for stream in streams {
        let to = to.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                // Nobody listens once it is attached.
                let _ = to.send(line);
            }
        });
    }
    lines
}

fn command_name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
