//! What the Firefox Profiler is given, and the picture in the order of time.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use serde_json::Value;
use temblor_profile::{
    Builder, CallTree, Error, Label, LabelValue, Profile, SvgOptions, ValueType, chart_svg,
    firefox, folded,
};

/// Stacks of threads, with what they weigh in nanoseconds and when they were seen.
fn of(samples: &[(&str, i64, &str, i64, Option<i64>)]) -> Profile {
    let mut builder = Builder::new(vec![ValueType::new("cpu", "nanoseconds")]);
    for (thread, pid, stack, weight, time_ns) in samples {
        let stack = stack.rsplit(';').map(|name| builder.named(name)).collect();
        let label = |key: &str, value| Label { key: key.to_owned(), value };
        let mut labels = vec![
            label("pid", LabelValue::Figure(*pid, String::new())),
            label("thread", LabelValue::Text((*thread).to_owned())),
        ];
        if let Some(time_ns) = time_ns {
            labels.push(label("time", LabelValue::Figure(*time_ns, "nanoseconds".to_owned())));
        }
        builder.sample(stack, &[*weight], labels);
    }
    let about = builder.about();
    about.period = 10_000_000;
    about.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    builder.finish()
}

/// When a sample was seen, in milliseconds, what it weighs, and its leaf.
type Told = (f64, i64, String);

/// Each thread: whose it is, its name, and its samples.
fn threads(file: &[u8]) -> Vec<(String, String, Vec<Told>)> {
    let file: Value = serde_json::from_slice(file).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let threads = file["threads"].as_array().unwrap().iter().map(|thread| {
        let samples = &thread["samples"];
        let mut time = 0.0;
        let told = (0..samples["length"].as_u64().unwrap() as usize).map(|at| {
            time += samples["timeDeltas"][at].as_f64().unwrap();
            let stack = samples["stack"][at].as_u64().unwrap() as usize;
            let frame = thread["stackTable"]["frame"][stack].as_u64().unwrap() as usize;
            let func = thread["frameTable"]["func"][frame].as_u64().unwrap() as usize;
            let name = thread["funcTable"]["name"][func].as_u64().unwrap() as usize;
            let strings = [&thread["stringArray"], &file["shared"]["stringArray"]];
            let strings = strings.into_iter().find(|strings| strings.is_array()).unwrap();
            (time, samples["weight"][at].as_i64().unwrap(), text(&strings[name]))
        });
        (text(&thread["pid"]), text(&thread["name"]), told.collect())
    });
    threads.collect()
}

fn sample(time_ms: f64, weight: i64, leaf: &str) -> Told {
    (time_ms, weight, leaf.to_owned())
}

#[test]
fn threads_have_their_samples_when_they_were() {
    let period = 10_000_000;
    let profile = of(&[
        ("worker", 7, "main;late", period, Some(50_000_000)),
        ("worker", 7, "main;early", 2 * period, Some(20_000_000)),
        ("other", 7, "main", period, Some(30_000_000)),
        ("worker", 8, "main", period, Some(0)),
    ]);
    let told = threads(&firefox::write(&profile, None, "mine").unwrap());
    let mut names: Vec<(&str, &str)> =
        told.iter().map(|(pid, name, _)| (pid.as_str(), name.as_str())).collect();
    names.sort_unstable();
    assert_eq!(names, [("7", "other"), ("7", "worker"), ("8", "worker")]);
    let worker = told.iter().find(|(pid, name, _)| pid == "7" && name == "worker").unwrap();
    assert_eq!(worker.2, [sample(20.0, 2, "early"), sample(50.0, 1, "late")]);
}

#[test]
fn without_times_samples_stand_one_after_the_other() {
    let period = 10_000_000;
    let profile = of(&[
        ("t", 1, "main;a", 3 * period, None),
        ("t", 1, "main;b", period, None),
        ("t", 1, "c", -5, None),
    ]);
    let told = threads(&firefox::write(&profile, None, "mine").unwrap());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].2, [sample(0.0, 3, "a"), sample(30.0, 1, "b")]);
}

#[test]
fn what_is_far_too_much_is_no_trouble() {
    let profile =
        of(&[("t", -1, "a", i64::MAX, Some(i64::MAX)), ("t", i64::MAX, "b", 1, Some(i64::MIN))]);
    let told = threads(&firefox::write(&profile, None, "mine").unwrap());
    assert_eq!(told.len(), 2);
    let space = folded::read(b"a 9223372036854775807\nb 3\n", ValueType::new("space", "bytes"));
    let told = threads(&firefox::write(&space.unwrap(), None, "mine").unwrap());
    let weights: Vec<i64> = told[0].2.iter().map(|sample| sample.1).collect();
    assert_eq!(weights, [i64::from(i32::MAX), 3]);
}

#[test]
fn a_chart_is_drawn_in_the_order_of_time() {
    let second = 1_000_000_000;
    let profile = of(&[
        ("t", 1, "main;zebra", 1, Some(0)),
        ("t", 1, "main;ant", 1, Some(second)),
        ("t", 1, "main;zebra", 1, Some(9 * second)),
    ]);
    let drawn = chart_svg(&CallTree::of(&profile), 0, &SvgOptions::default()).unwrap();
    let drawn = String::from_utf8(drawn).unwrap();
    let titles: Vec<&str> = drawn
        .split("<title>")
        .skip(1)
        .filter_map(|rest| rest.split(" (").next())
        .filter(|title| !title.starts_with("all") && !title.starts_with("main"))
        .collect();
    let [ants, nothings] = ["ant", "[nothing was seen]"]
        .map(|name| titles.iter().filter(|title| **title == name).count());
    let zebras = titles.iter().filter(|title| **title == "zebra").count();
    assert_eq!((zebras, ants, nothings), (2, 1, 1), "they are not added up: {titles:?}");
    let untimed = CallTree::of(&of(&[("t", 1, "main", 1, None)]));
    assert!(matches!(chart_svg(&untimed, 0, &SvgOptions::default()), Err(Error::Untimed)));
}
