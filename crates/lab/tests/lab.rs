//! A lab from its start to the point where nothing of it is left, on real servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{Timespec, poll};
use rustix::process::Signal;
use temblor_event::clock::now_ns;
use temblor_host::cgroup::Group;
use temblor_host::process::Process;
use temblor_lab::{
    Error, Kind, Options, Phase, Range, ServiceState, ServiceStatus, State, SupervisorCommand,
    down, status, up,
};

/// The process that keeps the labs of the other tests: they start this binary with these
/// arguments, so that no other program has to be built first.
const SUPERVISOR: [&str; 3] = ["--exact", "supervisor", "--nocapture"];
const STARTER: [&str; 3] = ["--exact", "starter", "--nocapture"];

#[test]
fn supervisor() {
    if let Some(options) = handed_to("supervisor") {
        temblor_lab::supervise(&options).unwrap();
    }
}

/// The `up` that another test kills.
#[test]
fn starter() {
    if let Some(options) = handed_to("starter") {
        up(&options).unwrap();
    }
}

/// The options that another test gave to this one. A test runner gives none, and asks for every
/// test at once or has nothing on standard input: then there is nothing to do.
fn handed_to(name: &str) -> Option<Options> {
    let asked_for = std::env::args().any(|arg| arg == name);
    asked_for.then(Options::handed_over)?.ok()
}

#[test]
fn a_lab_serves_and_leaves_nothing() {
    let Some(lab) = TestLab::new(1, "servers.yaml") else { return };
    let started = up(&lab.options).unwrap();
    assert!(!started.already_up);
    assert_eq!(started.cleaned, Vec::<String>::new());
    let state = started.state;
    assert_eq!(state.phase, Phase::Up);
    assert!(state.services.iter().all(|s| s.state == ServiceStatus::Healthy), "{state:#?}");
    assert!(get(state.services[2].address, "/front").starts_with("HTTP/1.1 200"));
    assert_database_answers(state.services[0].address);

    check_targets(&state);
    // Redis reached nginx's namespace's neighbour: the bridge carries packets between services.
    let (redis, nginx) = (&state.services[1], state.target("nginx").unwrap());
    let address = SocketAddr::from((redis.address, redis.port));
    let connected =
        nginx.netns.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(3)));
    connected.unwrap().expect("nginx's namespace reaches Redis");

    let again = up(&lab.options).unwrap();
    assert!(again.already_up);
    assert_eq!(again.state.supervisor, state.supervisor);

    let report = down(&lab.options).unwrap();
    assert!(report.was_up);
    assert_eq!(report.stopped, ["postgres", "redis", "nginx"]);
    assert_eq!(report.cleaned, Vec::<String>::new());
    lab.assert_nothing_left();
    assert_eq!(status(&lab.options).unwrap(), None);
    assert!(!down(&lab.options).unwrap().was_up, "there is nothing to take down twice");
    lab.assert_nothing_left();
}

#[test]
fn what_a_killed_supervisor_leaves_is_found_and_removed() {
    let Some(lab) = TestLab::new(2, "small.yaml") else { return };
    let first = up(&lab.options).unwrap().state;
    kill_supervisor(&first);
    let groups: Vec<_> =
        first.services.iter().map(|s| Group::recorded(s.cgroups.clone())).collect();
    until("the services end with their supervisor", || {
        groups.iter().all(|group| group.processes().is_empty())
    });
    assert_eq!(status(&lab.options).unwrap().unwrap().phase, Phase::Stale);

    let second = up(&lab.options).unwrap();
    assert!(!second.already_up);
    let cgroup = format!("the cgroup temblor-lab-{}/redis", lab.options.link);
    assert!(second.cleaned.contains(&cgroup), "{:?}", second.cleaned);
    assert_ne!(second.state.supervisor, first.supervisor);
    assert!(get(second.state.services[1].address, "/front").starts_with("HTTP/1.1 200"));

    kill_supervisor(&second.state);
    let report = down(&lab.options).unwrap();
    assert!(report.was_up && !report.cleaned.is_empty(), "{report:?}");
    lab.assert_nothing_left();
}

#[test]
fn a_killed_service_comes_back_in_its_namespace() {
    let Some(lab) = TestLab::new(3, "small.yaml") else { return };
    let before = up(&lab.options).unwrap().state;
    let old = before.target("nginx").unwrap();
    assert!(old.pids.len() == 3, "a master and two workers: {:?}", old.pids);
    // The master alone: its workers go on serving, and hold the port.
    Process::open(old.pids[0]).unwrap().unwrap().signal(Signal::KILL).unwrap();
    let nginx = |state: &State| service(state, "nginx").clone();
    let mut after = before;
    until("nginx is healthy again", || {
        after = status(&lab.options).unwrap().unwrap();
        nginx(&after).restarts == 1 && nginx(&after).state == ServiceStatus::Healthy
    });
    let new = after.target("nginx").unwrap();
    assert_eq!(new.netns, old.netns);
    assert!(new.pids.iter().all(|pid| !old.pids.contains(pid)), "{old:?} {new:?}");
    assert_eq!(service(&after, "redis").restarts, 0);
    assert!(get(nginx(&after).address, "/front").starts_with("HTTP/1.1 200"));
    let log = fs::read_to_string(&nginx(&after).log).unwrap();
    assert!(log.contains("signal: 9") && log.contains("started again in 200 ms"), "{log}");
    down(&lab.options).unwrap();
    lab.assert_nothing_left();
}

