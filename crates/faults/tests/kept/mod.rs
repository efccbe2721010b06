//! A program in a cgroup of its own that is started again whenever it ends, as the lab's
//! supervisor and systemd do it.

#![expect(unreachable_pub, reason = "it is included in each program that uses it")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_faults::undo::Guard;
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::target::{Origin, Target};

/// Longer than anything that works takes, on a machine with other things to do and in an emulator.
pub const BOUND: Duration = Duration::from_secs(100);

/// Says why a test is skipped where it cannot run.
pub fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (it makes cgroups)");
    }
    root
}

/// Asks again until the answer is yes.
pub fn within(bound: Duration, mut question: impl FnMut() -> bool) -> bool {
    let deadline_ns = now_ns() + bound.as_nanos() as u64;
    loop {
        if question() {
            return true;
        }
        if now_ns() > deadline_ns {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A journal that goes with the test.
pub fn guard() -> Guard {
    Guard::without_guardian(&journals()).unwrap()
}

fn journals() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("temblor-faults-{}", std::process::id()))
}

/// One cgroup with what runs in it.
pub struct Kept {
    pub group: Group,
    name: String,
    stop: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
    once: Vec<Child>,
}

impl Kept {
    /// An empty group.
    pub fn empty(name: &str) -> Self {
        let name = format!("temblor-test-{}-{name}", std::process::id());
        let group = Group::create(&Cgroups::detect().unwrap(), &name).unwrap();
        Self { group, name, stop: Arc::default(), keeper: None, once: Vec::new() }
    }

    /// A group in which a shell runs this script, again and again.
    pub fn forever(name: &str, script: &str) -> Self {
        let mut kept = Self::empty(name);
        let (group, stop) = (kept.group.clone(), Arc::clone(&kept.stop));
        let script = script.to_owned();
        kept.keeper = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                start(&group, &script).wait().unwrap();
                // What it has started does not outlive it.
                group.kill_all(5_000).unwrap();
            }
        }));
        assert!(within(BOUND, || kept.is_in(kept.group.processes().first())));
        kept
    }

    /// Whether a process is in the group in every hierarchy: it enters one after the other.
    fn is_in(&self, pid: Option<&u32>) -> bool {
        let lists = |dir: &std::path::PathBuf| {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            pid.is_some_and(|pid| text.lines().any(|line| line == pid.to_string()))
        };
        self.group.dirs().iter().all(lists)
    }

    /// Starts a script in the group, once.
    pub fn start(&mut self, script: &str) -> u32 {
        let child = start(&self.group, script);
        let pid = child.id();
        self.once.push(child);
        assert!(within(BOUND, || self.is_in(Some(&pid))));
        pid
    }

    /// The target that a lab's service with this group would be.
    pub fn target(&self) -> Target {
        Target {
            service: self.name.clone(),
            pids: self.group.processes(),
            netns: Netns::of_this_thread().unwrap(),
            addresses: Vec::new(),
            group: self.group.clone(),
            origin: Origin::Lab,
        }
    }

    /// The target that these processes would be, found by their pids.
    pub fn processes(&self, pids: Vec<u32>) -> Target {
        Target { pids, origin: Origin::Processes, ..self.target() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let emptied = within(BOUND, || {
            let _ = self.group.kill_all(1_000);
            self.keeper.as_ref().is_none_or(JoinHandle::is_finished)
        });
        self.once.iter_mut().for_each(|child| drop(child.wait()));
        let removed = self.group.remove_within(5_000);
        // Empty, unless another test in this process still has a journal there.
        let _ = std::fs::remove_dir(journals());
        if !std::thread::panicking() {
            assert!(emptied);
            removed.unwrap();
        }
    }
}

/// Starts a shell in the group: nothing of it happens outside.
pub fn start(group: &Group, script: &str) -> Child {
    let procs = group.open_procs().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    // SAFETY: it only writes to files that are open.
    unsafe {
        command.pre_exec(move || {
            for file in &procs {
                rustix::io::write(file, b"0").map_err(io::Error::from)?;
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}

/// Says where the stressor is: cargo builds it beside the tests.
pub fn set_stressor() {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(std::path::Path::parent).unwrap();
    let stressor = built.join("examples/stressor");
    assert!(stressor.exists(), "build it: cargo build -p temblor-faults --example stressor");
    temblor_faults::stressor::set_program(stressor, Vec::new());
}
