//! What is shown of a profile, held against what was put into it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::io::BufReader;

use proptest::collection::vec;
use proptest::prelude::*;
use temblor_profile::{
    Profile, Shape, SvgOptions, TopOptions, Tree, ValueType, difference, folded, merge, read,
    speedscope, svg, top,
};

fn samples(text: &str) -> Profile {
    folded::read(text.as_bytes(), ValueType::new("samples", "count")).unwrap()
}

const BEFORE: &str = "main;accept 10\nmain;accept;parse 20\nmain;work 70\n";
const AFTER: &str = "main;accept 10\nmain;accept;parse 50\nmain;work 70\n";

#[test]
fn a_sum_has_what_each_of_them_has() {
    let sum = merge(&[samples(BEFORE), samples(AFTER)]).unwrap();
    let told = folded::write(&sum, None).unwrap();
    assert_eq!(told, "main;accept 20\nmain;accept;parse 70\nmain;work 140\n");
}

#[test]
fn a_difference_is_told_as_shares_of_what_was_before() {
    let told = top(&difference(&samples(BEFORE), &samples(AFTER)).unwrap(), &TopOptions::all());
    assert_eq!(
        told.unwrap(),
        "Type: samples\n\
         Showing nodes accounting for 30, 30.00% of 100 total\n      \
               flat  flat%   sum%        cum   cum%\n        \
                 30 30.00% 30.00%         30 30.00%  parse\n         \
                  0     0% 30.00%         30 30.00%  accept\n         \
                  0     0% 30.00%         30 30.00%  main\n"
    );
}

#[test]
fn different_things_are_not_added_up() {
    let other = folded::read(BEFORE.as_bytes(), ValueType::new("cpu", "nanoseconds")).unwrap();
    let told = merge(&[samples(BEFORE), other]).unwrap_err().to_string();
    assert_eq!(told, "the profiles count different things: samples/count and cpu/nanoseconds");
}

#[test]
fn what_is_left_out_is_said() {
    let profile = samples("main;heavy 1000\nmain;light 3\n");
    let told = top(&profile, &TopOptions::default()).unwrap();
    assert!(told.contains("Showing nodes accounting for 1000, 99.70% of 1003 total"), "{told}");
    assert!(told.contains("Dropped 1 node (cum <= 5)"), "{told}");
    let told = top(&profile, &TopOptions { count: Some(1), ..TopOptions::all() }).unwrap();
    assert!(told.contains("Showing top 1 nodes out of 3"), "{told}");
}

#[test]
fn a_type_that_is_not_there_is_told_with_those_that_are() {
    let options = TopOptions { kind: Some("cpu".to_owned()), ..TopOptions::default() };
    let told = top(&samples(BEFORE), &options).unwrap_err().to_string();
    assert_eq!(told, "the profile has no values of type \"cpu\"; it has samples");
}

fn drawn(tree: &Tree, shape: Shape) -> String {
    let options = SvgOptions {
        title: "a & b".to_owned(),
        unit: "samples".to_owned(),
        shape,
        ..Default::default()
    };
    String::from_utf8(svg(tree, &options).unwrap()).unwrap()
}

#[test]
fn a_flamegraph_has_its_frames_with_their_shares() {
    let tree = Tree::of(&samples(BEFORE), None).unwrap();
    let picture = drawn(&tree, Shape::Flame);
    assert!(picture.contains("a &amp; b"), "the title is text");
    for frame in
        ["main (100 samples, 100.00%)", "accept (30 samples, 30.00%)", "parse (20 samples, 20.00%)"]
    {
        assert!(picture.contains(frame), "{frame}");
    }
    assert_ne!(picture, drawn(&tree, Shape::Icicle));
    assert_eq!(picture, drawn(&tree, Shape::Flame), "the same every time");
}

#[test]
fn a_flamegraph_of_a_difference_says_by_how_much() {
    let tree = Tree::difference(&samples(BEFORE), &samples(AFTER), None).unwrap();
    let picture = drawn(&tree, Shape::Flame);
    assert!(picture.contains("parse (50 samples, 38.46%; +23.08%)"), "{picture}");
    assert!(picture.contains("work (70 samples, 53.85%; 0.00%)"), "{picture}");
}

#[test]
fn nothing_is_not_drawn() {
    let told = svg(&Tree::default(), &SvgOptions::default()).unwrap_err().to_string();
    assert_eq!(told, "the profile is empty: it has no samples");
    let profile = folded::read(b"", ValueType::new("delay", "nanoseconds")).unwrap();
    assert!(profile.remedy_if_empty(0).unwrap().contains("runtime.SetBlockProfileRate"));
    assert_eq!(samples(BEFORE).remedy_if_empty(0), None);
}

#[test]
fn names_are_no_commands_of_a_terminal() {
    let told = top(&samples("main;\u{1b}]0;x\u{7} 3\n"), &TopOptions::all()).unwrap();
    assert!(!told.contains(['\u{1b}', '\u{7}']), "{told:?}");
}

#[test]
fn what_perf_prints_is_read() {
    let text = "worker 4242 100.000001:     250000 cpu-clock:\n\
                \t    55d0c0ffee10 parse+0x10 (/usr/bin/worker)\n\
                \t    55d0c0ffee00 main+0x20 (/usr/bin/worker)\n\n\
                worker 4242 100.010001:     250000 cpu-clock:\n\
                \t    55d0c0ffee00 main+0x20 (/usr/bin/worker)\n\n";
    let told = folded::write(&read(text.as_bytes()).unwrap(), None).unwrap();
    // Each sample weighs as many events as lie between two.
    assert_eq!(told, "worker;main 250000\nworker;main;parse 250000\n");
}

#[test]
fn speedscopes_file_has_every_type_and_every_stack() {
    let file: serde_json::Value =
        serde_json::from_str(&speedscope::write(&samples(BEFORE), "before")).unwrap();
    assert_eq!(file["name"], "before");
    let of = &file["profiles"][0];
    assert_eq!(
        (&of["type"], &of["unit"], &of["endValue"]),
        (&"sampled".into(), &"none".into(), &100.into())
    );
    let name = |frame: &serde_json::Value| {
        file["shared"]["frames"][frame.as_u64().unwrap() as usize]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let stacks = of["samples"].as_array().unwrap().iter().zip(of["weights"].as_array().unwrap());
    let told: Vec<String> = stacks
        .map(|(stack, weight)| {
            let frames: Vec<String> = stack.as_array().unwrap().iter().map(name).collect();
            format!("{} {weight}", frames.join(";"))
        })
        .collect();
    assert_eq!(told.join("\n") + "\n", BEFORE);
}

proptest! {
    /// Read line by line, and by way of a profile.
    #[test]
    fn both_ways_to_a_tree_lead_to_the_same(
        stacks in vec((vec("[ab]{1,2}", 1..6), 1..50_u32), 1..40),
    ) {
        let lines: Vec<String> =
            stacks.iter().map(|(frames, count)| format!("{} {count}", frames.join(";"))).collect();
        let text = lines.join("\n");
        let read = Tree::read_folded(BufReader::with_capacity(16, text.as_bytes())).unwrap();
        let of = Tree::of(&samples(&text), None).unwrap();
        prop_assert_eq!(read.total(), of.total());
        prop_assert_eq!(drawn(&read, Shape::Flame), drawn(&of, Shape::Flame));
    }
}
