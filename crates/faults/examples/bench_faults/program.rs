//! Faults of one program with some threads.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use temblor_faults::clock::Offset;
use temblor_faults::disk::Fsync;
use temblor_faults::resource::{FileLimit, Files};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use crate::table::Table;

/// What makes this program that one.
pub(crate) const WORD: &str = "program";
const THREADS: usize = 16;

/// The program: threads that wait, and one that syncs a file again and again. It ends when its
/// input does.
pub(crate) fn main() -> ExitCode {
    for _ in 2..THREADS {
        std::thread::spawn(std::thread::park);
    }
    let file = File::from(rustix::fs::memfd_create("bench", MemfdFlags::CLOEXEC).unwrap());
    std::thread::spawn(move || {
        while file.sync_all().is_ok() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    std::io::stdout().write_all(b"!").unwrap();
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

struct Program(Child);

impl Program {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn target(&self) -> Target {
        let netns = Netns::of_this_thread().unwrap();
        Target { pids: vec![self.0.id()], ..Target::of_namespace(WORD, netns, Vec::new()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(crate) fn measure(table: &mut Table) {
    let program = Program::start();
    let target = || program.target();
    table.measure("5 to spare", || Files { target: target(), limit: FileLimit::Spare(5) });
    table.measure(&format!("an hour, {THREADS} threads"), || Offset {
        target: target(),
        by_ns: 3_600_000_000_000,
    });
    table.measure(&format!("20 ms, {THREADS} threads"), || Fsync {
        target: target(),
        delay: Some(Duration::from_millis(20)),
        fail: None,
        share: 1.0,
    });
}
