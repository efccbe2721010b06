//! A disk of a test's own: an ext4 filesystem on a loop device on a tmpfs, mounted in a namespace
//! that goes with the test's thread. The machine's own disk is never touched.

#![expect(unreachable_pub, reason = "it is included in each program that uses it")]
#![allow(dead_code, reason = "each program uses some of it")]
#![allow(clippy::allow_attributes, reason = "what is dead differs from program to program")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, unshare_unsafe};
use temblor_faults::undo::Guard;
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::target::{Origin, Target};

/// Longer than anything that works takes, on a machine with other things to do.
pub const BOUND: Duration = Duration::from_secs(60);

/// Says why a test is skipped where it cannot run.
pub fn possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root (it mounts filesystems and makes cgroups)");
        return false;
    }
    if !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: needs loop devices (/dev/loop-control)");
        return false;
    }
    true
}

/// A name that nobody else has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("temblor-test-{what}-{}-{next}", std::process::id())
}

/// Runs a test with a filesystem of this size in its own mount namespace, and takes it away.
pub fn with_disk(mib: u64, test: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            // SAFETY: a mount namespace for this thread alone, which no other thread's files are
            // affected by.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
            let _mounted = Mounted::new(top, mib);
            test(&top.join("disk"));
        });
        if let Err(panic) = ended.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

struct Mounted(Vec<PathBuf>);

impl Mounted {
    fn new(top: &Path, mib: u64) -> Self {
        run(&["mount", "--make-rprivate", "/"]);
        let size = format!("size={}m", mib + 4);
        run(&["mount", "-t", "tmpfs", "-o", &size, "temblor-test", top.to_str().unwrap()]);
        let mut mounted = Self(vec![top.into()]);
        let (image, disk) = (top.join("image"), top.join("disk"));
        std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        run(&["mkfs.ext4", "-q", "-m", "0", image.to_str().unwrap()]);
        std::fs::create_dir(&disk).unwrap();
        run(&["mount", "-o", "loop", image.to_str().unwrap(), disk.to_str().unwrap()]);
        mounted.0.push(disk);
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            // Lazily: a process of the test that ends a moment later must not keep the loop
            // device beyond itself.
            let _ = Command::new("umount").arg("-l").arg(dir).status();
        }
    }
}

pub fn run(words: &[&str]) {
    let ended = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// A cgroup of a test's own, which goes with it.
pub struct TestGroup(pub Group);

impl TestGroup {
    pub fn new() -> Self {
        Self(Group::create(&Cgroups::detect().unwrap(), &unique("disk")).unwrap())
    }
}

impl Drop for TestGroup {
    fn drop(&mut self) {
        self.0.kill_all(5_000).unwrap();
        self.0.remove_within(5_000).unwrap();
    }
}

/// A process that ends with the test.
pub struct Running(pub Child);

impl Running {
    /// Starts a shell script, in a group if there is one.
    pub fn script(script: &str, group: Option<&TestGroup>) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if let Some(group) = group {
            group.0.attach(child.id()).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What a fault is told about it.
    pub fn target(&self) -> Target {
        Target {
            service: "writer".into(),
            pids: vec![self.pid()],
            netns: Netns::of_this_thread().unwrap(),
            addresses: Vec::new(),
            group: Group::of_pid(&Cgroups::detect().unwrap(), self.pid()).unwrap(),
            origin: Origin::Processes,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again until the answer is yes.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
pub fn wait_until(what: &str, every: Duration, mut question: impl FnMut() -> bool) {
    let began = Instant::now();
    while !question() {
        assert!(began.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        std::thread::park_timeout(every);
    }
}

/// Where a program that is killed keeps its journal: in a directory of whoever kills it.
pub const JOURNAL: &str = "TEMBLOR_TEST_JOURNAL";

/// A journal of a test's own.
pub fn guard() -> Guard {
    let dir = std::env::var_os(JOURNAL).map_or_else(std::env::temp_dir, PathBuf::from);
    Guard::without_guardian(&dir.join(unique("journal"))).unwrap()
}
