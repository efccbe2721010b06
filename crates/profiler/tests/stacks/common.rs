//! Programs whose stacks are known, and what is asked of profiles of them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use temblor_host::netns::Netns;
use temblor_host::target::Target;
use temblor_profile::{Profile, Sample};

/// Whether this can run at all; says why not.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (BPF programs)");
    }
    root && cfg!(target_arch = "x86_64")
}

/// The program, built without frame pointers and away with its directory when this is.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Program {
    pub(crate) fn build() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks/program.c");
        let built = Command::new("cc")
            .args(["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"])
            // The code that looks functions up at their first call keeps its stack in a way that is
            // not followed.
            .args(["-Wl,-z,now", "-o"])
            .args([&path, &source])
            .status();
        assert!(built.unwrap().success());
        Self { path, _dir: dir }
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = Command::new(&self.path).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Running { child }
    }
}

/// Dropping it ends it.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn target(&self) -> Target {
        let netns = Netns::of_this_thread().unwrap();
        let pids = vec![self.child.id()];
        Target { pids, ..Target::of_namespace("program", netns, Vec::new()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of a stack's functions, the innermost first.
pub(crate) fn names(profile: &Profile, sample: &Sample) -> Vec<String> {
    let of = |id| {
        let location = profile.location(id);
        let lines: Vec<String> =
            location.lines.iter().map(|line| profile.name_of(location, Some(line))).collect();
        lines
    };
    sample.stack.iter().flat_map(|id| of(*id)).collect()
}

/// How many of the samples are so, of all.
pub(crate) fn share(profile: &Profile, is_so: impl Fn(&[String]) -> bool) -> f64 {
    let (mut so, mut all) = (0, 0);
    for sample in &profile.samples {
        all += sample.values[0];
        if is_so(&names(profile, sample)) {
            so += sample.values[0];
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let share = so as f64 / all as f64;
    share
}
