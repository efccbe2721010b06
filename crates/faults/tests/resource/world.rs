//! Namespaces and servers that nobody but these tests has heard of.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use temblor_faults::undo::Guard;
use temblor_host::netns::Netns;
use temblor_host::target::Target;

/// Longer than anything that works takes, on a machine with other things to do.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Says why a test is skipped where it cannot run.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (it makes network namespaces)");
    }
    root
}

/// A new network namespace that has a loopback and nothing else.
pub(crate) fn new_netns() -> Netns {
    let netns = std::thread::spawn(|| {
        // SAFETY: a new network namespace for this thread alone; no file is affected.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        Netns::of_this_thread().unwrap()
    })
    .join()
    .unwrap();
    let up = netns.run(|| Command::new("ip").args(["link", "set", "lo", "up"]).status());
    assert!(up.unwrap().unwrap().success());
    netns
}

/// A target in a namespace, reached from inside that namespace only.
pub(crate) fn target(service: &str, netns: &Netns, pids: &[u32]) -> Target {
    Target { pids: pids.into(), ..Target::of_namespace(service, netns.clone(), Vec::new()) }
}

/// A journal that goes with the test's directory.
pub(crate) fn guard(dir: &Path) -> Guard {
    Guard::without_guardian(&dir.join("journal")).unwrap()
}

/// Asks again until the answer is yes.
#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
pub(crate) fn within(bound: Duration, mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if question() {
            return true;
        }
        if began.elapsed() > bound {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) netns: Netns,
    /// Where it keeps its files.
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: a PostgreSQL that is killed leaves shared memory behind.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        if !within(BOUND, || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Where a program is, or the reason why a test is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let dirs = postgres.filter_map(|dir| Some(dir.ok()?.path().join("bin")));
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(PathBuf::from)
        .into_iter()
        .chain(dirs)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: needs {name}, which is not installed");
    }
    found
}

/// A Redis with room for so many clients.
pub(crate) fn redis(clients_max: u32) -> Option<Server> {
    let redis = program("redis-server")?;
    let (netns, dir) = (new_netns(), tempfile::tempdir().unwrap());
    let mut command = Command::new(redis);
    command
        .args(["--port", "6379", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxclients", &clients_max.to_string(), "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null());
    let child = netns.run(move || command.spawn()).unwrap().unwrap();
    Some(Server { child, netns, dir })
}

/// A PostgreSQL with room for so many clients, three of whom must be superusers.
pub(crate) fn postgres(connections_max: u32) -> Option<Server> {
    use std::os::unix::process::CommandExt as _;
    let (initdb, postgres) = (program("initdb")?, program("postgres")?);
    let (uid, gid) = ids_of("postgres")?;
    let (netns, dir) = (new_netns(), tempfile::tempdir().unwrap());
    std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
    let data = dir.path().join("data");
    let made = Command::new(initdb)
        .args(["--auth=trust", "--username=boss", "--no-sync", "--pgdata"])
        .arg(&data)
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(postgres);
    command
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "port=5432"])
        .args(["-c", "unix_socket_directories=", "-c", "shared_buffers=4MB"])
        .args(["-c", &format!("max_connections={connections_max}"), "-c", "max_wal_senders=0"])
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = netns.run(move || command.spawn()).unwrap().unwrap();
    Some(Server { child, netns, dir })
}

fn ids_of(user: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = text.lines().find(|line| line.split(':').next() == Some(user));
    let Some(line) = line else {
        eprintln!("skipped: needs the user {user}");
        return None;
    };
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().unwrap(), fields.next()?.parse().unwrap()))
}
