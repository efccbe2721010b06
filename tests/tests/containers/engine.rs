//! A container engine of a test's own: Docker's daemon in a network and mount namespace that
//! nobody else is in, so that its bridge, its links and its mounts are never the machine's, and
//! go with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal, setsid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::{Value, json};
use temblor_host::cgroup::Cgroups;
use temblor_host::engine::Engine;
use temblor_host::process::Process;
use temblor_host::processes::Processes;
use temblor_tests::wait_for;

/// What every container runs.
const SERVER: &str = "/usr/bin/redis-server";
const IMAGE: &str = "temblor-test:redis";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// For the daemon to start and to stop, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says why a test does nothing, and whether it is to do nothing.
pub(crate) fn skipped() -> bool {
    let found = |program: &str| PATH.split(':').any(|dir| Path::new(dir).join(program).is_file());
    let lacks = match () {
        () if !rustix::process::geteuid().is_root() => "root",
        () if !found("dockerd") => "dockerd (Debian, Ubuntu: apt-get install docker.io)",
        () if !Path::new(SERVER).is_file() => "redis-server, which the containers run",
        () => return false,
    };
    eprintln!("skipped: needs {lacks}");
    true
}

/// The daemon. When it is dropped, everything of it is taken away, whatever state it is in.
pub(crate) struct Docker {
    pub(crate) engine: Engine,
    dir: tempfile::TempDir,
    daemon: Child,
    /// The inode of the mount namespace by which its processes are known.
    mounts: u64,
    /// The cgroup above those of its containers.
    parent: String,
}

impl Docker {
    /// Starts it, with the image of the containers in it.
    pub(crate) fn up() -> Self {
        let dir = tempfile::Builder::new().prefix("temblor-docker-").tempdir().unwrap();
        let parent = format!("temblor-docker-{}", std::process::id());
        let socket = dir.path().join("docker.sock");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command
            .args([format!("--host=unix://{}", socket.display())])
            .args([format!("--data-root={}", at("data")), format!("--exec-root={}", at("exec"))])
            .args([format!("--pidfile={}", at("pid")), format!("--cgroup-parent=/{parent}")])
            .args(["--bip=10.213.0.1/24", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--userland-proxy=false", "--storage-driver=vfs"])
            .args(["--shutdown-timeout=2"])
            .env("PATH", PATH)
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(fs::File::create(dir.path().join("log")).unwrap())
            .stderr(fs::File::create(dir.path().join("log")).unwrap());
        // SAFETY: system calls only; of the descriptors none is shared anew.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                // A test that is killed takes its daemon with it.
                set_parent_process_death_signal(Some(Signal::TERM))?;
                unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS)?;
                mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
                Ok(())
            });
        }
        let daemon = command.spawn().expect("dockerd starts");
        let mounts = fs::metadata(format!("/proc/{}/ns/mnt", daemon.id())).unwrap().ino();
        let mut docker = Self { engine: Engine::at(socket), dir, daemon, mounts, parent };
        wait_for("an answer of dockerd", PATIENCE, || {
            let ended = docker.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {}", docker.log());
            docker.ask("GET", "/_ping", "", b"").ok()
        });
        let answer = docker.ask(
            "POST",
            "/images/create?fromSrc=-&repo=temblor-test&tag=redis",
            "application/x-tar",
            &archive(),
        );
        answer.unwrap();
        docker
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Makes a container, and gives its id.
    pub(crate) fn create(&self, name: &str, labels: &[(&str, &str)], restart: &str) -> String {
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let asked = json!({
            "Image": IMAGE,
            "Cmd": [
                SERVER, "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",
                "--maxclients", "64", "--rdbcompression", "no",
            ],
            "Labels": labels,
            "HostConfig": {"RestartPolicy": {"Name": restart}},
        });
        let path = format!("/containers/create?name={name}");
        let body = serde_json::to_vec(&asked).unwrap();
        let answer = self.ask("POST", &path, "application/json", &body).unwrap();
        let made: Value = serde_json::from_str(&answer).unwrap();
        made["Id"].as_str().unwrap().to_owned()
    }

    /// Makes a container and starts it.
    pub(crate) fn run(&self, name: &str, labels: &[(&str, &str)], restart: &str) -> String {
        let id = self.create(name, labels, restart);
        self.engine.start(&id).unwrap_or_else(|e| panic!("{e}: {}", self.log()));
        id
    }

    /// One request, as plain as HTTP goes; the body of an answer that is no refusal.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.engine.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(body.to_owned()),
            _ => Err(io::Error::other(answer)),
        }
    }

    /// Takes everything away, and says so if anything is left.
    pub(crate) fn down(mut self) {
        let problems = self.take_away();
        assert!(problems.is_empty(), "{problems:?}: {}", self.log());
        let dir = self.dir.path().to_path_buf();
        drop(self);
        assert!(!dir.exists(), "{} is left", dir.display());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    }

    fn take_away(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Ok(Some(daemon)) = Process::open(self.daemon.id()) {
            let _ = daemon.signal(Signal::TERM);
            if !daemon.wait_ended(PATIENCE.as_millis() as u32).unwrap_or(false) {
                problems.push("dockerd did not end by SIGTERM".to_owned());
                let _ = daemon.signal(Signal::KILL);
            }
        }
        let _ = self.daemon.wait();
        // What a daemon that was killed left behind: its containerd, its containers.
        for pid in self.processes() {
            if let Ok(Some(process)) = Process::open(pid)
                && self.processes().contains(&pid)
            {
                let _ = process.signal(Signal::KILL);
                let _ = process.wait_ended(5_000);
            }
        }
        let left = self.processes();
        if !left.is_empty() {
            problems.push(format!("processes are left: {left:?}"));
        }
        for dir in self.groups().iter().rev() {
            if let Err(error) = fs::remove_dir(dir) {
                problems.push(format!("{}: {error}", dir.display()));
            }
        }
        problems
    }

    /// Its own processes, by their mount namespace, and those of its containers, by their cgroup.
    fn processes(&self) -> BTreeSet<u32> {
        let all = Processes::read().unwrap();
        let mounts = |pid: &u32| fs::metadata(format!("/proc/{pid}/ns/mnt")).map(|ns| ns.ino());
        let running = all.iter().filter(|row| !row.has_ended).map(|row| row.pid);
        let own = running.filter(|pid| mounts(pid).is_ok_and(|inode| inode == self.mounts));
        let contained = self.groups().into_iter().flat_map(|dir| {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()
        });
        own.chain(contained).collect()
    }

    /// The directories of its containers' cgroups and the one above them, parents first, in every
    /// hierarchy.
    fn groups(&self) -> Vec<PathBuf> {
        let cgroups = Cgroups::detect().unwrap();
        let tops = cgroups.hierarchies().iter().map(|h| h.mount.join(&self.parent));
        let mut dirs: Vec<PathBuf> = tops.filter(|dir| dir.is_dir()).collect();
        let mut at = 0;
        while at < dirs.len() {
            let entries = fs::read_dir(&dirs[at]).into_iter().flatten().flatten();
            let below = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
            dirs.extend(below.collect::<Vec<_>>());
            at += 1;
        }
        dirs
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = self.take_away();
    }
}

/// The server and what it is linked with, out of this machine's own files.
fn archive() -> Vec<u8> {
    let linked = Command::new("ldd").arg(SERVER).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let files = linked.split_whitespace().filter(|word| word.starts_with('/')).chain([SERVER]);
    let files = files.map(|file| file.trim_start_matches('/'));
    let made = Command::new("tar").args(["-C", "/", "-chf", "-"]).args(files).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}
