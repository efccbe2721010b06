//! The same with perf, which copies each stack's memory and walks it afterwards.

use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of each stack that are copied: the most that perf takes.
const STACK_BYTES: &str = "dwarf,65528";

/// What it took.
pub(crate) struct Taken {
    pub(crate) samples: f64,
    /// Of processors, for recording and for making stacks of what was recorded.
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
}

/// Looks at a process for some seconds. None: there is no perf.
pub(crate) fn looked_at(pid: u32, rate_hz: u32, seconds: u64) -> Option<Taken> {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let before = children_s();
    let recorded = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", &rate_hz.to_string()])
        .args(["--call-graph", STACK_BYTES, "-p", &pid.to_string(), "-o"])
        .arg(&data)
        .args(["--", "sleep", &seconds.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !recorded.is_ok_and(|status| status.success()) {
        return None;
    }
    let bytes = std::fs::metadata(&data).unwrap().len();
    let samples = scripted(&data);
    Some(Taken { samples, seconds: children_s() - before, bytes })
}

/// How many stacks it makes of what it recorded.
fn scripted(data: &Path) -> f64 {
    let told = Command::new("perf").args(["script", "-i"]).arg(data).stderr(Stdio::null()).output();
    let text = told.unwrap().stdout;
    text.split(|byte| *byte == b'\n').filter(|line| line.is_empty()).count() as f64
}

/// Processor time of all children that have ended.
fn children_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // In hundredths of a second, behind the name and thirteen other fields.
    let (_, after) = stat.rsplit_once(')').unwrap();
    let fields: Vec<f64> =
        after.split_whitespace().skip(13).take(2).map(|field| field.parse().unwrap()).collect();
    fields.iter().sum::<f64>() / 100.0
}
