//! Real servers of the tests' own, and their clients.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use temblor_event::clock;

const BOUND_NS: u64 = 30_000_000_000;

/// A server that ends with the test.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) dir: tempfile::TempDir,
    end_by: Signal,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // It has ended already, or ends now.
            let _ = kill_process(pid, self.end_by);
        }
        let _ = self.process.wait();
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Started, and listening.
    fn started(mut command: Command, port: u16, dir: tempfile::TempDir, end_by: Signal) -> Self {
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self { process: process.unwrap(), port, dir, end_by };
        let deadline = clock::now_ns() + BOUND_NS;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "it has ended");
            assert!(clock::now_ns() < deadline, "it does not listen");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn redis() -> Option<Self> {
        let program = installed("/usr/bin/redis-server")?;
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new(program);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(dir.path());
        Some(Self::started(command, port, dir, Signal::KILL))
    }

    pub(crate) fn nginx() -> Option<Self> {
        let program = installed("/usr/sbin/nginx")?;
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = dir.path().display();
        let settings = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b;\n\
             fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             server {{ listen 127.0.0.1:{port}; location /good {{ return 200 'good'; }}\n\
             location /bad {{ return 500; }} location / {{ return 404; }} }} }}\n"
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).arg("-p").arg(dir.path());
        Some(Self::started(command, port, dir, Signal::TERM))
    }

    pub(crate) fn postgres() -> Option<Self> {
        let Some(programs) = postgres_programs() else {
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let Some(user) = postgres_user() else {
            eprintln!("skipped: there is no user postgres, and root may not run PostgreSQL");
            return None;
        };
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        chown(dir.path(), Some(user.0), Some(user.1)).unwrap();
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.arg("-D").arg(dir.path().join("data")).current_dir(dir.path());
            command.env_clear().env("LC_ALL", "C").uid(user.0).gid(user.1).stdin(Stdio::null());
            command
        };
        let made = command("initdb").args(["-U", "tester", "-A", "trust", "-N"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = command("postgres");
        server.args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off", "-k"]);
        server.arg(dir.path());
        let server = Self::started(server, port, dir, Signal::QUIT);
        let deadline = clock::now_ns() + BOUND_NS;
        // It listens before it is ready.
        while !server.client("psql", &["-c", "SELECT 1"], "") {
            assert!(clock::now_ns() < deadline, "it does not answer");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Some(server)
    }

    /// One of PostgreSQL's own programs, with this on its standard input. Whether it was content.
    pub(crate) fn client(&self, program: &str, arguments: &[&str], input: &str) -> bool {
        let mut command = Command::new(postgres_programs().unwrap().join(program));
        command.args(["-h", "127.0.0.1", "-U", "tester", "-p", &self.port.to_string()]);
        command.args(arguments).arg("postgres").env("PGSSLMODE", "disable");
        run(command, input)
    }
}

/// Whether it was content.
pub(crate) fn run(mut command: Command, input: &str) -> bool {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait().unwrap().success()
}

/// Says why where it is not there.
pub(crate) fn installed(program: &'static str) -> Option<&'static Path> {
    let path = Path::new(program);
    if !path.exists() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    Some(path)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let dirs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    dirs.filter(|dir| dir.join("postgres").exists() && dir.join("pgbench").exists()).max()
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
