//! Targets found on the machine as it is: by pid, process name, cgroup, systemd unit, container.
//!
//! Each finder gives every instance that answers to what was asked, in a stable order, and never
//! none: nothing found is an error that says what there is instead. What is found says where to
//! look; whether it may be acted upon is for [`crate::protected`].

mod containers;
mod error;
mod groups;
mod processes;

pub use containers::{again, by_compose_service, by_container, by_label};
pub use error::FindError;
pub use groups::{by_cgroup, by_unit};
pub use processes::{by_pid, by_process_name};

use std::io;

use super::{Origin, Target, addresses_here};
use crate::cgroup::Group;
use crate::netns::Netns;

/// What a finder gives: at least one instance, or the reason why there is none.
pub type Found = Result<Vec<Target>, FindError>;

/// A target of these processes, the main one first.
fn target(
    service: String,
    pids: Vec<u32>,
    group: Group,
    origin: Origin,
) -> Result<Target, FindError> {
    let main = pids.first().copied().unwrap_or_default();
    let doing = |doing: &str| format!("{doing} of {service} (process {main})");
    let netns = Netns::of_pid(main)
        .map_err(|source| FindError::looking(doing("open the network namespace"), source))?;
    let addresses = addresses(&netns)
        .map_err(|source| FindError::looking(doing("read the addresses"), source))?;
    Ok(Target { service, pids, netns, addresses, group, origin })
}

fn addresses(netns: &Netns) -> io::Result<Vec<std::net::IpAddr>> {
    // Our own needs no entering, which only root may: so a dry run does without.
    if Netns::of_this_thread()? == *netns {
        return addresses_here();
    }
    netns.run(addresses_here)?
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Child, Command, Stdio};

    use crate::process::Identity;
    use crate::processes::Processes;

    /// A process with descendants, in a session of its own; all end with it.
    pub(crate) struct Spawned {
        child: Child,
        all: Vec<Identity>,
    }

    impl Spawned {
        /// Runs a script; `processes` are to be there, the shell among them.
        pub(crate) fn shell(script: &str, processes: usize) -> Self {
            Self::command(Command::new("sh").args(["-c", script]), processes)
        }

        pub(crate) fn command(command: &mut Command, processes: usize) -> Self {
            use std::os::unix::process::CommandExt as _;
            command.stdin(Stdio::null());
            // SAFETY: setsid is a system call and nothing else.
            unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
            let child = command.spawn().unwrap();
            let mut spawned = Self { all: Vec::new(), child };
            let deadline = temblor_event::clock::now_ns() + 10_000_000_000;
            loop {
                let all = Processes::read().unwrap();
                let pids = all.descendants(spawned.pid());
                let began = |pid: &u32| all.get(*pid).is_some_and(|row| row.name != "sh");
                let below = pids.iter().filter(|pid| began(pid));
                spawned.all = std::iter::once(&spawned.pid())
                    .chain(below)
                    .filter_map(|pid| Identity::of(*pid).ok())
                    .collect();
                if pids.len() + 1 == processes && spawned.all.len() == processes {
                    return spawned;
                }
                assert!(temblor_event::clock::now_ns() < deadline, "{command:?}: {all:?}");
                std::thread::yield_now();
            }
        }

        pub(crate) fn pid(&self) -> u32 {
            self.child.id()
        }
    }

    impl Drop for Spawned {
        fn drop(&mut self) {
            for identity in &self.all {
                if let Ok(Some(process)) = identity.open() {
                    let _ = process.signal(rustix::process::Signal::KILL);
                    let _ = process.wait_ended(5_000);
                }
            }
            let _ = self.child.wait();
        }
    }
}
