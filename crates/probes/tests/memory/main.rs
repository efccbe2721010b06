//! The memory probe against a real kernel: what programs of our own do with memory, held against
//! what the kernel counts of them elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod limits;
#[path = "../common/near.rs"]
mod near;

use std::io::Write as _;
use std::path::Path;

use temblor_event::{Body, Distribution, Event, ProbeWindow, Reading};
use temblor_probes::Probe as _;
use temblor_probes::memory::MemoryProbe;

use crate::common::{Child, Watch, possible, target};
use crate::near::near;

/// All windows of one target's put together.
pub(crate) fn together(events: &[Event], service: &str) -> ProbeWindow {
    let mut sum = ProbeWindow::new("memory", service, 0);
    for event in events {
        if let Body::ProbeWindow(window) = &event.body
            && window.service == service
        {
            sum.merge(window);
        }
    }
    sum
}

fn reading<'a>(of: &'a ProbeWindow, name: &str, label: &str) -> Option<&'a Reading> {
    let is_wanted = |value: &String| value == label;
    let mut wanted = of.measures.iter().filter(|one| one.name == name);
    wanted.find(|one| one.labels.values().all(is_wanted)).map(|one| &one.reading)
}

/// A figure that is one number; `label` is the only label's value, if it has one.
pub(crate) fn told(of: &ProbeWindow, name: &str, label: &str) -> u64 {
    match reading(of, name, label) {
        Some(Reading::Count(n) | Reading::Level(n)) => *n,
        Some(other) => panic!("{other:?}"),
        None => 0,
    }
}

pub(crate) fn values(of: &ProbeWindow, name: &str, label: &str) -> Distribution {
    match reading(of, name, label) {
        Some(Reading::Distribution(values)) => values.clone(),
        other => panic!("{other:?}: {of:#?}"),
    }
}

/// A file on a disk, of which the kernel has no unwritten part.
pub(crate) fn file(bytes: usize) -> tempfile::NamedTempFile {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const IN_MEMORY: i64 = 0x0102_1994;
    let temporary = std::env::temp_dir();
    let is_in_memory = rustix::fs::statfs(&temporary).unwrap().f_type == IN_MEMORY;
    let dir =
        if is_in_memory { Path::new(env!("CARGO_TARGET_TMPDIR")) } else { temporary.as_path() };
    let mut file = tempfile::NamedTempFile::new_in(dir).unwrap();
    let piece = vec![7; 1 << 20];
    (0..bytes / piece.len()).for_each(|_| file.write_all(&piece).unwrap());
    file.as_file().sync_all().unwrap();
    file
}

#[test]
fn minor_faults_are_those_that_the_kernel_counts() {
    if !possible() {
        return;
    }
    let (mut child, mut stranger) = (Child::start(), Child::start());
    child.ask("touch 5000");
    let watch = Watch::start(&[target("toucher", &[child.pid()])], MemoryProbe::attach);
    let before = child.account();
    child.ask("touch 50000");
    // A window may end in between.
    child.ask("touch 30000");
    stranger.ask("touch 70000");
    let after = child.account();
    let (events, lost) = watch.stop();
    let told = told(&together(&events, "toucher"), "page_faults", "minor");
    let truth = after.minor - before.minor;
    assert!(truth >= 80_000, "{truth}");
    // To read the account takes a few itself.
    assert!(near(told, truth, 0.001, 8), "told {told}, kernel {truth}");
    assert_eq!(lost, 0);
}

#[test]
fn major_faults_are_told_apart() {
    if !possible() {
        return;
    }
    let file = file(16 << 20);
    let mut child = Child::start();
    let watch = Watch::start(&[target("reader", &[child.pid()])], MemoryProbe::attach);
    let before = child.account();
    child.ask(&format!("major {}", file.path().display()));
    let after = child.account();
    let (events, _) = watch.stop();
    let told = told(&together(&events, "reader"), "page_faults", "major");
    let truth = after.major - before.major;
    assert!(truth >= 100, "{truth}");
    assert_eq!(told, truth);
}

#[test]
fn a_process_that_lived_between_two_readings_is_counted() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("family", &[child.pid()])], MemoryProbe::attach);
    let before = child.account();
    child.ask("brief 40 1000 20");
    let after = child.account();
    let (events, lost) = watch.stop();
    let told = told(&together(&events, "family"), "page_faults", "minor");
    let childrens = after.childrens_minor - before.childrens_minor;
    let truth = after.minor - before.minor + childrens;
    assert!(childrens >= 40_000, "{childrens}");
    assert!(near(told, truth, 0.001, 8), "told {told}, kernel {truth}, children's {childrens}");
    assert_eq!(lost, 0);
}

#[test]
fn resident_memory_is_what_the_kernel_shows_and_its_growth_is_told() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let mut unseen = Vec::new();
    let watch = Watch::start(&[target("holder", &[child.pid()])], |roster| {
        let probe = MemoryProbe::attach(roster)?;
        unseen = probe.status().unseen;
        Ok(probe)
    });
    child.ask("hold 20000 10000");
    // Longer than a window: a child that has its parent's memory has none of its own.
    child.ask("share 1500");
    let page = rustix::param::page_size() as u64;
    let is_full =
        |events: &[Event]| told(&together(events, "holder"), "resident", "shmem") >= 10_000 * page;
    watch.until("all of it", is_full);
    let truth = [
        ("anon", child.status("RssAnon")),
        ("file", child.resident_file()),
        ("shmem", child.status("RssShmem")),
    ];
    let (events, _) = watch.stop();
    let sum = together(&events, "holder");
    for (kind, truth) in truth {
        let told = told(&sum, "resident", kind);
        // Some kernels show what they know without adding up all processors.
        assert!(near(told, truth, 0.01, 64 * page), "{kind}: told {told}, kernel {truth}");
    }
    for (kind, pages) in [("anon", 20_000), ("shmem", 10_000)] {
        let grown = told(&sum, "resident_growth", kind);
        assert!(near(grown, pages * page, 0.01, 64 * page), "{kind}: {grown}");
    }
    assert!(!unseen.iter().any(|what| what.starts_with("resident")), "{unseen:?}");
    assert!(unseen.iter().any(|what| what.contains("holder: it is known by its processes")));
}
