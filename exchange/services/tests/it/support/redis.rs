//! A Redis of the test's own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::{eventually, free_port};

const PROGRAM: &str = "/usr/bin/redis-server";

pub(crate) struct Redis {
    server: Option<Process>,
    port: u16,
    dir: TempDir,
}

impl Redis {
    /// A fresh, running server, or why there is none.
    pub(crate) async fn start() -> Result<Self, String> {
        if !Path::new(PROGRAM).exists() {
            return Err(format!("{PROGRAM} is not installed"));
        }
        let mut redis = Self { server: None, port: free_port(), dir: tempfile::tempdir().unwrap() };
        redis.restart().await;
        Ok(redis)
    }

    /// Starts it again, empty, after [`Redis::kill`].
    pub(crate) async fn restart(&mut self) {
        let mut command = Command::new(PROGRAM);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(Process::spawn(&mut command, Signal::KILL));
        eventually("Redis answers", Duration::from_secs(10), || async {
            self.connection().await.map(drop)
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        self.server.take().unwrap().kill();
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn connection(&self) -> Option<::redis::aio::MultiplexedConnection> {
        let client = ::redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.ok()
    }

    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let mut connection = self.connection().await?;
        ::redis::cmd("GET").arg(key).query_async(&mut connection).await.ok()?
    }

    pub(crate) async fn hash(&self, key: &str, field: &str) -> Option<u64> {
        let mut connection = self.connection().await?;
        ::redis::cmd("HGET").arg(key).arg(field).query_async(&mut connection).await.ok()?
    }
}
