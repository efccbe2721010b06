//! Profiles of the phases of a real run, held against what the target was told to do in each; and a
//! run that goes on though the kernel refuses to sample.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use temblor_profile::{Profile, pprof};

use temblor_tests::torture::Torn;
use temblor_tests::{result, said, skipped, temblor, wait_for};

/// Longer than anything that works takes, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(60);

/// Turns in one function until it gets a signal, and then in another; a second thread sleeps, and
/// allocates 10 000 bytes after each of its sleeps of 10 ms.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static volatile sig_atomic_t is_second;
static volatile unsigned long turns;
static void changed(int number) { (void)number; is_second = 1; }
__attribute__((noinline)) static void first_work(void) { while (!is_second) turns++; }
__attribute__((noinline)) static void second_work(void) { for (;;) turns += 2; }
static void *volatile kept;
__attribute__((noinline)) static void *sleeping(void *none)
{
	for (;;) {
		usleep(10000);
		kept = malloc(10000);
	}
	return none;
}
int main(void)
{
	pthread_t thread;
	signal(SIGUSR1, changed);
	pthread_create(&thread, 0, sleeping, 0);
	first_work();
	second_work();
}
"#;

/// A busy process to act on, directories and locks of a test's own.
struct World {
    dir: tempfile::TempDir,
    target: Child,
}

