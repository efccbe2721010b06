//! A user's own bpftrace scripts beside a real run: what they count is held against what was
//! planted, and whatever can go wrong with them goes wrong here.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use temblor_event::clock::now_ns;
use temblor_tests::torture::Torn;
use temblor_tests::{result, said, skipped, temblor, wait_for};

/// Longer than anything that works takes, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(60);

/// Whether bpftrace is missing; who needs it says how to get it.
fn lacks_bpftrace() -> bool {
    if temblor_host::programs::find("bpftrace").is_some() {
        return false;
    }
    panic!("bpftrace is not installed: `make setup` installs it");
}

/// A process to act on, directories and locks of a test's own.
struct World {
    dir: tempfile::TempDir,
    target: Child,
}

impl World {
    fn new(_torn: &Torn) -> Self {
        let dir = tempfile::Builder::new().prefix("temblor-bt-").tempdir().unwrap();
        // One run at a time is what a machine has; here is a machine of the test's own.
        fs::create_dir_all("/run/temblor").unwrap();
        mount("locks", "/run/temblor", "tmpfs", MountFlags::empty(), None).unwrap();
        let mut target = Command::new("sleep");
        target.arg("600").stdin(Stdio::null());
        // SAFETY: setsid is a system call and nothing else.
        unsafe { target.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        let target = target.spawn().unwrap();
        Self { dir, target }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An experiment with these scripts, each a name and a text, in a folder beside it.
    fn experiment(&self, seconds: [u32; 3], scripts: &[(&str, &str)]) -> PathBuf {
        fs::create_dir_all(self.path("own")).unwrap();
        let mut observe = Vec::new();
        for (name, text) in scripts {
            fs::write(self.path("own").join(name), text).unwrap();
            observe.push(format!("{{bpftrace: own/{name}}}"));
        }
        let [baseline, fault, recovery] = seconds;
        let text = format!(
            "apiVersion: temblor.dev/v1\nkind: Experiment\nmetadata: {{name: own-script}}\n\
             safety: {{allow: [share], share: 100%}}\ntargets: {{a: {{pid: {}}}}}\nphases:\n  \
             - {{name: baseline, for: {baseline}s}}\n  \
             - {{name: fault, for: {fault}s, inject: [{{process.pause: {{target: a}}}}]}}\n  \
             - {{name: recovery, for: {recovery}s}}\nobserve: [{}]\n",
            self.target.id(),
            observe.join(", ")
        );
        let path = self.path("experiment.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(temblor());
        command
            .args(args)
            .env("TEMBLOR_STATE_DIR", self.path("state"))
            .env("TEMBLOR_LAB_RUNTIME_DIR", self.path("lab"))
            .env("TEMBLOR_LAB_DATA_DIR", self.path("lab-data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Paths count from the experiment's file, wherever one is.
            .current_dir("/");
        command
    }

    fn start(&self, experiment: &Path) -> Child {
        let (experiment, run) = (experiment.to_str().unwrap(), self.path("run"));
        self.command(&["run", experiment, "--out", run.to_str().unwrap()]).spawn().unwrap()
    }

    fn run(&self, experiment: &Path) -> Output {
        self.start(experiment).wait_with_output().unwrap()
    }

    fn check(&self, experiment: &Path) -> Output {
        self.command(&["check", experiment.to_str().unwrap()]).output().unwrap()
    }

    /// The run's events so far, those that are whole.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("run/events.ndjson")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for an event of this name of which this is so.
    fn event(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_for(name, BOUND, || self.events().into_iter().find(|e| e["event"] == name && is(e)))
    }

    fn phase(&self, name: &str) -> Value {
        self.event("run.phase", |event| event["phase"] == name && event["starts"] == true)
    }

    /// The process that runs the script.
    fn bpftrace(&self) -> u32 {
        let started = self.event("script.started", |_| true);
        u32::try_from(started["pid"].as_u64().unwrap()).unwrap()
    }

    /// What the script has printed so far: each line with its time in nanoseconds.
    fn printed(&self, script: &str) -> Vec<(u64, String)> {
        let file = self.path("run").join(format!("bpftrace-{script}.txt"));
        let text = String::from_utf8(fs::read(file).unwrap_or_default()).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| {
                let (time, words) = line.split_once(' ').unwrap();
                (time.replace('.', "").parse().unwrap(), words.to_owned())
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.target), Signal::KILL);
        let _ = self.target.wait();
    }
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// The one script of a run, as the result has it.
fn script(world: &World) -> Value {
    result(&world.path("run"))["scripts"][0].clone()
}

/// Runs of a program that nobody else has are counted to the last one, each line stands where it
/// came, and what is kept of the run can be run again.
#[test]
fn a_script_counts_what_was_planted() {
    if skipped() || lacks_bpftrace() {
        return;
    }
    let world = World::new(&Torn::out());
    let name = format!("tmbbt{}", std::process::id());
    let program = world.path(&name);
    fs::copy("/bin/true", &program).unwrap();
    let text = format!(
        "tracepoint:sched:sched_process_exec /comm == \"{name}\"/\n\
         {{ printf(\"ran %d\\n\", pid); @runs[comm] = count(); }}\n"
    );
    let experiment = world.experiment([3, 6, 2], &[("planted.bt", &text)]);
    let out = world.check(&experiment);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));

    let child = world.start(&experiment);
    let mut planted = Vec::new();
    let mut plant = |times: usize| {
        for _ in 0..times {
            let before_ns = now_ns();
            let mut process = Command::new(&program).spawn().unwrap();
            planted.push((before_ns, format!("ran {}", process.id())));
            assert!(process.wait().unwrap().success());
        }
    };
    let pid = world.bpftrace();
    assert!(!is_gone(pid));
    world.phase("baseline");
    plant(7);
    world.event("fault.injected", |_| true);
    plant(20);
    let out = child.wait_with_output().unwrap();
    let told = said(&out);
    assert_eq!(out.status.code(), Some(0), "{told}");
    assert!(is_gone(pid));

    let printed = world.printed("planted");
    let ran: Vec<&(u64, String)> = printed.iter().filter(|(_, l)| l.starts_with("ran ")).collect();
    assert_eq!(ran.len(), planted.len(), "{printed:#?}");
    for ((came_ns, line), (before_ns, expected)) in ran.iter().zip(&planted) {
        assert_eq!(line, expected);
        let late = Duration::from_nanos(came_ns.checked_sub(*before_ns).unwrap());
        assert!(late < Duration::from_secs(5), "{line} came {late:?} after it began");
    }
    assert!(printed.iter().any(|(_, line)| *line == format!("@runs[{name}]: 27")), "{printed:#?}");

    let script = script(&world);
    let ended = &script["ended"];
    assert_eq!((&ended["end"], &ended["status"]), (&"asked".into(), &"exit code 0".into()));
    assert_eq!(ended["lines"].as_u64().unwrap(), printed.len() as u64, "{script:#}");
    let bytes: usize = printed.iter().map(|(_, line)| line.len() + 1).sum();
    assert_eq!(ended["bytes"], bytes, "{script:#}");
    assert_eq!((&ended["lines_cut"], &ended["events_lost"]), (&0.into(), &0.into()));
    assert!(ended["cpu_seconds"].as_f64().unwrap() > 0.0, "it has compiled: {script:#}");
    assert!(ended["memory_bytes_max"].as_u64().unwrap() > 1 << 20, "{script:#}");
    // It runs for everybody's program: the filter is in it.
    assert!(ended["programs"]["runs"].as_u64().unwrap() >= 27, "{script:#}");
    assert!(ended["programs"]["run_ns"].as_u64().unwrap() > 0, "{script:#}");

    // By phase, as the lines' own times and the run's marks say.
    let mark = |phase: &str| world.phase(phase)["t_ns"].as_u64().unwrap();
    let (baseline, fault) = (mark("baseline"), mark("fault"));
    let in_baseline = ran.iter().filter(|(t_ns, _)| (baseline..fault).contains(t_ns)).count();
    let html = fs::read_to_string(world.path("run/report.html")).unwrap();
    assert!(html.contains("User&#x27;s own bpftrace scripts"), "no section");
    assert!(
        html.contains(&format!("planted, phase baseline: {in_baseline} lines")),
        "{in_baseline}"
    );
    assert!(html.contains(&format!("@runs[{name}]: 27")));
    let markdown = fs::read_to_string(world.path("run/report.md")).unwrap();
    assert!(markdown.contains(&format!("@runs[{name}]: 27")), "{markdown}");

    assert_eq!(fs::read_to_string(world.path("run/planted.bt")).unwrap(), text);
    let kept = world.path("run/experiment.yaml");
    let out = world.check(&kept);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(!fs::read_to_string(kept).unwrap().contains("own/planted.bt"));
    what_is_wrong_with_a_script_is_told_before_anything_starts(&world);
}

/// Shares the world of the test above.
fn what_is_wrong_with_a_script_is_told_before_anything_starts(world: &World) {
    fs::remove_dir_all(world.path("run")).unwrap();
    let harm = world.path("harm");
    let unsafe_script = format!("BEGIN {{ system(\"touch {}\"); }}", harm.display());
    // Each with what is to be said of it, and whether it shows without attaching.
    for (text, wanted, compiled) in [
        ("interval:s:1 { @x = cont(); }", "own/bad.bt:1:21-25: ERROR: Unknown function", false),
        ("BEGIN {\n  print(\n}", "own/bad.bt:3:1-2: ERROR: syntax error", false),
        ("tracepoint:sched:sched_swotch { }", "tracepoint not found: sched:sched_swotch", false),
        (
            "tracepoint:sched:sched_switch { @x = args->nobody; }",
            "own/bad.bt:1:38-50: ERROR: Struct/union of type",
            false,
        ),
        (unsafe_script.as_str(), "system() is an unsafe function", false),
        ("uprobe:/bin/sh:there_is_none { @x = count(); }", "No probes to attach", true),
        ("kprobe:there_is_none { @x = count(); }", "own/bad.bt", true),
        ("  \n", "it is empty", false),
    ] {
        let experiment = world.experiment([1, 1, 1], &[("bad.bt", text)]);
        let out = world.run(&experiment);
        let told = said(&out);
        assert_eq!(out.status.code(), Some(2), "{text}: {told}");
        assert!(told.contains(wanted), "{text}: {told}");
        assert!(!told.contains("RLIMIT_MEMLOCK"), "{told}");
        assert!(!world.path("run").exists(), "{text}: {told}");
        let out = world.check(&experiment);
        assert_eq!(out.status.code(), Some(if compiled { 0 } else { 2 }), "{text}: {}", said(&out));
    }
    assert!(!harm.exists(), "a script's command was run");
    let experiment = world.experiment([1, 1, 1], &[("bad.bt", "BEGIN { exit(); }")]);
    fs::remove_file(world.path("own/bad.bt")).unwrap();
    for out in [world.run(&experiment), world.check(&experiment)] {
        let told = said(&out);
        assert_eq!(out.status.code(), Some(2), "{told}");
        assert!(told.contains("own/bad.bt cannot be read: No such file"), "{told}");
    }
    assert!(!world.path("run").exists());
    let open = fs::read_dir(world.path("state")).map_or(0, Iterator::count);
    assert_eq!(open, 0, "nothing was put on record to be undone");

    // The program is there for everybody but this test.
    let program = temblor_host::programs::find("bpftrace").unwrap();
    mount_bind("/dev/null", &program).unwrap();
    let experiment = world.experiment([1, 1, 1], &[("good.bt", "interval:s:1 { @x = count(); }")]);
    let out = world.run(&experiment);
    let told = said(&out);
    assert_eq!(out.status.code(), Some(6), "{told}");
    assert!(told.contains("apt-get install bpftrace") && !world.path("run").exists(), "{told}");
    let out = world.check(&experiment);
    let told = said(&out);
    assert_eq!(out.status.code(), Some(0), "{told}");
    assert!(told.contains("not compiled") && told.contains("good"), "{told}");
}

/// A script that is killed in the middle is told of, and the run's verdict is what it was.
#[test]
fn a_script_that_dies_is_told_of_and_decides_nothing() {
    if skipped() || lacks_bpftrace() {
        return;
    }
    let world = World::new(&Torn::out());
    let experiment = world.experiment(
        [2, 2, 2],
        &[
            ("dies.bt", "BEGIN { printf(\"here\\n\"); } interval:s:3600 { @x = count(); }"),
            ("leaves.bt", "interval:ms:2500 { printf(\"leaving\\n\"); exit(); }"),
        ],
    );
    let child = world.start(&experiment);
    let pid = world.event("script.started", |event| event["script"] == "dies")["pid"].clone();
    world.phase("baseline");
    signal(u32::try_from(pid.as_u64().unwrap()).unwrap(), Signal::KILL);
    let ended = world.event("script.ended", |event| event["script"] == "dies");
    assert_eq!(
        (&ended["end"], &ended["status"]),
        (&"by_itself".into(), &"signal 9 (SIGKILL)".into())
    );
    let out = child.wait_with_output().unwrap();
    let told = said(&out);
    assert_eq!(out.status.code(), Some(0), "{told}");
    assert!(told.contains("the script dies ended by itself: signal 9 (SIGKILL)"), "{told}");
    let result = result(&world.path("run"));
    assert_eq!(result["verdict"], "pass", "{told}");
    let leaves = &result["scripts"][1]["ended"];
    assert_eq!((&leaves["end"], &leaves["status"]), (&"by_itself".into(), &"exit code 0".into()));
    // Nobody was left to be asked what its programs had cost.
    assert_eq!(leaves["programs"], Value::Null);
    assert!(world.printed("leaves").iter().any(|(_, line)| line == "leaving"));
    assert!(world.printed("dies").iter().any(|(_, line)| line == "here"));
    let timeline = result["timeline"].to_string();
    assert!(timeline.contains("the bpftrace script dies ended by itself"), "{timeline}");
    assert!(timeline.contains("the bpftrace script leaves ended by itself"), "{timeline}");
}

/// Of a script that prints without end its first and its last are kept, and the rest is counted.
#[test]
fn a_script_that_prints_too_much_is_cut_and_its_maps_are_kept() {
    if skipped() || lacks_bpftrace() {
        return;
    }
    let world = World::new(&Torn::out());
    let name = format!("tmbbf{}", std::process::id());
    let program = world.path(&name);
    fs::copy(temblor_host::programs::find("dd").unwrap(), &program).unwrap();
    let text = format!(
        "tracepoint:raw_syscalls:sys_enter /comm == \"{name}\"/\n\
         {{ @calls = count(); printf(\"%60000s\\n\", \"x\"); }}\n"
    );
    let child = world.start(&world.experiment([2, 2, 8], &[("flood.bt", &text)]));
    world.phase("baseline");
    let printed = || fs::metadata(world.path("run/bpftrace-flood.txt")).map_or(0, |m| m.len());
    let mut syscalls = 0;
    let mut flood = |blocks: u64| {
        let of = ["if=/dev/zero", "of=/dev/null", "bs=1", "status=none"];
        let count = format!("count={blocks}");
        assert!(Command::new(&program).args(of).arg(count).status().unwrap().success());
        syscalls += 2 * blocks;
    };
    // The beginning is full, and then comes more than the end can hold, whatever bpftrace loses.
    wait_for("a full beginning", BOUND, || {
        flood(50);
        // More only when all of this is read: what waits to be printed at the end, when the script
        // is asked to end, has to be printed within its grace.
        let mut before = u64::MAX;
        while before != printed() {
            before = printed();
            std::thread::park_timeout(Duration::from_millis(200));
        }
        (printed() > 12_000_000).then_some(())
    });
    flood(400);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));

    let ended = script(&world)["ended"].clone();
    let figure = |name: &str| ended[name].as_u64().unwrap();
    assert_eq!(ended["end"], "asked", "{ended:#}");
    assert!(figure("bytes") > 16 << 20 && figure("lines_cut") > 0, "{ended:#}");
    assert!(printed() <= 16 << 20, "{}", printed());
    let kept = world.printed("flood");
    let cut = format!(
        "[temblor: {} lines, {} bytes, are left out here]",
        figure("lines_cut"),
        figure("bytes_cut")
    );
    let marks: Vec<&(u64, String)> = kept.iter().filter(|(_, l)| l.starts_with("[temb")).collect();
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].1, cut);
    assert_eq!(kept.len() as u64 - 1 + figure("lines_cut"), figure("lines"), "{ended:#}");
    let bytes: usize = kept.iter().map(|(_, line)| line.len() + 1).sum();
    let bytes = bytes as u64 - (cut.len() as u64 + 1) + figure("bytes_cut");
    assert_eq!(bytes, figure("bytes"), "{ended:#}");
    assert!(kept.iter().is_sorted_by_key(|(t_ns, _)| t_ns));
    // The map is the last that it prints, and stands against what it printed and what it lost.
    let calls = kept.iter().find_map(|(_, line)| line.strip_prefix("@calls: "));
    let last: Vec<String> =
        kept.iter().rev().take(9).map(|(_, line)| line.chars().take(99).collect()).collect();
    let calls: u64 = calls.unwrap_or_else(|| panic!("{last:?}: {ended:#}")).parse().unwrap();
    assert!(calls >= syscalls, "{calls} of {syscalls}");
    let whole = figure("bytes") / 60_001;
    assert!(whole + figure("events_lost") <= calls, "{whole} of {calls}: {ended:#}");
}

