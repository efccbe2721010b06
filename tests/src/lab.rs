//! A lab of a test's own, and the program under test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use temblor_event::clock::now_ns;

/// Says why a test does nothing, and whether it is to do nothing.
pub fn skipped() -> bool {
    if rustix::process::geteuid().is_root() {
        return false;
    }
    eprintln!("skipped: needs root (a lab has namespaces, a run loads probes); `make test` has it");
    true
}

/// The program, built beside this test.
pub fn temblor() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/end_to_end-… → target/debug/temblor
    let program = test.parent().unwrap().parent().unwrap().join("temblor");
    assert!(program.is_file(), "{} is not built: `make test` builds it", program.display());
    program
}

/// A lab with directories, a link and cgroups of its own, taken down when it is dropped.
pub struct Lab {
    /// Where its directories, its experiments and the runs in it are.
    pub dir: tempfile::TempDir,
    link: String,
}

impl Lab {
    /// Starts it.
    pub fn up(link: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("temblor-test-").tempdir().unwrap();
        let lab = Self { dir, link: link.to_owned() };
        let out = lab.command(&["lab", "up"]).output().unwrap();
        assert!(out.status.success(), "the lab did not come up: {}", said(&out));
        lab
    }

    /// The program, in this lab.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(temblor());
        command
            .args(args)
            .env("TEMBLOR_LAB_RUNTIME_DIR", self.dir.path().join("run"))
            .env("TEMBLOR_LAB_DATA_DIR", self.dir.path().join("data"))
            .env("TEMBLOR_LAB_LINK", &self.link)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(self.dir.path());
        command
    }

    /// The lab's state as its own command gives it.
    pub fn state(&self) -> Value {
        let out = self.command(&["lab", "status", "--json"]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&out)))
    }

    /// Writes an experiment and gives its path.
    pub fn experiment(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("experiment.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs an experiment to its end.
    pub fn run(&self, experiment: &Path, out: &Path) -> Output {
        self.command(&["run", experiment.to_str().unwrap(), "--out", out.to_str().unwrap()])
            .output()
            .unwrap()
    }

    /// Starts a run.
    pub fn start_run(&self, experiment: &Path, out: &Path) -> Child {
        self.command(&["run", experiment.to_str().unwrap(), "--out", out.to_str().unwrap()])
            .spawn()
            .unwrap()
    }

    /// A service's field in the lab's state.
    pub fn service(&self, name: &str) -> Value {
        let state = self.state();
        let services = state["services"].as_array().unwrap();
        services.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("{state}")).clone()
    }

    /// nftables tables in the namespace of a service.
    pub fn tables(&self, service: &str) -> String {
        let pid = self.service(service)["pid"].to_string();
        let out = Command::new("nsenter")
            .args(["--net", "--target", &pid, "nft", "list", "tables"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Everything of the lab's that a run could have changed, to compare.
    pub fn whole_state(&self) -> String {
        let mut text = String::new();
        let state = self.state();
        for service in state["services"].as_array().unwrap() {
            let name = service["name"].as_str().unwrap();
            let pid = service["pid"].to_string();
            text.push_str(&format!(
                "{name} pid {pid} netns {} restarts {} state {}\n{}",
                service["netns_inode"],
                service["restarts"],
                service["state"],
                self.tables(name)
            ));
            let links = Command::new("nsenter")
                .args(["--net", "--target", &pid, "ip", "-o", "addr"])
                .output()
                .unwrap();
            text.push_str(&String::from_utf8_lossy(&links.stdout));
            for cgroup in service["cgroups"].as_array().unwrap() {
                let there = Path::new(cgroup.as_str().unwrap()).is_dir();
                text.push_str(&format!("{cgroup} {there}\n"));
            }
        }
        let host = Command::new("ip").args(["-o", "link"]).output().unwrap();
        text.push_str(&String::from_utf8_lossy(&host.stdout));
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let out = self.command(&["lab", "down"]).output();
        if !std::thread::panicking() {
            let out = out.unwrap();
            assert!(out.status.success(), "the lab did not go down: {}", said(&out));
        }
    }
}

/// What a program said, for a failure's message.
pub fn said(out: &Output) -> String {
    format!(
        "{}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// A run's result.
pub fn result(run: &Path) -> Value {
    let path = run.join("result.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Waits for a condition; says what was waited for if it does not come true.
pub fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start_ns = now_ns();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = Duration::from_nanos(now_ns() - start_ns);
        assert!(waited < within, "{what} did not happen within {within:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
