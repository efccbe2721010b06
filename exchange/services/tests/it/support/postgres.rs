//! A PostgreSQL of the test's own.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use super::process::Process;
use super::{eventually, free_port};

pub(crate) struct Postgres {
    server: Option<Process>,
    programs: PathBuf,
    /// PostgreSQL refuses to run as root, so then it runs as its own user.
    user: Option<(u32, u32)>,
    port: u16,
    dir: TempDir,
}

impl Postgres {
    /// A fresh, running server, or why there is none.
    pub(crate) async fn start() -> Result<Self, String> {
        let programs = programs().ok_or("PostgreSQL's server is not installed")?;
        let user = if rustix::process::geteuid().is_root() {
            Some(postgres_user().ok_or("running as root, and there is no user postgres")?)
        } else {
            None
        };
        let dir = tempfile::Builder::new().prefix("exchange-pg-").tempdir().unwrap();
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut postgres = Self { server: None, programs, user, port: free_port(), dir };
        let made = postgres
            .command("initdb")
            .args(["-U", "exchange", "-A", "trust", "-N", "--no-locale", "-E", "UTF8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.restart().await;
        Ok(postgres)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .current_dir(self.dir.path())
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server again after [`Postgres::kill`].
    pub(crate) async fn restart(&mut self) {
        let socket_dir = self.dir.path().to_str().unwrap().to_owned();
        // What is tested is the death of processes, not of the machine: no syncs needed.
        let settings = ["fsync=off", "max_connections=20", "shared_buffers=16MB"];
        for _ in 0..100 {
            let log = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.dir.path().join("log"))
                .unwrap();
            let mut command = self.command("postgres");
            command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", &socket_dir]);
            for setting in settings {
                command.args(["-c", setting]);
            }
            command.stdout(Stdio::null()).stderr(log);
            let mut server = Process::spawn(&mut command, Signal::QUIT);
            // It ends at once while children of a killed predecessor still hold its memory.
            loop {
                if self.connect().await.is_some() {
                    self.server = Some(server);
                    return;
                }
                if server.exited().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start:\n{log}");
    }

    /// SIGKILL: no goodbye to clients, no checkpoint.
    pub(crate) fn kill(&mut self) {
        self.server.take().unwrap().kill();
    }

    /// For the relay.
    pub(crate) fn config_text(&self) -> String {
        format!("host=127.0.0.1 port={} user=exchange dbname=postgres", self.port)
    }

    pub(crate) fn config(&self) -> tokio_postgres::Config {
        self.config_text().parse().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As good as a new one.
    pub(crate) async fn empty(&self) {
        let drop = "DROP TABLE IF EXISTS orders, trades, relay_cursor";
        self.client().await.batch_execute(drop).await.unwrap();
    }

    async fn connect(&self) -> Option<tokio_postgres::Client> {
        let (client, connection) = self.config().connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        eventually("PostgreSQL takes a connection", Duration::from_secs(10), || self.connect())
            .await
    }

    pub(crate) async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.client().await.query(sql, parameters).await.unwrap()
    }

    /// What an auditor from outside sees: client order id and order id of each row.
    pub(crate) async fn orders(&self, prefix: &str) -> Vec<(String, String)> {
        self.rows(
            "SELECT client_order_id, order_id::text FROM orders WHERE client_order_id LIKE $1",
            &[&format!("{prefix}%")],
        )
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
    }
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut dirs: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|dir| dir.join("postgres").exists() && dir.join("initdb").exists())
        .collect();
    dirs.sort();
    dirs.pop()
        .or_else(|| Path::new("/usr/bin/postgres").exists().then(|| PathBuf::from("/usr/bin")))
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
