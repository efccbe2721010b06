//! The world that is broken: a target with a network namespace, a cgroup, files, a connection and
//! a peer, all of which nobody else has ever heard of.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use temblor_host::cgroup::{Cgroups, Group};

use crate::{temblor, wait_for};

const PART: &str = "TEMBLOR_TORTURE_PART";
const DIR: &str = "TEMBLOR_TORTURE_DIR";
/// By which everything that the instrument starts is known.
pub(super) const TOKEN: &str = "TEMBLOR_TORTURE_TOKEN";

const TARGET_ADDRESS: &str = "10.79.0.1";
const PEER_ADDRESS: &str = "10.79.0.2";
const PORT: u16 = 7000;
/// The filesystem that is filled up, in bytes.
const DISK_BYTES: u64 = 4 << 20;
/// Longer than anything that works takes, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(30);

/// Marks a process that was torn out of the world that holds the tests.
#[derive(Debug)]
pub struct Torn;

impl Torn {
    /// Gives the calling thread, and whatever it starts from now on, mounts of its own: what is
    /// mounted for a world vanishes with the test, however it ends.
    pub fn out() -> Self {
        // SAFETY: mounts concern no memory and no file descriptor; this thread's other threads
        // keep theirs.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        Self
    }
}

/// A world.
pub struct World {
    dir: tempfile::TempDir,
    token: String,
    group: Group,
    top: Group,
    target: Child,
    peer: Child,
}

impl World {
    /// Makes one. `test` is the name of the test that calls [`act_as_target`].
    pub fn new(_torn: &Torn, test: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("torture-").tempdir().unwrap();
        let token = dir.path().file_name().unwrap().to_str().unwrap().replace('.', "-");
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        let size = std::ffi::CString::new(format!("size={DISK_BYTES}")).unwrap();
        mount("torture", &disk, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
        let cgroups = Cgroups::detect().unwrap();
        let group = Group::create(&cgroups, &format!("{token}/home")).unwrap();
        let top = Group::find(&cgroups, &token);
        let [target, peer] = ["target", "peer"].map(|part| start(part, test, dir.path()));
        let mut world = Self { dir, token, group, top, target, peer };
        world.group.attach(world.target.id()).unwrap();
        world.connect();
        world
    }

    /// Links the two, and lets the target begin.
    fn connect(&mut self) {
        let (target, peer) = (self.target.id(), self.peer.id());
        sh(&format!(
            "nsenter -n -t {target} sh -ec 'ip link set lo up; ip link add e0 type veth peer name \
             e0 netns {peer}; ip addr add {TARGET_ADDRESS}/24 dev e0; ip link set e0 up'; \
             nsenter -n -t {peer} sh -ec 'ip link set lo up; ip addr add {PEER_ADDRESS}/24 dev e0; \
             ip link set e0 up'"
        ));
        for child in [&mut self.peer, &mut self.target] {
            writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("ready") {
                line.clear();
                assert!(out.read_line(&mut line).unwrap() > 0, "the world's process has ended");
            }
        }
        // Addresses of IPv6 settle by themselves after a while; then nothing changes any more.
        let mut last = None;
        wait_for("a world that has settled", BOUND, || {
            let now = self.state();
            let settled = last.as_ref() == Some(&now) && !now.0.contains("tentative");
            last = Some(now);
            settled.then_some(())
        });
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the instrument writes down how to undo what it does.
    pub fn undo_dir(&self) -> PathBuf {
        self.dir.path().join("undo")
    }

    /// By which everything that the instrument starts here is known.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// How the instrument is told of the target.
    pub fn target(&self) -> String {
        format!("cgroup:{}/home", self.token)
    }

    /// The pids of the target and its peer.
    pub fn pids(&self) -> [u32; 2] {
        [self.target.id(), self.peer.id()]
    }

    /// The directories of its cgroups, one a hierarchy, those of the target below them.
    pub(super) fn cgroups(&self) -> &[PathBuf] {
        self.top.dirs()
    }

    /// The target's own cgroup.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// `values` with `TARGET`, `PEER`, `DISK` and `FILES` as they are in this world.
    pub(super) fn values(&self, values: &[&str]) -> Vec<String> {
        let disk = self.dir.path().join("disk").display().to_string();
        let files = self.dir.path().join("files").display().to_string();
        values
            .iter()
            .map(|value| {
                value
                    .replace("TARGET", &self.target())
                    .replace("PEER", PEER_ADDRESS)
                    .replace("PORT", &PORT.to_string())
                    .replace("DISK", &disk)
                    .replace("FILES", &files)
            })
            .collect()
    }

    /// The program, in this world.
    pub fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(temblor());
        command
            .args(args)
            .env("TEMBLOR_STATE_DIR", self.undo_dir())
            .env("TEMBLOR_LAB_RUNTIME_DIR", self.dir.path().join("no-lab-run"))
            .env("TEMBLOR_LAB_DATA_DIR", self.dir.path().join("no-lab-data"))
            .env(TOKEN, &self.token)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in the target's network namespace.
    pub fn sh_in_target(&self, script: &str) {
        sh(&format!("nsenter -n -t {} sh -ec '{script}'", self.target.id()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.target, &mut self.peer] {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = rustix::mount::unmount(
            self.dir.path().join("disk"),
            rustix::mount::UnmountFlags::DETACH,
        );
        for group in [&self.group, &self.top] {
            let removed = group.remove_within(5_000);
            if !std::thread::panicking() {
                removed.unwrap();
            }
        }
    }
}

fn start(part: &str, test: &str, dir: &Path) -> Child {
    Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PART, part)
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(super) fn sh(script: &str) {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", crate::said(&out));
}

/// What the target and its peer are: this program again, under the name of a test. Says whether
/// that is what it was; then it has done its part.
pub fn act_as_target() -> bool {
    let Ok(part) = std::env::var(PART) else { return false };
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    // The instrument refuses to act on whoever started it.
    rustix::process::setsid().unwrap();
    let mut stdin = std::io::stdin();
    BufReader::new(&stdin).read_line(&mut String::new()).unwrap();
    let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    std::thread::spawn(move || {
        // Held open until the end.
        let mut streams = Vec::new();
        for stream in listener.incoming() {
            streams.push(stream);
        }
    });
    if part == "target" {
        std::thread::spawn(move || work(&dir));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    out.flush().unwrap();
    // The end of the test is the end of this.
    let _ = stdin.read(&mut [0; 16]);
    true
}

/// Sends a little and writes a little, for ever.
fn work(dir: &Path) {
    let mut file = File::create(dir.join("files/written")).unwrap();
    let _on_disk = File::create(dir.join("disk/held")).unwrap();
    let mut stream: Option<TcpStream> = None;
    let to = format!("{PEER_ADDRESS}:{PORT}").parse().unwrap();
    loop {
        if stream.as_mut().is_none_or(|stream| stream.write_all(b"x").is_err()) {
            stream = TcpStream::connect_timeout(&to, Duration::from_millis(100)).ok();
        }
        let _ = file.set_len(0).and_then(|()| file.write_all(b"x")).and_then(|()| file.sync_all());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
