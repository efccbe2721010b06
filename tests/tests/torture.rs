//! No way of dying leaves a fault behind: the instrument is killed at random moments, and the
//! whole state of the world is held against what it was.
//!
//! `make torture` does a thousand rounds and more; `TORTURE_ROUNDS` and `TORTURE_SEED` say how
//! many and which. `TORTURE_FAULTS` names the faults, such as `cpu.quota,disk.fill`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail where they stand, and this one has figures to tell"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use temblor_tests::torture::{
    Calibrated, FAULTS, Moment, State, Torn, Tortured, Victim, World, abandon, act_as_target,
    calibrate, difference, round,
};
use temblor_tests::{said, skipped};

/// In `make test`: a minute's worth.
const ROUNDS: usize = 40;
/// The promise is two seconds.
const HEALS_WITHIN: Duration = Duration::from_secs(2);
/// Several of these run at a time in `make test`, on a machine with two processors.
const HEALS_WITHIN_CROWDED: Duration = Duration::from_secs(10);
/// A world is made anew after so many rounds.
const ROUNDS_A_WORLD: usize = 25;

const MOMENTS: [Moment; 3] = [Moment::Apply, Moment::Hold, Moment::Revert];
const VICTIMS: [Victim; 3] = [Victim::Runner, Victim::Guardian, Victim::Both];

/// Not a test of its own: the world's processes are this program again.
#[test]
fn as_target() {
    act_as_target();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The faults that are possible here, each with how long it takes.
fn possible(torn: &Torn) -> Vec<(&'static Tortured, Calibrated)> {
    let only = std::env::var("TORTURE_FAULTS").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|o| o == name));
    let world = World::new(torn, "as_target");
    let before = world.state();
    let mut possible = Vec::new();
    for fault in FAULTS.iter().filter(|fault| wanted(fault.name)) {
        match calibrate(&world, fault, &before) {
            Ok((takes, _)) => possible.push((fault, takes)),
            Err(out) => println!("not tortured: {}: {}", fault.name, said(&out).trim()),
        }
    }
    possible
}

#[test]
fn no_way_of_dying_leaves_a_fault_behind() {
    if skipped() {
        return;
    }
    let rounds = number("TORTURE_ROUNDS").map_or(ROUNDS, |n| usize::try_from(n).unwrap());
    let seed = number("TORTURE_SEED").unwrap_or(1000);
    let bound = if rounds > ROUNDS { HEALS_WITHIN } else { HEALS_WITHIN_CROWDED };
    println!("torture: {rounds} rounds, seed {seed}");
    // A thread of its own, because it leaves the mounts that the other tests see.
    let tortured = std::thread::spawn(move || torture(rounds, seed, bound));
    let (kills, slowest_ms, leaks) =
        tortured.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("{:<24} {:>6} {:>6} {:>6}", "killed while", "apply", "hold", "revert");
    let mut all = 0;
    for (name, counts) in &kills {
        println!("{name:<24} {:>6} {:>6} {:>6}", counts[0], counts[1], counts[2]);
        all += counts.iter().sum::<usize>();
    }
    println!(
        "{all} kills in {rounds} rounds, seed {seed}; healed within {slowest_ms} ms; {} leaks",
        leaks.len()
    );
    assert!(kills.len() >= 5 || std::env::var_os("TORTURE_FAULTS").is_some(), "{kills:?}");
    assert!(leaks.is_empty(), "{}", leaks.join("\n\n"));
}

type Kills = BTreeMap<&'static str, [usize; 3]>;

fn torture(rounds: usize, seed: u64, bound: Duration) -> (Kills, u64, Vec<String>) {
    let torn = Torn::out();
    let mut random = StdRng::seed_from_u64(seed);
    let faults = possible(&torn);
    assert!(!faults.is_empty(), "none of the faults is possible here");
    let unseen: Vec<&str> =
        faults.iter().filter(|(_, takes)| !takes.visible).map(|(fault, _)| fault.name).collect();
    if !unseen.is_empty() {
        println!("in place, these cannot be seen in the state: {}", unseen.join(", "));
    }
    let mut kills = Kills::new();
    let mut leaks = Vec::new();
    let mut slowest_ms = 0;
    let mut world: Option<(World, State)> = None;
    for n in 0..rounds {
        if n % ROUNDS_A_WORLD == 0 || world.is_none() {
            drop(world.take());
            let new = World::new(&torn, "as_target");
            let before = new.state();
            world = Some((new, before));
        }
        let (here, before) = world.as_ref().unwrap();
        let (which, turn) = (n % faults.len(), n / faults.len());
        let (fault, takes) = faults[which];
        // Every fault meets every victim at every moment, in turn; those of one turn differ.
        let (moment, victim) = (MOMENTS[(turn + which) % 3], VICTIMS[(turn / 3 + which / 3) % 3]);
        let done = round(here, fault, takes, (moment, victim), before, bound, &mut random);
        let counts = kills.entry(fault.name).or_default();
        counts[moment as usize] += done.killed.len();
        if done.left.is_empty() {
            slowest_ms = slowest_ms.max(done.healed_ms);
        } else {
            leaks.push(format!(
                "round {n}, {}: {} killed at {moment:?}, not as before:\n{}",
                fault.name,
                done.killed.join(" and "),
                done.left
            ));
            println!("{}", leaks.last().unwrap());
            world = None;
        }
        if (n + 1) % 100 == 0 {
            println!("{} rounds, {} leaks", n + 1, leaks.len());
        }
    }
    (kills, slowest_ms, leaks)
}

