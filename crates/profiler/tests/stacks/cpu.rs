//! Processor time.

use std::io::Write as _;
use std::process::{Command, Stdio};

use temblor_event::clock::now_ns;
use temblor_host::target::Target;
use temblor_profiler::{Collected, End, Error, Settings, Wanted, collect};

use crate::common::{Program, Running, names, possible, share};

/// Enough for a share to be told within a few hundredths.
const RATE_HZ: u32 = 499;
const LENGTH_NS: u64 = 2_000_000_000;

/// Collects for two seconds. Each time that it is asked whether it is enough, something may be done.
fn collected(targets: &[Target], mut step: impl FnMut()) -> Result<Collected, Error> {
    let settings = Settings::of(Wanted::Cpu { rate_hz: RATE_HZ });
    let mut end_ns = None;
    collect(targets, &settings, || {
        step();
        now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS)
    })
}

#[test]
fn stacks_reach_the_root_from_any_depth() {
    if !possible() {
        return;
    }
    let program = Program::build();
    for depth in [10, 30, 100, 300] {
        let running = program.start(&["deep", &depth.to_string()]);
        let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
        assert!(account.samples > 50 && account.lost == 0, "{account:?}");
        let reach = account.ends.get(&End::Root).copied().unwrap_or(0);
        assert!(reach * 100 >= account.samples * 99, "depth {depth}: {account:?}");
        let whole = share(&profile, |names| {
            let deep = names.iter().filter(|name| *name == "deep").count();
            // In the kernel for a moment, or between two calls of it.
            names.iter().any(|name| name == "spin" || name == "deep")
                && deep == depth + 1
                && names.iter().any(|name| name == "main")
                && names.last().is_some_and(|root| root == "_start")
        });
        assert!(whole >= 0.99, "depth {depth}: {whole}");
        let cost = account.cost.net_ns() / account.samples;
        eprintln!("depth {depth}: {} samples, {cost} ns each", account.samples);
    }
}

#[test]
fn deeper_than_is_walked_is_cut_off_and_says_so() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["deep", "600"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    assert!(account.ends[&End::TooDeep] * 100 >= account.samples * 99, "{account:?}");
    let cut = |names: &[String]| names.last().unwrap() == "[cut off: deeper than is walked]";
    assert!(share(&profile, cut) >= 0.99);
}

#[test]
fn shares_are_those_of_the_time() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["shares"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    let heavy = share(&profile, |names| names.iter().any(|name| name == "heavy"));
    // Both functions run at the same speed, one three times as long. Four standard errors, of as many
    // samples as the host left us; and the last round may be cut off after either.
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let error = (0.75 * 0.25 / account.samples as f64).sqrt();
    assert!((heavy - 0.75).abs() < 4.0 * error + 0.03, "{heavy} of {account:?}");
    let hot = share(&profile, |names| names.iter().any(|name| name == "spin"));
    assert!(hot > 0.97, "{hot}");
    assert!(profile.mappings[0].file.ends_with("/program"), "{:?}", profile.mappings);
}

#[test]
fn threads_and_signal_handlers_reach_their_roots() {
    if !possible() {
        return;
    }
    let program = Program::build();
    let running = program.start(&["thread"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    assert!(account.ends[&End::Root] * 100 >= account.samples * 99, "{account:?}");
    let on_thread = share(&profile, |names| names.iter().any(|name| name == "on_thread"));
    assert!(on_thread >= 0.99, "{on_thread}");

    let running = program.start(&["signal"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    assert!(account.ends[&End::Root] * 100 >= account.samples * 99, "{account:?}");
    let through = share(&profile, |names| {
        let place = |of: &str| names.iter().position(|name| name == of);
        // The handler, what was interrupted, and its root.
        place("in_handler").is_some_and(|handler| {
            place("interrupted").is_some_and(|interrupted| interrupted > handler)
        }) && names.last().is_some_and(|root| root == "_start")
    });
    assert!(through >= 0.97, "{through}");
}

#[test]
fn a_process_that_comes_and_goes_has_its_names() {
    if !possible() {
        return;
    }
    let program = Program::build();
    // Its children are the target's: the shell is there from the beginning.
    let script =
        format!("read line; timeout 1 {} deep 5; rm -f {0}; read line", program.path.display());
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let running = Running { child: shell };
    let mut went_on = false;
    let Collected { profile, account } = collected(&[running.target()], || {
        if !std::mem::replace(&mut went_on, true) {
            stdin.write_all(b"\n").unwrap();
        }
    })
    .unwrap();
    let named = share(&profile, |names| names.iter().any(|name| name == "deep" || name == "spin"));
    assert!(named > 0.8, "{named} {account:?}");
}

#[test]
fn copies_of_a_process_are_known_from_their_first_moment() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["copies"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    // One that is ending has no stack any more.
    let of = |end| account.ends.get(&end).copied().unwrap_or(0);
    let reach = of(End::Root) + of(End::NoUser);
    assert!(reach * 100 >= account.samples * 99, "{account:?}");
    let whole = share(&profile, |names| {
        names.iter().any(|name| name == "in_copy" || name == "copies" || name == "main")
            && names.last().is_some_and(|root| root == "_start")
    });
    assert!(whole > 0.93, "{whole} {account:?}");
    let pids = profile.samples.iter().flat_map(|sample| {
        sample.labels.iter().filter(|label| label.key == "pid").map(|label| label.value.clone())
    });
    assert!(pids.collect::<std::collections::HashSet<_>>().len() > 10, "many processes");
}

#[test]
fn a_stripped_programs_functions_are_told_apart() {
    if !possible() {
        return;
    }
    let program = Program::build();
    let stripped = Command::new("strip").arg(&program.path).status().unwrap();
    assert!(stripped.success());
    let running = program.start(&["shares"]);
    let Collected { profile, account } = collected(&[running.target()], || ()).unwrap();
    let reach = account.ends.get(&End::Root).copied().unwrap_or(0);
    assert!(reach * 100 >= account.samples * 99, "{account:?}");
    let mut unnamed: Vec<String> =
        profile.samples.iter().flat_map(|s| names(&profile, s)).collect();
    unnamed.retain(|name| name.starts_with("[program+0x"));
    unnamed.sort();
    unnamed.dedup();
    // spin, light, heavy, main and _start, each by where it begins.
    assert_eq!(unnamed.len(), 5, "{unnamed:?}");
}

#[test]
fn nothing_seen_is_an_error_with_its_cause() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["idle"]);
    let told = collected(&[running.target()], || ()).unwrap_err().to_string();
    assert!(told.contains("nothing of it was on a processor; put load on it"), "{told}");
    let target = running.target();
    drop(running);
    let told = collected(&[target], || ()).unwrap_err().to_string();
    assert!(told.contains("its processes have ended"), "{told}");
}
