//! In the guest: every test of every program, one after the other, and every fault.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use temblor_event::clock::now_ns;

use super::machine;
use super::programs::{Program, Programs};
use super::record::{Fault, Outcome, Record, Test};
use crate::torture::{FAULTS, State, Torn, Tortured, World, calibrate};

/// How long a test may take on an emulated processor that others use, too.
const TEST_WITHIN: Duration = Duration::from_secs(240);
/// How much of what a failed test said is told.
const LINES_TOLD_MAX: usize = 60;
/// A fault that the machine lacks something for; see `docs/exit-codes.md`.
const EXIT_MISSING: i32 = 6;
/// How tests say that they are not for this machine.
const SKIPPED: &str = "skipped: ";

/// Runs everything, and tells it in `results`. `world_part` is the argument with which this
/// program becomes a part of a world that faults are put into; without it none are.
///
/// # Errors
/// The results cannot be written, or a program cannot be started.
pub fn run(
    programs: &Programs,
    results: &Path,
    world_part: Option<&'static str>,
) -> io::Result<()> {
    let mut told = Results::open(results)?;
    let facts = temblor_host::facts();
    let version = rustix::system::uname().version().to_string_lossy().into_owned();
    told.tell(&Record::Kernel { release: facts.kernel, version, cgroups: facts.cgroups })?;
    told.begin("temblor doctor")?;
    let doctor = Command::new(crate::temblor()).args(["doctor", "--json"]).output()?;
    told.tell(&Record::Doctor(serde_json::from_slice(&doctor.stdout)?))?;
    let mut before = machine::state();
    for program in &programs.0 {
        for name in names(program)? {
            told.begin(&format!("{} {} {name}", program.of, program.name))?;
            let test = test(program, name, &mut before)?;
            println!("{:>7}  {} {} {}", test.outcome.word(), test.of, test.program, test.name);
            explain(&test.outcome);
            told.tell(&Record::Test(test))?;
        }
    }
    for fault in FAULTS {
        let Some(world_part) = world_part else { break };
        told.begin(&format!("the fault {}", fault.name))?;
        // A thread of its own, because it leaves the mounts that the others see.
        let done = std::thread::spawn(move || once(fault, world_part)).join();
        let mut fault = done.unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned()));
            let why = why.unwrap_or_else(|| "it panicked".to_owned());
            let (name, said) = (fault.name.to_owned(), String::new());
            Fault { name, outcome: Outcome::Failed { why }, said }
        });
        fault.outcome = unless_left(fault.outcome, &mut before);
        println!("{:>7}  fault {} {}", fault.outcome.word(), fault.name, fault.said);
        explain(&fault.outcome);
        told.tell(&Record::Fault(fault))?;
    }
    told.tell(&Record::Done)
}

/// Where lines are told.
struct Results(File);

impl Results {
    fn open(path: &Path) -> io::Result<Self> {
        // A serial line must not become the terminal of this session.
        let no_terminal = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap();
        let mut open = OpenOptions::new();
        open.append(true).create(true).custom_flags(no_terminal).open(path).map(Self)
    }

    fn tell(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }

    fn begin(&mut self, what: &str) -> io::Result<()> {
        self.tell(&Record::Began(what.to_owned()))
    }
}

fn explain(outcome: &Outcome) {
    if let Outcome::Skipped { why } | Outcome::Failed { why } = outcome {
        why.lines().for_each(|line| println!("         {line}"));
    }
}

/// The names of a program's tests.
fn names(program: &Program) -> io::Result<Vec<String>> {
    let listed = Command::new(&program.path).args(["--list", "--format", "terse"]).output()?;
    if !listed.status.success() {
        return Err(io::Error::other(format!("{}: {}", program.name, crate::said(&listed))));
    }
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn test(program: &Program, name: String, before: &mut State) -> io::Result<Test> {
    let said = std::env::temp_dir().join("said");
    let out = File::create(&said)?;
    let began_ns = now_ns();
    let mut child = Command::new(&program.path)
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .current_dir(&program.dir)
        .env("CARGO_MANIFEST_DIR", &program.dir)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()?;
    let until_ns = began_ns + u64::try_from(TEST_WITHIN.as_nanos()).unwrap();
    let mut stood = String::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if now_ns() > until_ns {
            // Where it stood, which only the kernel can tell of what is stuck there.
            stood = machine::stacks_but(before);
            let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            kill_process_group(group, Signal::KILL)?;
            child.wait()?;
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    };
    let took_ms = (now_ns() - began_ns) / 1_000_000;
    let said = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
    // The test's own line has begun by then.
    let skipped = said.lines().find_map(|line| Some(line.split_once(SKIPPED)?.1));
    let outcome = match (status, skipped) {
        (None, _) => {
            let bound = TEST_WITHIN.as_secs();
            let said = end_of(&said);
            Outcome::Failed { why: format!("did not end within {bound} s\n{said}\n{stood}") }
        }
        (Some(status), _) if !status.success() => Outcome::Failed { why: end_of(&said) },
        (Some(_), Some(why)) => Outcome::Skipped { why: why.to_owned() },
        (Some(_), None) => Outcome::Passed,
    };
    let outcome = unless_left(outcome, before);
    Ok(Test { took_ms, ..Test::of(program, name, outcome) })
}

/// The last lines.
fn end_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES_TOLD_MAX)..].join("\n")
}

/// What has come of it, unless something is left behind: then that. What is left is told once.
fn unless_left(outcome: Outcome, before: &mut State) -> Outcome {
    let left = machine::left(before);
    if left.is_empty() {
        return outcome;
    }
    machine::end_all_but(before);
    *before = machine::state();
    let why = match outcome {
        Outcome::Failed { why } => format!("{why}\nand the machine is not as before:\n{left}"),
        _ => format!("the machine is not as before:\n{left}"),
    };
    Outcome::Failed { why }
}

/// Puts a fault into a world of its own, and takes it away.
fn once(fault: &'static Tortured, world_part: &'static str) -> Fault {
    let world = World::new(&Torn::out(), world_part);
    let before = world.state();
    // What is left in the world is a panic there.
    let (outcome, said) = match calibrate(&world, fault, &before) {
        Ok((_, out)) => {
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let by = text.lines().find_map(|line| Some(line.split_once("); by ")?.1.to_owned()));
            (Outcome::Passed, by.unwrap_or_default())
        }
        Err(out) => {
            let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            let outcome = if out.status.code() == Some(EXIT_MISSING) {
                Outcome::Skipped { why }
            } else {
                Outcome::Failed { why: crate::said(&out) }
            };
            (outcome, String::new())
        }
    };
    Fault { name: fault.name.to_owned(), outcome, said }
}