#[test]
fn a_service_that_cannot_start_is_named_with_its_last_words() {
    let Some(lab) = TestLab::new(4, "broken.yaml") else { return };
    let error = up(&lab.options).unwrap_err();
    let Error::StartFailed { service, log, .. } = &error else { panic!("{error}") };
    assert_eq!(service.as_deref(), Some("redis"));
    assert!(log.iter().any(|line| line.contains("no-such-policy")), "{error}");
    assert_eq!(error.kind(), Kind::Other);
    lab.assert_nothing_left();
}

#[test]
fn a_service_that_is_never_healthy_is_given_up_in_time() {
    let Some(lab) = TestLab::new(6, "never.yaml") else { return };
    let options = Options { start_within_ms: 500, ..lab.options.clone() };
    let error = up(&options).unwrap_err();
    let Error::StartFailed { service, reason, .. } = &error else { panic!("{error}") };
    assert_eq!(service.as_deref(), Some("redis"));
    // On a slow machine Redis does not even listen by then.
    let said = ["GET http://10.", "connecting to 10."];
    let said = said.map(|question| format!("not healthy within 0.5 s: {question}"));
    assert!(said.iter().any(|said| reason.starts_with(said)), "{reason}");
    assert!(reason.contains("TEMBLOR_LAB_START_SECONDS"), "{reason}");
    lab.assert_nothing_left();
}

#[test]
fn a_lab_that_nobody_waits_for_any_more_goes_by_itself() {
    let Some(lab) = TestLab::new(7, "never.yaml") else { return };
    let mut starter = Command::new(std::env::current_exe().unwrap())
        .args(STARTER)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stdin = starter.stdin.take().unwrap();
    serde_json::to_writer(stdin, &lab.options).unwrap();
    until("Redis runs", || {
        let state = status(&lab.options).unwrap();
        state.is_some_and(|state| state.services[0].pid.is_some())
    });
    starter.kill().unwrap();
    starter.wait().unwrap();
    until("the lab has gone", || !lab.options.runtime_dir.exists());
    lab.assert_nothing_left();
}

#[test]
fn what_is_taken_or_missing_is_refused_before_anything_starts() {
    let Some(lab) = TestLab::new(5, "small.yaml") else { return };
    let refused = |options: Options, kind: Kind, said: &str| {
        let error = up(&options).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        lab.assert_nothing_left();
    };
    let good = &lab.options;
    // Loopback's range is one that every machine has.
    let loopback = Range::new(Ipv4Addr::new(127, 9, 0, 0), 24);
    refused(Options { network: Some(loopback), ..good.clone() }, Kind::Input, "lo has");
    refused(Options { link: "lo".into(), ..good.clone() }, Kind::Input, "named lo already");
    let missing = lab.root.path().join("missing.yaml");
    let text = "name: m\nservices:\n  - {name: a, program: no-such-program, user: nobody, port: 1, health: tcp}\n";
    fs::write(&missing, text).unwrap();
    let options = Options { lab: Some(missing), ..good.clone() };
    refused(options, Kind::Machine, "the program no-such-program");
    let occupied = lab.root.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    fs::write(occupied.join("theirs"), "").unwrap();
    let options = Options { data_dir: occupied.clone(), ..good.clone() };
    refused(options, Kind::Input, "is not empty and no lab's");
    assert!(occupied.join("theirs").exists());
}

#[test]
fn a_lab_goes_without_what_is_optional_and_missing() {
    let Some(lab) = TestLab::new(8, "small.yaml") else { return };
    let text = fs::read_to_string(lab.options.lab.as_ref().unwrap()).unwrap();
    let more = "  - {name: extra, program: no-such-program, user: nobody, port: 1, health: tcp, optional: true}\n";
    let file = lab.root.path().join("optional.yaml");
    fs::write(&file, format!("{text}\n{more}")).unwrap();
    let with = Options { lab: Some(file), ..lab.options.clone() };
    let error = up(&with).unwrap_err();
    assert_eq!(error.kind(), Kind::Machine, "{error}");
    assert!(error.to_string().contains("TEMBLOR_LAB_WITHOUT=extra"), "{error}");
    lab.assert_nothing_left();
    let without = |name: &str| Options { without: vec![name.to_owned()], ..with.clone() };
    assert_eq!(up(&without("redis")).unwrap_err().kind(), Kind::Input);
    lab.assert_nothing_left();
    let state = up(&without("extra")).unwrap().state;
    let names: Vec<_> = state.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["redis", "nginx"]);
    assert_eq!(down(&lab.options).unwrap().stopped, names);
    lab.assert_nothing_left();
}