impl World {
    fn new(_torn: &Torn) -> Self {
        let dir = tempfile::Builder::new().prefix("temblor-pr-").tempdir().unwrap();
        // One run at a time is what a machine has; here is a machine of the test's own.
        fs::create_dir_all("/run/temblor").unwrap();
        mount("locks", "/run/temblor", "tmpfs", MountFlags::empty(), None).unwrap();
        let (source, program) = (dir.path().join("turns.c"), dir.path().join("turns"));
        fs::write(&source, PROGRAM).unwrap();
        let built =
            Command::new("cc").args(["-O1", "-pthread", "-o"]).args([&program, &source]).status();
        assert!(built.unwrap().success());
        let mut target = Command::new(&program);
        target.stdin(Stdio::null());
        // SAFETY: setsid is a system call and nothing else.
        unsafe { target.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        Self { target: target.spawn().unwrap(), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A run whose fault is over soon, so that the target is busy in each phase.
    fn experiment(&self, profile: &str) -> PathBuf {
        let text = format!(
            "apiVersion: temblor.dev/v1\nkind: Experiment\nmetadata: {{name: profiles}}\n\
             safety: {{allow: [share], share: 100%}}\ntargets: {{a: {{pid: {}}}}}\nphases:\n  \
             - {{name: before it, for: 3s}}\n  \
             - {{name: with it, for: 4s, inject: [{{process.pause: {{target: a}}, after: 3s, for: 200ms}}]}}\n  \
             - {{name: after it, for: 2s}}\nprofile: {profile}\n",
            self.target.id(),
        );
        let path = self.path("experiment.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, experiment: &Path) -> Command {
        let mut command = Command::new(temblor());
        command
            .args(["run", experiment.to_str().unwrap()])
            .args(["--out", self.path("run").to_str().unwrap()])
            .env("TEMBLOR_STATE_DIR", self.path("state"))
            .env("TEMBLOR_LAB_RUNTIME_DIR", self.path("lab"))
            .env("TEMBLOR_LAB_DATA_DIR", self.path("lab-data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("run/events.ndjson")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn phase_begins(&self, name: &str) {
        wait_for(name, BOUND, || {
            let is =
                |e: &Value| e["event"] == "run.phase" && e["phase"] == name && e["starts"] == true;
            self.events().iter().any(is).then_some(())
        });
    }

    fn profile(&self, file: &str) -> Profile {
        pprof::read(&fs::read(self.path("run").join(file)).unwrap()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.target), Signal::KILL);
        let _ = self.target.wait();
    }
}

/// What all of a profile's samples amount to, and those in a function.
fn sums(profile: &Profile, value: usize, function: &str) -> (i64, i64) {
    let (mut all, mut within) = (0, 0);
    for sample in &profile.samples {
        let is_in = sample.stack.iter().any(|id| {
            let location = profile.location(*id);
            location.lines.iter().any(|line| profile.name_of(location, Some(line)) == function)
        });
        all += sample.values[value];
        within += if is_in { sample.values[value] } else { 0 };
    }
    (all, within)
}

fn verdict_of(world: &World, out: &Output) -> Value {
    let told = said(out);
    assert!(world.path("run/result.json").exists(), "{told}");
    let result = result(&world.path("run"));
    assert_eq!(result["verdict"], "pass", "{told}");
    result
}

#[test]
fn each_phase_has_the_profile_of_what_was_done_in_it() {
    if skipped() {
        return;
    }
    let world = World::new(&Torn::out());
    let child = world
        .command(
            &world.experiment("{cpu: [before it, with it], off-cpu: with it, allocs: with it}"),
        )
        .spawn()
        .unwrap();
    world.phase_begins("with it");
    kill_process(Pid::from_child(&world.target), Signal::USR1).unwrap();
    let out = child.wait_with_output().unwrap();
    let result = verdict_of(&world, &out);

    let cpu = &result["profiles"][0];
    assert_eq!((&cpu["kind"], &cpu["rate_hz"]), (&"cpu".into(), &99.into()), "{cpu:#}");
    assert_eq!(cpu["missing"], Value::Array(Vec::new()), "{cpu:#}");
    let files = ["profiles/cpu-before-it.pb.gz", "profiles/cpu-with-it.pb.gz"];
    for (i, file) in files.into_iter().enumerate() {
        let told = &cpu["phases"][i];
        assert_eq!(told["file"], file, "{cpu:#}");
        let profile = world.profile(file);
        let (all, first) = sums(&profile, 0, "first_work");
        let (_, second) = sums(&profile, 0, "second_work");
        assert_eq!(told["samples"], all, "what is told is what is there");
        // The signal comes a moment after the phase's beginning: that moment is the first function's.
        assert!(all >= 60, "{file}: {all} samples");
        let (hot, other) = if i == 0 { (first, second) } else { (second, first) };
        assert!(hot * 10 >= all * 7, "{file}: {hot} of {all}");
        assert!(
            if i == 0 { other == 0 } else { other * 10 <= all * 3 },
            "{file}: {other} of {all}"
        );
        assert!(profile.duration_ns >= 2_900_000_000, "{}", profile.duration_ns);
    }
    let entries = fs::read_dir(world.path("run/profiles")).unwrap();
    assert_eq!(entries.count(), 4, "nothing but what was asked for");
    the_sleep_of_the_phase_is_in_it(&world, &result["profiles"][1]);
    the_memory_of_the_phase_is_in_it(&world, &result["profiles"][2]);

    let comparison = &cpu["comparisons"][0];
    assert_eq!((&comparison["base"], &comparison["new"]), (&"before it".into(), &"with it".into()));
    let changes = comparison["changes"].to_string();
    assert!(changes.contains("second_work") && changes.contains("first_work"), "{comparison:#}");
    let probes = result["evidence"]["probes"].as_array().unwrap();
    assert!(probes.iter().any(|probe| probe["probe"] == "profile cpu"), "{probes:#?}");
    let html = fs::read_to_string(world.path("run/report.html")).unwrap();
    assert!(html.contains("What changed from before it to with it"));
    assert!(html.contains(">second_work (") && !html.contains("<script"));
}

/// A thread that sleeps all along has slept as long as the phase was, no longer.
fn the_sleep_of_the_phase_is_in_it(world: &World, off_cpu: &Value) {
    assert_eq!(off_cpu["kind"], "off-cpu", "{off_cpu:#}");
    let told = &off_cpu["phases"][0];
    assert_eq!((&told["phase"], &told["seconds"]), (&"with it".into(), &4.0.into()), "{off_cpu:#}");
    let profile = world.profile(told["file"].as_str().unwrap());
    let (_, slept_ns) = sums(&profile, 1, "sleeping");
    assert!((3_000_000_000..=4_000_000_000).contains(&slept_ns), "{slept_ns}");
}

/// It is sampled: four standard errors of some thirty samples are two thirds of it.
fn the_memory_of_the_phase_is_in_it(world: &World, allocs: &Value) {
    assert_eq!(allocs["kind"], "allocs", "{allocs:#}");
    if allocs["missing"][0]["why"].as_str().is_some_and(|why| why.contains("6.13")) {
        eprintln!("skipped: allocations need Linux 6.13");
        return;
    }
    let profile = world.profile(allocs["phases"][0]["file"].as_str().unwrap());
    assert_eq!(profile.default_type, "alloc_space");
    let index = profile.type_index(None).unwrap();
    let (all, in_thread) = sums(&profile, index, "sleeping");
    assert_eq!(all, in_thread, "nothing else allocates");
    // In four seconds up to 400 times 10 000 bytes; on a busy machine its sleeps take longer.
    assert!((1_000_000..=9_000_000).contains(&all), "{all}");
}

/// Nothing outlives a run that is killed, and what it has left can be reported on.
#[test]
fn a_run_that_is_killed_says_which_profiles_it_took_along() {
    if skipped() {
        return;
    }
    let world = World::new(&Torn::out());
    let mut child = world.command(&world.experiment("cpu")).spawn().unwrap();
    world.phase_begins("with it");
    child.kill().unwrap();
    child.wait().unwrap();
    let out = Command::new(temblor()).arg("report").arg(world.path("run")).output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    let cpu = &result(&world.path("run"))["profiles"][0];
    let missing = &cpu["missing"][0];
    assert_eq!(missing["phases"], serde_json::json!(["before it", "with it", "after it"]));
    assert_eq!(missing["why"], "the run was cut off before it was written");
    assert_eq!(fs::read_dir(world.path("run/profiles")).unwrap().count(), 0, "no half a file");
}

/// Refuses perf_event_open to the calling process and to whatever it starts, as containers do.
fn without_perf_events() -> std::io::Result<()> {
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let filter = |code: u16, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = libc::SYS_perf_event_open as u32;
    let program = [
        // The call's number stands first in what the filter is given.
        filter((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        filter((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, number),
        filter(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
        filter(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let told = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program is there for the call, which copies it.
    let refused =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const told) };
    if refused == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn a_run_goes_on_where_the_kernel_refuses_to_sample_and_says_so() {
    if skipped() {
        return;
    }
    let world = World::new(&Torn::out());
    let mut command = world.command(&world.experiment("cpu"));
    // SAFETY: one system call, on memory of the function's own.
    unsafe { command.pre_exec(without_perf_events) };
    let out = command.output().unwrap();
    let result = verdict_of(&world, &out);
    let told = said(&out);
    assert!(told.contains("no cpu profile: the kernel refuses"), "{told}");

    let cpu = &result["profiles"][0];
    assert_eq!(cpu["phases"], Value::Array(Vec::new()), "{cpu:#}");
    let missing = &cpu["missing"][0];
    assert_eq!(missing["phases"], serde_json::json!(["before it", "with it", "after it"]));
    let why = missing["why"].as_str().unwrap();
    assert!(why.contains("perf_event_open") && why.contains("seccomp"), "{why}");
    assert_eq!(fs::read_dir(world.path("run/profiles")).unwrap().count(), 0, "no empty file");
    let markdown = fs::read_to_string(world.path("run/report.md")).unwrap().replace('\\', "");
    assert!(
        markdown
            .contains(&format!("There is no cpu profile of before it, with it, after it: {why}"))
    );
}
