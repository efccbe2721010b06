//! File syncs of known number, held against the child's own clock.

use temblor_probes::Probe as _;
use temblor_probes::block::BlockProbe;

use crate::common::{Child, Watch, possible, target};
use crate::near;
use crate::world::{Dir, together, values};

/// What ext4 calls itself.
const EXT4: i64 = 0xef53;

#[test]
fn each_sync_is_counted_with_the_time_that_its_caller_waited() {
    if !possible() {
        return;
    }
    let dir = Dir::create("syncs");
    if rustix::fs::statfs(&dir.0).unwrap().f_type != EXT4 {
        eprintln!("skipped: {} is not on ext4", dir.0.display());
        return;
    }
    let (mut child, mut other) = (Child::start(), Child::start());
    let mut unseen = Vec::new();
    let watch = Watch::start(&[target("db", &[child.pid()])], |roster| {
        BlockProbe::attach(roster).inspect(|probe| unseen = probe.status().unseen)
    });
    if let Some(why) = unseen.iter().find(|why| why.contains("no tracepoint")) {
        eprintln!("skipped: {why}");
        return;
    }
    let file = |name: &str| dir.0.join(name).display().to_string();
    other.begin(&format!("sync fsync {} 20", file("other")));
    let took = [
        ("fsync", 40, child.took(&format!("sync fsync {} 40", file("a")))),
        ("fdatasync", 60, child.took(&format!("sync fdatasync {} 60", file("b")))),
    ];
    other.end();
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let told = together(&events);
    for (call, times, took) in took {
        let time = values(&told["db"], "sync_latency", &[call]);
        assert_eq!(time.samples(), times, "{call}");
        assert!(time.sum <= took, "{call}: {} of {took} ns", time.sum);
        assert!(near(time.sum, took, 0.05), "{call}: told {}, its own clock {took}", time.sum);
    }
}
