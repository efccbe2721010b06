//! Reads and writes of known number and size.

use temblor_event::{Measure, Reading};
use temblor_probes::block::BlockProbe;

use crate::common::{Child, Watch, possible, target};
use crate::world::{Dir, Disk, is_emulated, reading, together, values};

const MACHINE: &str = "the machine";

/// How often the time is held against the kernel's before it counts as wrong: the host may take the
/// processor away between the tracepoint and the kernel's own account, which is nobody's fault.
const ROUNDS: u32 = 5;
const NS_PER_MS: u64 = 1_000_000;

#[test]
fn every_request_is_counted_once_with_its_size_and_time() {
    if !possible() {
        return;
    }
    let Some(disk) = Disk::create("count", 64 << 20) else { return };
    let mut child = Child::start();
    let mut off = Vec::new();
    while u32::try_from(off.len()).unwrap() < ROUNDS {
        match count_once(&disk, &mut child) {
            Ok(()) => return,
            Err(by) => off.push(by),
        }
    }
    panic!("the time is off in each of {ROUNDS} rounds: {off:#?}");
}

/// Says by how much the time is off; whatever else is wrong is a panic.
fn count_once(disk: &Disk, child: &mut Child) -> Result<(), String> {
    let watch = Watch::start(&[target("db", &[child.pid()])], BlockProbe::attach);
    let before = disk.stat();
    let writing = child.took(&format!("write {} 300 4096", disk.path))
        + child.took(&format!("write {} 100 65536", disk.path));
    let reading_took = child.took(&format!("read {} 200 8192", disk.path));
    let after = disk.stat();
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let told = together(&events);
    let mut timely = Ok(());
    for (operation, times, bytes, kernel_ms, clock) in [
        ("write", 400, 300 * 4096 + 100 * 65536, after.writing_ms - before.writing_ms, writing),
        ("read", 200, 200 * 8192, after.reading_ms - before.reading_ms, reading_took),
    ] {
        for service in ["db", MACHINE] {
            let of = |name| values(&told[service], name, &[&disk.name, operation]);
            let (time, wait, size) = (of("io_latency"), of("io_wait"), of("io_size"));
            assert_eq!((time.samples(), size.samples()), (times, times), "{service} {operation}");
            assert_eq!(size.sum, bytes, "{service} {operation}");
            assert_eq!(wait.samples(), times, "{service} {operation}");
            let sum = time.sum + wait.sum;
            let told = format!("{service} {operation}: {sum} ns, kernel {kernel_ms} ms");
            // The kernel counts whole milliseconds, from the request's making to some time after
            // the tracepoint of its end: it may have more, never less.
            assert!(sum <= (kernel_ms + 1) * NS_PER_MS, "{told}");
            // An emulated processor that others use, too, takes long from there to the account.
            let share = if is_emulated() { 2 } else { 20 };
            if sum + kernel_ms * NS_PER_MS / share + 2 * NS_PER_MS < kernel_ms * NS_PER_MS {
                timely = Err(told);
            }
            assert!(sum < clock, "{service} {operation}: {sum} of {clock} ns");
            assert!(time.max >= time.percentile(50) && time.max <= time.sum, "{time:?}");
        }
    }
    assert_eq!(after.writes - before.writes, 400);
    assert_eq!(after.bytes_written - before.bytes_written, 300 * 4096 + 100 * 65536);
    assert_eq!(
        (after.reads - before.reads, after.bytes_read - before.bytes_read),
        (200, 200 * 8192)
    );
    // One after the other.
    let depth = reading(&told["db"], "io_under_way", &[&disk.name]);
    assert_eq!(depth, Some(Reading::Level(1)));
    let errors = reading(&told["db"], "io_errors", &[&disk.name, "write"]);
    assert_eq!(errors, None, "nothing failed");
    timely
}

