//! Waits: of any kind, and for locks.

use temblor_event::clock::now_ns;
use temblor_host::target::Target;
use temblor_profile::{LabelValue, Profile, Sample};
use temblor_profiler::{Collected, Settings, Wanted, collect};

use crate::common::{Program, names, possible};

const LENGTH_NS: u64 = 2_000_000_000;

fn collected(target: Target, settings: &Settings) -> Collected {
    let mut end_ns = None;
    let enough = || now_ns() >= *end_ns.get_or_insert(now_ns() + LENGTH_NS);
    collect(&[target], settings, enough).unwrap()
}

/// Nanoseconds that were waited in stacks that are so.
fn waited_ns(profile: &Profile, is_so: impl Fn(&Sample, &[String]) -> bool) -> f64 {
    let mut sum = 0;
    for sample in &profile.samples {
        if is_so(sample, &names(profile, sample)) {
            sum += sample.values[1];
        }
    }
    as_float(sum)
}

#[expect(clippy::cast_precision_loss, reason = "some seconds, of which hundredths matter")]
fn as_float(value: i64) -> f64 {
    value as f64
}

fn has(names: &[String], of: &str) -> bool {
    names.iter().any(|name| name == of)
}

fn label<'of>(sample: &'of Sample, key: &str) -> Option<&'of str> {
    let of = sample.labels.iter().find(|label| label.key == key)?;
    match &of.value {
        LabelValue::Text(text) => Some(text),
        LabelValue::Figure(..) => None,
    }
}

/// Whether all that was told of is what was counted apart from it, within 2 %.
#[track_caller]
fn adds_up(Collected { profile, account }: &Collected) {
    let told = waited_ns(profile, |_, _| true);
    let counted = as_float(account.waits.unwrap().sum_ns.cast_signed());
    assert!((told / counted - 1.0).abs() < 0.02, "{told} of {counted}: {account:?}");
    assert_eq!(account.lost, 0, "{account:?}");
}

#[test]
fn each_wait_is_told_with_its_whole_stack_and_its_length() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["waits"]);
    let collected = collected(running.target(), &Settings::of(Wanted::OffCpu));
    let Collected { profile, account } = &collected;
    adds_up(&collected);
    let took = as_float(i64::try_from(account.took.as_nanos()).unwrap());
    // A thread that does nothing but wait, with a wait that began before us and does not end.
    let forever = waited_ns(profile, |_, names| has(names, "forever") && !has(names, "main"));
    assert!((forever / took - 1.0).abs() < 0.02, "{forever} of {took}");
    // One that sleeps for 30 and for 10 milliseconds in turn; the last pair may be cut off.
    let long = waited_ns(profile, |_, names| has(names, "nap_long"));
    let short = waited_ns(profile, |_, names| has(names, "nap_short"));
    // It has to come to a processor in between.
    let share = (long + short) / took;
    assert!(share > 0.9 && share < 1.02, "{long} and {short} of {took}");
    let times = |of: &str| {
        let stacks = profile.samples.iter().filter(|sample| has(&names(profile, sample), of));
        as_float(stacks.map(|sample| sample.values[0]).sum())
    };
    let (longs, shorts) = (times("nap_long"), times("nap_short"));
    assert!((longs - shorts).abs() <= 2.0, "{longs} and {shorts}");
    // No sleep is shorter than was asked for, but the one that was under way in the beginning and the
    // one in the end; what is waited for a processor comes on top.
    assert!(long >= (longs - 2.0) * 30e6 && short >= (shorts - 2.0) * 10e6, "{long} and {short}");
    assert!(long - short > 10e6 * longs, "{long} and {short}, {longs} times each");
    for sample in &profile.samples {
        let names = names(profile, sample);
        let root = names.last().unwrap();
        assert!(root == "_start" || root == "clone3", "{names:?}");
        // Neither our own programs nor the kernel's way to them.
        assert!(!names.iter().any(|name| name.contains("bpf") || name == "schedule"), "{names:?}");
    }
    assert_eq!(profile.types[1].kind, "waiting");
}

