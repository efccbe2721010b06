//! A profile as a tree of calls: weighed as a whole, in a window, and beside another.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use temblor_profile::{
    Builder, CallTree, Columns, Comparison, Error, Label, LabelValue, Profile, ValueType, Window,
    difference, folded, merge,
};

const ALL: usize = usize::MAX;

fn of(folded_stacks: &str) -> CallTree {
    let samples = ValueType::new("samples", "count");
    CallTree::of(&folded::read(folded_stacks.as_bytes(), samples).unwrap())
}

/// Samples of a stack, root first, with what they weigh and when they were taken.
fn timed(samples: &[(&str, i64, i64)]) -> Profile {
    let mut builder = Builder::new(vec![ValueType::new("samples", "count")]);
    for (stack, weight, time_ns) in samples {
        let stack = stack.rsplit(';').map(|name| builder.named(name)).collect();
        let value = LabelValue::Figure(*time_ns, "nanoseconds".into());
        builder.sample(stack, &[*weight], vec![Label { key: "time".into(), value }]);
    }
    builder.finish()
}

/// Each call that weighs something by itself: its stack, and its weight in either profile.
fn written(columns: &Columns<'_>) -> Vec<(String, u64, u64)> {
    let mut stack: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for at in 0..columns.name.len() {
        stack.truncate(usize::from(columns.depth[at]).saturating_sub(1));
        if at > 0 {
            stack.push(&columns.names[columns.name[at] as usize]);
        }
        let base = columns.base.as_ref().map_or(0, |base| base[at]);
        if columns.own[at] > 0 || base > 0 {
            lines.push((stack.join(";"), columns.own[at], base));
        }
    }
    lines
}

fn lines(of: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    of.iter().map(|(stack, own, base)| ((*stack).to_owned(), *own, *base)).collect()
}

#[test]
fn calls_stand_behind_their_callers_in_the_order_of_names() {
    let tree = of("main;work;read 3\nmain;idle 2\nmain;work 5\nother 1\n");
    let columns = tree.columns(0, None, ALL).unwrap();
    let names: Vec<&str> =
        columns.name.iter().map(|name| columns.names[*name as usize].as_str()).collect();
    assert_eq!(names, ["", "main", "idle", "work", "read", "other"]);
    assert_eq!(columns.depth, [0, 1, 2, 2, 3, 1]);
    assert_eq!(columns.own, [0, 0, 2, 5, 3, 1]);
    assert_eq!((columns.base, columns.negative, columns.joined_below), (None, 0, 1));
}

#[test]
fn a_window_has_what_was_taken_in_it() {
    let tree = CallTree::of(&timed(&[("a;b", 1, 0), ("a;b", 2, 10), ("a;c", 4, 20), ("a", 8, 30)]));
    assert!(tree.is_timed());
    for (from_ns, to_ns, expected) in [
        (0, 31, &[("a", 8, 0), ("a;b", 3, 0), ("a;c", 4, 0)][..]),
        (10, 20, &[("a;b", 2, 0)]),
        (20, 30, &[("a;c", 4, 0)]),
        (31, 40, &[]),
        (30, 10, &[]),
        (i64::MIN, i64::MAX, &[("a", 8, 0), ("a;b", 3, 0), ("a;c", 4, 0)]),
    ] {
        let columns = tree.columns(0, Some(Window { from_ns, to_ns }), ALL).unwrap();
        assert_eq!(written(&columns), lines(expected), "{from_ns} to {to_ns}");
    }
}

#[test]
fn a_comparison_has_what_either_has() {
    let (base, new) = (of("main;gone 5\nmain;same 3\n"), of("main;same 4\nmain;come 2\n"));
    let both = Comparison::of(&base, &new);
    let columns = both.columns(&base, &new, 0, ALL).unwrap();
    let expected = [("main;come", 2, 0), ("main;gone", 0, 5), ("main;same", 4, 3)];
    assert_eq!(written(&columns), lines(&expected));
}

#[test]
fn what_does_not_count_the_same_is_not_compared() {
    let bytes = folded::read(b"main 1\n", ValueType::new("space", "bytes")).unwrap();
    let (base, new) = (CallTree::of(&bytes), of("main 1\n"));
    let told = Comparison::of(&base, &new).columns(&base, &new, 0, ALL).unwrap_err();
    let expected = "the profiles count different things: space/bytes and samples/count";
    assert_eq!(told.to_string(), expected);
}

#[test]
fn the_lightest_calls_weigh_for_their_callers_where_there_are_too_many() {
    let tree = of("main;heavy 100\nmain;light;leaf 1\nmain;little 3\n");
    let columns = tree.columns(0, None, 3).unwrap();
    assert_eq!(
        written(&columns),
        lines(&[("main", 1, 0), ("main;heavy", 100, 0), ("main;little", 3, 0)])
    );
    assert_eq!(columns.joined_below, 2);
}

#[test]
fn what_is_too_deep_weighs_for_its_caller() {
    let deep: Vec<String> = (0..10_000).map(|at| format!("f{at}")).collect();
    let stacks = format!("{} 7\n", deep.join(";"));
    for tree in [of(&stacks), CallTree::read_folded(stacks.as_bytes()).unwrap()] {
        let columns = tree.columns(0, None, ALL).unwrap();
        assert_eq!((columns.name.len(), columns.own.last()), (4097, Some(&7)));
    }
}