/// A lab of a test's own, with a place, a link and a range that no other has; down again when it
/// goes out of scope, however the test ends.
struct TestLab {
    options: Options,
    root: tempfile::TempDir,
    mounts: String,
}

impl TestLab {
    fn new(n: u8, file: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root (it makes network namespaces and cgroups)");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        // The services run under other users.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let pid = std::process::id();
        let second = 130 + u8::try_from(pid % 90).unwrap();
        let options = Options {
            lab: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)),
            runtime_dir: root.path().join("run"),
            data_dir: root.path().join("data"),
            link: format!("tl{n}-{pid}"),
            network: Some(Range::new(Ipv4Addr::new(10, second, n, 0), 24)),
            // A bound and no more: in an emulator PostgreSQL alone takes a minute.
            start_within_ms: 180_000,
            supervisor: SupervisorCommand {
                program: None,
                args: SUPERVISOR.map(str::to_owned).to_vec(),
            },
            ..Options::default()
        };
        Some(Self { options, root, mounts: mounts() })
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        let link = Path::new("/sys/class/net").join(&self.options.link);
        assert!(!link.exists(), "{} is left", link.display());
        let name = format!("temblor-lab-{}", self.options.link);
        let group = Group::find(&temblor_host::cgroup::Cgroups::detect().unwrap(), &name);
        assert_eq!(group.dirs(), &[] as &[PathBuf]);
        assert!(!self.options.runtime_dir.exists());
        assert!(!self.options.data_dir.exists());
        assert_eq!(mounts(), self.mounts);
        let processes = processes_naming(self.root.path());
        assert!(processes.is_empty(), "{processes:?}");
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if let Err(error) = down(&self.options) {
            eprintln!("the test's lab is not down: {error}");
        }
    }
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Processes that have a path in their arguments: those of a lab below it.
fn processes_naming(path: &Path) -> Vec<String> {
    let path = path.display().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|command| command.contains(&path))
        .collect()
}

fn service<'a>(state: &'a State, name: &str) -> &'a ServiceState {
    state.services.iter().find(|service| service.name == name).unwrap()
}

/// Every service is a target of its own: its processes, none of them root's, in its namespace.
fn check_targets(state: &State) {
    let targets = state.targets().unwrap();
    let ours = temblor_host::netns::Netns::of_this_thread().unwrap();
    let mut inodes: Vec<_> = targets.iter().map(|target| target.netns.inode()).collect();
    for (target, service) in targets.iter().zip(&state.services) {
        assert_eq!(target.service, service.name);
        assert_eq!(Some(target.pids[0]), service.pid);
        assert_eq!(target.addresses, [std::net::IpAddr::V4(service.address)]);
        assert_eq!(target.netns.inode(), service.netns_inode);
        assert_ne!(target.netns, ours);
        for pid in &target.pids {
            let netns = temblor_host::netns::Netns::of_pid(*pid);
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            let (Ok(netns), Ok(status)) = (netns, status) else {
                // Servers start and end workers as they like, but not the process that counts.
                assert_ne!(Some(*pid), service.pid);
                continue;
            };
            assert_eq!(netns, target.netns);
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
            assert!(!uid.starts_with("0\t"), "{} runs as root", service.name);
        }
    }
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), targets.len(), "each service has a namespace of its own");
    let error = state.target("postgrse").unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("it has postgres, redis, nginx"), "{error}");
}

/// What PostgreSQL answers to a start-up message: `R`, a request for (no) authentication.
fn assert_database_answers(address: Ipv4Addr) {
    let mut stream = TcpStream::connect((address, 5432)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let parameters = b"user\0exchange\0database\0exchange\0\0";
    let length = u32::try_from(parameters.len() + 8).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(&(3u32 << 16).to_be_bytes()).unwrap();
    stream.write_all(parameters).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    assert_eq!(kind, *b"R", "the database exchange lets its user in");
}

fn get(address: Ipv4Addr, path: &str) -> String {
    let mut stream = TcpStream::connect((address, 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn kill_supervisor(state: &State) {
    let supervisor = state.supervisor.open().unwrap().expect("it runs");
    supervisor.signal(Signal::KILL).unwrap();
    assert!(supervisor.wait_ended(5_000).unwrap());
}

/// Looks again and again until it is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline_ns = now_ns() + 15_000_000_000;
    while !is_so() {
        assert!(now_ns() < deadline_ns, "within 15 s: {what}");
        let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
    }
}