#[test]
fn waits_that_come_too_fast_are_sampled_and_the_sum_stays_right() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["ping-pong"]);
    let collected = collected(running.target(), &Settings::of(Wanted::OffCpu));
    let waits = collected.account.waits.unwrap();
    eprintln!("{waits:?}, {} walked", collected.account.samples);
    assert!(collected.account.samples < waits.count, "none was left out: {waits:?}");
    adds_up(&collected);
    // How many they are is estimated from those that were walked, and counted apart from them.
    let told = as_float(collected.profile.samples.iter().map(|sample| sample.values[0]).sum());
    let counted = as_float(waits.count.cast_signed());
    assert!((told / counted - 1.0).abs() < 0.05, "{told} of {counted}");
    let of = |function| waited_ns(&collected.profile, |_, names| has(names, function));
    let both = of("ping") + of("pong");
    assert!((of("ping") / both - 0.5).abs() < 0.1, "{} and {}", of("ping"), of("pong"));
    // A long one among many short ones may not have been walked, which shows.
    let others = waited_ns(&collected.profile, |_, names| {
        !["main", "ping", "pong"].iter().any(|of| has(names, of))
            && names.last().unwrap() != "[cut off: there were too many to walk each of them]"
    });
    assert!(others / both < 0.01, "{others} besides {both}");
}

#[test]
fn locks_have_their_address_and_who_let_them_go() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["waits"]);
    let settings = Settings { wakers: true, ..Settings::of(Wanted::Lock) };
    let collected = collected(running.target(), &settings);
    adds_up(&collected);
    let profile = &collected.profile;
    // Two threads take turns in holding a lock for five milliseconds, so that one of them waits for it
    // nearly all the time.
    let took = as_float(i64::try_from(collected.account.took.as_nanos()).unwrap());
    let for_lock = waited_ns(profile, |_, names| has(names, "holds"));
    assert!(for_lock / took > 0.8 && for_lock / took < 1.02, "{for_lock} of {took}");
    let woken = waited_ns(profile, |sample, names| {
        let place = |of: &str| names.iter().position(|name| name == of);
        // The waker's root is the leaf; where it let go comes before where the other one waited.
        label(sample, "waker").is_some_and(|waker| waker.starts_with("program ("))
            && names[0] == "program"
            && place("[woken by]").is_some_and(|by| {
                names[..by].iter().any(|name| name.contains("pthread_mutex_unlock"))
                    && names[by..].iter().any(|name| name.contains("pthread_mutex_lock"))
            })
    });
    assert!(woken / for_lock > 0.95, "{woken} of {for_lock}");
    let mut locks: Vec<_> = profile
        .samples
        .iter()
        .filter(|sample| has(&names(profile, sample), "holds"))
        .map(|sample| label(sample, "lock").unwrap())
        .collect();
    locks.dedup();
    assert_eq!(locks.len(), 1, "one lock");
    // Those who sleep wait for no lock.
    assert_eq!(waited_ns(profile, |_, names| has(names, "sleeper")), 0.0);
}

#[test]
fn sleepers_are_woken_by_an_interrupt_and_not_by_whoever_was_interrupted() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["waits"]);
    let settings = Settings { wakers: true, ..Settings::of(Wanted::OffCpu) };
    let collected = collected(running.target(), &settings);
    let slept = waited_ns(&collected.profile, |_, names| has(names, "sleeper"));
    let by = |is_so: &dyn Fn(&str) -> bool| {
        waited_ns(&collected.profile, |sample, names| {
            has(names, "sleeper") && label(sample, "waker").is_some_and(is_so)
        })
    };
    let by_interrupt = by(&|waker| waker == "interrupt");
    let by_others = by(&|waker| waker != "interrupt");
    assert!(by_interrupt / slept > 0.5, "{by_interrupt} of {slept}");
    assert!(by_others / by_interrupt < 0.1, "{by_others} besides {by_interrupt}");
}