#[test]
fn what_is_negative_is_told() {
    let mut builder = Builder::new(vec![ValueType::new("space", "bytes")]);
    for (name, value) in [("more", 5), ("less", -3), ("least", i64::MIN)] {
        let stack = vec![builder.named(name)];
        builder.sample(stack, &[value], Vec::new());
    }
    let tree = CallTree::of(&builder.finish());
    let columns = tree.columns(0, None, ALL).unwrap();
    assert_eq!((written(&columns), columns.negative), (lines(&[("more", 5, 0)]), 3 + (1 << 63)));
}

#[test]
fn a_type_that_there_is_not_is_refused() {
    let tree = of("main 1\n");
    assert!(matches!(tree.columns(1, None, ALL), Err(Error::UnknownType { .. })));
    assert!(matches!(tree.heat(usize::MAX), Err(Error::UnknownType { .. })));
}

#[test]
fn heat_is_in_the_cell_of_its_time() {
    let second = 1_000_000_000;
    let mut profile = timed(&[("a", 1, 0), ("a", 2, 20_000_000), ("b", 4, 11 * second - 1)]);
    profile.duration_ns = 12 * second;
    let heat = CallTree::of(&profile).heat(0).unwrap();
    assert_eq!((heat.cell_ns, heat.rows, heat.columns, heat.untimed), (20_000_000, 50, 12, 0));
    let hot: Vec<(usize, u64)> =
        heat.cells.iter().copied().enumerate().filter(|(_, weight)| *weight > 0).collect();
    assert_eq!(hot, [(0, 1), (1, 2), (549, 4)]);
}

#[test]
fn times_before_the_beginning_and_far_away_are_no_trouble() {
    let tree = CallTree::of(&timed(&[("a", 1, i64::MIN), ("a", 2, -1), ("b", 4, i64::MAX)]));
    let heat = tree.heat(0).unwrap();
    assert!(heat.cells.len() <= 600 * 50, "{}", heat.cells.len());
    assert_eq!(heat.cells.iter().sum::<u64>(), 4);
}

#[test]
fn without_times_there_is_no_heat() {
    assert!(matches!(of("main 1\n").heat(0), Err(Error::Untimed)));
}

#[test]
fn times_are_still_right_when_profiles_are_added_up_and_no_difference() {
    let mut early = timed(&[("a", 1, 5)]);
    let mut late = timed(&[("a", 2, 5)]);
    (early.time_ns, late.time_ns) = (1_000, 1_100);
    for profiles in [[&early, &late], [&late, &early]] {
        let sum = merge(profiles).unwrap();
        let mut times: Vec<_> =
            sum.samples.iter().map(|sample| (sample.time_ns(), sample.values[0])).collect();
        times.sort_unstable();
        assert_eq!((sum.time_ns, times), (1_000, vec![(Some(5), 1), (Some(105), 2)]));
    }
    let change = difference(&early, &late).unwrap();
    assert!(change.samples.iter().all(|sample| sample.time_ns().is_none()));
}

proptest! {
    /// Whatever the stacks, each weighs what its samples weigh, and both readers agree.
    #[test]
    fn every_stack_weighs_what_its_samples_do(
        stacks in prop::collection::vec((prop::collection::vec(0..4_u8, 1..6), 1..9_u64), 0..40)
    ) {
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let mut text = String::new();
        for (frames, weight) in &stacks {
            let frames: Vec<String> = frames.iter().map(|frame| format!("f{frame}")).collect();
            let stack = frames.join(";");
            text.push_str(&format!("{stack} {weight}\n"));
            *model.entry(stack).or_default() += weight;
        }
        for tree in [of(&text), CallTree::read_folded(text.as_bytes()).unwrap()] {
            let columns = tree.columns(0, None, ALL).unwrap();
            let told: BTreeMap<String, u64> =
                written(&columns).into_iter().map(|(stack, own, _)| (stack, own)).collect();
            prop_assert_eq!(&told, &model);
        }
    }
}

#[test]
fn calls_stand_in_the_order_of_time_in_a_chart() {
    let mut profile =
        timed(&[("m;a", 1, 0), ("m;a;b", 1, 10), ("m;a", 1, 20), ("m;c", 1, 30), ("m;c", 1, 90)]);
    profile.duration_ns = 200;
    let tree = CallTree::of(&profile);
    let columns = tree.chart(0, None, ALL).unwrap();
    let times = columns.times.unwrap();
    let told: Vec<(&str, u16, u64, u64)> = (0..columns.name.len())
        .map(|at| {
            let name = columns.names[columns.name[at] as usize].as_str();
            (name, columns.depth[at], times.begins_ns[at], times.lasts_ns[at])
        })
        .collect();
    let expected = [
        ("", 0, 0, 200),
        ("m", 1, 0, 50),
        ("a", 2, 0, 30),
        ("b", 3, 10, 10),
        ("c", 2, 30, 20),
        // Nothing was seen for longer than usual.
        ("m", 1, 90, 20),
        ("c", 2, 90, 20),
    ];
    assert_eq!(told, expected);
    assert_eq!(columns.own.iter().sum::<u64>(), 5);
    assert!(matches!(tree.chart(0, None, 5), Err(Error::TooLarge { .. })));
    assert!(matches!(of("main 1\n").chart(0, None, ALL), Err(Error::Untimed)));
}