/// An instrument whose guardian and `heal` did nothing would be found out.
#[test]
fn a_fault_that_nobody_undoes_is_seen_until_heal_does() {
    if skipped() {
        return;
    }
    let seen = std::thread::spawn(|| {
        let world = World::new(&Torn::out(), "as_target");
        let before = world.state();
        for name in ["process.pause", "resource.files"] {
            let fault = FAULTS.iter().find(|fault| fault.name == name).unwrap();
            let (abandoned, healed) = abandon(&world, fault, &before);
            let journal_only = abandoned.lines().all(|line| line.contains("/undo/"));
            assert!(!abandoned.is_empty() && !journal_only, "{name}: {abandoned}");
            assert_eq!(healed, "", "{name}");
        }
    });
    seen.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// What is left on purpose is seen: a comparison that sees nothing would prove nothing.
#[test]
fn a_leak_of_any_kind_is_seen() {
    if skipped() {
        return;
    }
    let seen = std::thread::spawn(|| {
        let world = World::new(&Torn::out(), "as_target");
        let before = world.state();
        assert_eq!(difference(&before, &world.state()), "", "two looks at the same");
        let pid = world.pids()[0];
        let group = world.group();
        let quota = group.control_file(&["cpu.cfs_quota_us", "cpu.max"]).unwrap();
        let memory = group.control_file(&["memory.limit_in_bytes", "memory.max"]).unwrap();
        let (quota, memory) = (quota.display(), memory.display());
        let dir = world.dir().display();
        let held = std::fs::read_to_string(quota.to_string()).unwrap();
        let unlimited = if held.starts_with('m') { "max" } else { "-1" };
        for (what, leak, undo) in [
            (
                "a table",
                format!("nsenter -n -t {pid} nft add table inet x"),
                format!("nsenter -n -t {pid} nft delete table inet x"),
            ),
            (
                "a qdisc",
                format!(
                    "nsenter -n -t {pid} tc qdisc add dev e0 root tbf rate 1mbit burst 9k latency 1s"
                ),
                format!("nsenter -n -t {pid} tc qdisc del dev e0 root"),
            ),
            (
                "a link",
                format!("nsenter -n -t {pid} ip link add x type veth peer name y"),
                format!("nsenter -n -t {pid} ip link del x"),
            ),
            ("a quota", format!("echo 50000 > {quota}"), format!("echo {unlimited} > {quota}")),
            (
                "a limit",
                format!("cat {memory} > {dir}/kept; echo 256M > {memory}"),
                format!(
                    "(grep -q max {dir}/kept && echo max || echo -1) > {memory}; rm {dir}/kept"
                ),
            ),
            ("a stopped process", format!("kill -STOP {pid}"), format!("kill -CONT {pid}")),
            ("a file", format!("touch {dir}/disk/x"), format!("rm {dir}/disk/x")),
            ("a mount", format!("mount -t tmpfs x {dir}/files"), format!("umount {dir}/files")),
            (
                "a limit of files",
                format!(
                    "prlimit --pid {pid} --nofile > /dev/null; prlimit --pid {pid} --nofile=99:"
                ),
                format!("prlimit --pid {pid} --nofile=1024:"),
            ),
        ] {
            let run = |script: &str| {
                let out = std::process::Command::new("sh").args(["-ec", script]).output().unwrap();
                assert!(out.status.success(), "{what}: {}", said(&out));
            };
            run(&leak);
            let seen = temblor_tests::wait_for(what, Duration::from_secs(10), || {
                let difference = difference(&before, &world.state());
                (!difference.is_empty()).then_some(difference)
            });
            run(&undo);
            if what != "a limit of files" {
                let left = temblor_tests::wait_for(what, Duration::from_secs(10), || {
                    (world.state() == before).then(String::new)
                });
                assert_eq!(left, "", "{what} was seen as {seen}");
            }
        }
    });
    seen.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
