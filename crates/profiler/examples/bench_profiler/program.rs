//! The programs that are profiled: those of the tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use temblor_host::netns::Netns;
use temblor_host::target::Target;

/// Away with its directory when this is.
pub(crate) struct Built {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Built {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks/program.c");
        let built = Command::new("cc")
            .args(["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread", "-o"])
            .args([&path, &source])
            .status();
        assert!(built.unwrap().success());
        Self { path, _dir: dir }
    }

    pub(crate) fn start(&self, args: &[&str]) -> Program {
        let mut command = Command::new(&self.path);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Program { child, said }
    }
}

/// It runs until it is dropped.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self) -> Target {
        let netns = Netns::of_this_thread().unwrap();
        Target { pids: vec![self.pid()], ..Target::of_namespace("program", netns, Vec::new()) }
    }

    /// What it measures now.
    pub(crate) fn figure(&mut self) -> f64 {
        self.child.stdin.as_mut().unwrap().write_all(b".").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    /// How often its threads have left their processors to wait.
    pub(crate) fn waits(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of = |task: std::io::Result<std::fs::DirEntry>| -> f64 {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        };
        tasks.map(of).sum()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