#[test]
fn what_others_do_on_the_same_disk_is_not_the_targets() {
    if !possible() {
        return;
    }
    let Some(disk) = Disk::create("others", 64 << 20) else { return };
    let (mut child, mut second, mut other) = (Child::start(), Child::start(), Child::start());
    let targets = [target("one", &[child.pid()]), target("two", &[second.pid()])];
    let watch = Watch::start(&targets, BlockProbe::attach);
    child.begin(&format!("write {} 500 4096", disk.path));
    second.begin(&format!("read {} 300 8192", disk.path));
    other.begin(&format!("write {} 700 16384", disk.path));
    for child in [&mut child, &mut second, &mut other] {
        child.end();
    }
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let told = together(&events);
    let counts = |service: &str| {
        ["read", "write"].map(|operation| {
            let size = values(&told[service], "io_size", &[&disk.name, operation]);
            (size.samples(), size.sum)
        })
    };
    assert_eq!(counts("one"), [(0, 0), (500, 500 * 4096)]);
    assert_eq!(counts("two"), [(300, 300 * 8192), (0, 0)]);
    let writes = (500 + 700, 500 * 4096 + 700 * 16384);
    assert_eq!(counts(MACHINE), [(300, 300 * 8192), writes]);
    assert_eq!(counts("the kernel"), [(0, 0); 2]);
}

#[test]
fn a_process_that_is_gone_at_once_has_its_requests() {
    if !possible() {
        return;
    }
    let Some(disk) = Disk::create("brief", 1 << 20) else { return };
    let mut child = Child::start();
    let watch = Watch::start(&[target("db", &[child.pid()])], BlockProbe::attach);
    child.ask(&format!("fork {} 50", disk.path));
    let (events, lost) = watch.stop();
    let told = together(&events);
    let size = values(&told["db"], "io_size", &[&disk.name, "write"]);
    assert_eq!((size.samples(), size.sum, lost), (50, 50 * 4096, 0));
}

#[test]
fn a_flush_is_whose_who_waits_for_it() {
    if !possible() {
        return;
    }
    let Some(disk) = Disk::create("flush", 1 << 20) else { return };
    let (mut child, mut other) = (Child::start(), Child::start());
    let watch = Watch::start(&[target("db", &[child.pid()])], BlockProbe::attach);
    let took = child.took(&format!("sync fdatasync {} 40", disk.path));
    other.ask(&format!("sync fsync {} 30", disk.path));
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let told = together(&events);
    let of = |service: &str| values(&told[service], "io_latency", &[&disk.name, "flush"]);
    assert_eq!((of("db").samples(), of("the kernel").samples()), (40, 0));
    assert!(of("db").sum > 0 && of("db").sum < took, "{} of {took} ns", of("db").sum);
    // They came one after the other, so that none was joined with another.
    assert_eq!(of(MACHINE).samples(), 70);
    assert_eq!(values(&told["db"], "io_size", &[&disk.name, "flush"]).samples(), 0);
    // The block that each had written before, written out by its own fdatasync.
    assert_eq!(values(&told["db"], "io_size", &[&disk.name, "write"]).samples(), 40);
}

#[test]
fn what_a_target_leaves_in_the_cache_is_written_by_the_kernel_and_told_so() {
    if !possible() {
        return;
    }
    let dir = Dir::create("cache");
    let file = dir.0.join("file");
    let mut child = Child::start();
    let watch = Watch::start(&[target("db", &[child.pid()])], BlockProbe::attach);
    child.ask(&format!("buffered {} 1048576", file.display()));
    // The file system has the flusher write what is dirty.
    rustix::fs::syncfs(std::fs::File::open(&file).unwrap()).unwrap();
    let (events, _) = watch.stop();
    let told = together(&events);
    let written = |service: &str| {
        let sizes = told[service].measures.iter().filter(|one| {
            one.name == "io_size" && one.labels.get("operation").is_some_and(|of| of == "write")
        });
        let bytes = |one: &Measure| match &one.reading {
            Reading::Distribution(values) => values.sum,
            other => panic!("{other:?}"),
        };
        sizes.map(bytes).sum::<u64>()
    };
    assert!(written("the kernel") >= 1 << 20, "{}", written("the kernel"));
    assert!(written(MACHINE) >= written("the kernel"));
    assert_eq!(written("db"), 0, "{:?}", told["db"]);
}
