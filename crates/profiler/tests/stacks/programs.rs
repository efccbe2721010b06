//! Programs as distributions ship them, put to work that is known: stacks reach their roots, and the
//! function that does the work is on top.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;
use temblor_host::target::Target;
use temblor_profiler::{Collected, End, Settings, Wanted, collect};

use crate::common::{names, possible, share};

const LENGTH_NS: u64 = 2_000_000_000;
/// Longer than anything that is waited for here.
const BOUND_NS: u64 = 60_000_000_000;
/// Whatever happens, none of them works for longer.
const PROCESSOR_SECONDS: u64 = 60;

/// A program that works until it is dropped.
struct Busy {
    child: Child,
    dir: tempfile::TempDir,
}

impl Busy {
    /// None: it is not installed, which is said.
    fn start(program: &str, prepare: impl FnOnce(&mut Command, &Path)) -> Option<Self> {
        if !Path::new(program).exists() {
            eprintln!("skipped: {program} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        prepare(&mut command, dir.path());
        let limit = Rlimit { current: Some(PROCESSOR_SECONDS), maximum: Some(PROCESSOR_SECONDS) };
        // SAFETY: one system call, on memory of the closure's own.
        unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Cpu, limit)?)) };
        Some(Self { child: command.spawn().unwrap(), dir })
    }

    fn stat(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // In hundredths of a second, behind the name and eleven other fields.
        let (_, after) = stat.rsplit_once(')').unwrap();
        after.split_whitespace().nth(11).unwrap().parse().unwrap()
    }

    /// Waits until it has worked for a while: it is past its beginning then.
    fn works(&self) {
        let (before, deadline_ns) = (self.stat(), now_ns() + BOUND_NS);
        while self.stat() < before + 30 {
            assert!(now_ns() < deadline_ns, "it does not work");
            pause();
        }
    }

    fn collected(&self) -> Collected {
        let netns = Netns::of_this_thread().unwrap();
        let pids = vec![self.child.id()];
        let target = Target { pids, ..Target::of_namespace("program", netns, Vec::new()) };
        let mut end_ns = None;
        let enough = || now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS);
        collect(&[target], &Settings::of(Wanted::Cpu { rate_hz: 199 }), enough).unwrap()
    }

    /// Where it spends its time, by which most is spent.
    #[track_caller]
    fn is_hot_in(&self, is_hot: impl Fn(&str) -> bool) {
        let Collected { profile, account } = self.collected();
        let hot = share(&profile, |names| names.iter().any(|name| is_hot(name)));
        let mut leaves: BTreeMap<String, i64> = BTreeMap::new();
        for sample in &profile.samples {
            *leaves.entry(names(&profile, sample).remove(0)).or_default() += sample.values[0];
        }
        assert!(account.samples > 100, "it hardly worked: {account:?}");
        assert!(hot > 0.8, "{hot}; leaves: {leaves:?}");
        let root = account.ends.get(&End::Root).copied().unwrap_or(0);
        assert!(root * 100 >= account.samples * 99, "{account:?}");
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a runtime writes of the code that it makes. Dropping it deletes it.
struct PerfMap(String);

impl Drop for PerfMap {
    fn drop(&mut self) {
        // It may not have been written yet.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Dropping it is enough, also where a test fails: its clients end, and so can the test.
struct Enough<'flag>(&'flag AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

/// A server, while it is sent the same requests at its socket again and again.
#[track_caller]
fn is_hot_while_asked(busy: &Busy, requests: &str, function: &str) {
    let socket = busy.dir.path().join("socket");
    let is_enough = AtomicBool::new(false);
    let ask = || {
        let deadline_ns = now_ns() + BOUND_NS;
        let mut answer = vec![0; 1 << 16];
        while !is_enough.load(Ordering::Relaxed) && now_ns() < deadline_ns {
            let Ok(mut stream) = UnixStream::connect(&socket) else {
                pause();
                continue;
            };
            stream.write_all(requests.as_bytes()).unwrap();
            while stream.read(&mut answer).is_ok_and(|read| read > 0) {}
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(ask);
        let _enough = Enough(&is_enough);
        busy.works();
        busy.is_hot_in(|name| name == function);
    });
}

#[test]
fn python_spends_its_time_in_its_interpreter() {
    if !possible() {
        return;
    }
    let program = "def hot():\n    while True:\n        pass\nhot()";
    let busy = Busy::start("/usr/bin/python3", |command, _| {
        command.args(["-c", program]);
    });
    let Some(busy) = busy else { return };
    busy.works();
    busy.is_hot_in(|name| name == "_PyEval_EvalFrameDefault");
}

#[test]
fn node_spends_its_time_in_the_function_that_it_has_compiled() {
    if !possible() {
        return;
    }
    let program = "function hotLoop() { let sum = 0; for (let i = 0; i < 1e7; i++) sum += i % 7; \
                   return sum; } for (;;) hotLoop();";
    let busy = Busy::start("/usr/bin/node", |command, _| {
        command.args(["--perf-basic-prof", "-e", program]);
    });
    let Some(busy) = busy else { return };
    let _map = PerfMap(format!("/tmp/perf-{}.map", busy.child.id()));
    busy.works();
    busy.is_hot_in(|name| name.contains("hotLoop"));
}

#[test]
fn redis_spends_its_time_comparing_keys_with_a_pattern() {
    if !possible() {
        return;
    }
    let busy = Busy::start("/usr/bin/redis-server", |command, _| {
        command.args([
            "--port",
            "0",
            "--unixsocket",
            "socket",
            "--save",
            "",
            "--enable-debug-command",
            "yes",
        ]);
    });
    let Some(busy) = busy else { return };
    // Most of what it does is to be the one thing.
    let requests = format!("DEBUG POPULATE 200000\r\n{}QUIT\r\n", "KEYS *a*b*c*d*\r\n".repeat(30));
    is_hot_while_asked(&busy, &requests, "keysCommand");
}

#[test]
fn nginx_spends_its_time_compressing() {
    if !possible() {
        return;
    }
    let busy = Busy::start("/usr/sbin/nginx", |command, dir| {
        let mut text = String::new();
        for number in 0..200_000_u64 {
            text.push_str(&format!("{:x} ", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
        std::fs::write(dir.join("text.txt"), text).unwrap();
        let at = dir.display();
        let settings = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b;\n\
             fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             gzip on; gzip_comp_level 9; gzip_types *;\n\
             server {{ listen unix:{at}/socket; root {at}; }} }}\n"
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, settings).unwrap();
        // Where the workers may read it, whoever they run as.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        command.arg("-c").arg(&file).arg("-p").arg(dir);
    });
    let Some(busy) = busy else { return };
    let request = "GET /text.txt HTTP/1.1\r\nHost: it\r\nAccept-Encoding: gzip\r\n\
                   Connection: close\r\n\r\n";
    is_hot_while_asked(&busy, request, "deflate");
}

/// A backend for itself, without a server around it, reads its queries from where it is told.
#[test]
fn postgresql_spends_its_time_in_the_expressions_of_a_query() {
    if !possible() {
        return;
    }
    let Some(programs) = postgres_programs() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let Some((uid, gid)) = postgres_user() else {
        eprintln!("skipped: there is no user postgres, and root may not run PostgreSQL");
        return;
    };
    let busy = Busy::start(programs.join("postgres").to_str().unwrap(), |command, dir| {
        chown(dir, Some(uid), Some(gid)).unwrap();
        let made = Command::new(programs.join("initdb"))
            .args(["-A", "trust", "-N", "-D"])
            .arg(dir.join("data"))
            .current_dir(dir)
            .uid(uid)
            .gid(gid)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let query = "select sum(a * 3 % 7 + a / 5 % 11) from generate_series(1, 1000) a, \
                     generate_series(1, 10000000) b where a * b % 13 <> a % 17 + 20\n";
        std::fs::write(dir.join("query"), query).unwrap();
        let query = std::fs::File::open(dir.join("query")).unwrap();
        command.args(["--single", "-c", "jit=off", "-D"]).arg(dir.join("data")).arg("postgres");
        command.uid(uid).gid(gid).stdin(query);
    });
    let Some(busy) = busy else { return };
    busy.works();
    busy.is_hot_in(|name| {
        name == "ExecScan" || name == "ExecProcNode" || name == "standard_ExecutorRun"
    });
}

fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let dirs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    dirs.filter(|dir| dir.join("postgres").exists()).max()
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