/// However the run ends, its scripts end, too: asked, killed, or with us.
#[test]
fn no_script_outlives_its_run() {
    if skipped() || lacks_bpftrace() {
        return;
    }
    let world = World::new(&Torn::out());
    let forget = || fs::remove_dir_all(world.path("run")).unwrap();
    let text = "BEGIN { printf(\"begun\\n\"); @begun = 1; } interval:s:3600 { exit(); }";
    let experiment = world.experiment([1, 1, 1], &[("own.bt", text)]);
    let long = experiment.with_file_name("long.yaml");
    let yaml = fs::read_to_string(&experiment).unwrap();
    fs::write(&long, yaml.replace("baseline, for: 1s", "baseline, for: 90s")).unwrap();

    // Ctrl-C is ours to pass on.
    let child = world.start(&long);
    let pid = world.bpftrace();
    world.phase("baseline");
    signal(child.id(), Signal::INT);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    assert!(is_gone(pid));
    let ended = script(&world)["ended"].clone();
    assert_eq!((&ended["end"], &ended["status"]), (&"asked".into(), &"exit code 0".into()));
    let printed = world.printed("own");
    assert!(printed.iter().any(|(_, line)| line == "@begun: 1"), "{printed:?}");
    forget();

    // The kernel ends it with us.
    let mut child = world.start(&long);
    let pid = world.bpftrace();
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    wait_for("the script's end", BOUND, || is_gone(pid).then_some(()));
    forget();

    // One that does not listen.
    let child = world.start(&experiment);
    let pid = world.bpftrace();
    signal(pid, Signal::STOP);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(is_gone(pid));
    let ended = script(&world)["ended"].clone();
    let killed = (&"killed".into(), &"signal 9 (SIGKILL)".into());
    assert_eq!((&ended["end"], &ended["status"]), killed, "{ended:#}");
}
