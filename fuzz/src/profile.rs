//! Profiles: read from whatever somebody has, written again, weighed, drawn and compared.

use std::io::Read as _;

use flate2::read::GzDecoder;
use temblor_profile::{
    Builder, CallTree, Columns, Comparison, Function, Known, Label, LabelValue, Line, Location,
    Mapping, PictureOptions, Profile, Shape, SvgOptions, TopOptions, Tree, ValueType, Window,
    chart_svg, difference, firefox, folded, merge, picture, pprof, rooted_in, speedscope, svg, top,
    without_uninteresting,
};

/// As many calls as a page is sent at most, here.
const CALLS_MAX: usize = 64;

/// What is read is whole, and is the same when it is written and read again.
pub(crate) fn read(bytes: &[u8]) {
    let Ok(profile) = temblor_profile::read(bytes) else { return };
    is_whole(&profile);
    let written = pprof::write(&profile);
    assert_eq!(pprof::read(&written).unwrap(), profile, "written and read");
    // Whether a file is compressed says nothing about what is in it.
    let mut plain = Vec::new();
    GzDecoder::new(&written[..]).read_to_end(&mut plain).unwrap();
    assert_eq!(pprof::read(&plain).unwrap(), profile, "not compressed");

    for of in &profile.types {
        let text = folded::write(&profile, Some(&of.kind)).unwrap();
        if let Ok(again) = folded::read(text.as_bytes(), of.clone()) {
            is_whole(&again);
        }
    }
    is_whole(&rooted_in(&profile, "thread"));
    if let Ok(less) = without_uninteresting(&profile) {
        is_whole(&less);
    }
    let sum = merge([&profile]).unwrap();
    is_whole(&sum);
    assert_eq!(merge([&sum]).unwrap(), sum, "merged once more");
}

/// Everything that a profile refers to is there, and its values are as many as its types.
fn is_whole(profile: &Profile) {
    for sample in &profile.samples {
        assert_eq!(sample.values.len(), profile.types.len());
        for id in &sample.stack {
            let _ = profile.location(*id);
        }
    }
    for location in &profile.locations {
        let _ = location.mapping.map(|id| profile.mapping(id));
        for line in &location.lines {
            let _ = line.function.map(|id| profile.function(id));
            assert!(!profile.name_of(location, Some(line)).contains(char::is_control));
        }
        let _ = profile.name_of(location, None);
    }
}

/// What is drawn of a profile is what it says it is: JSON, or a drawing that has an end.
pub(crate) fn drawn(bytes: &[u8]) {
    let Ok(profile) = temblor_profile::read(bytes) else { return };
    for options in
        [TopOptions::default(), TopOptions { count: Some(3), by_cum: true, ..TopOptions::all() }]
    {
        if let Ok(text) = top(&profile, &options) {
            assert!(text.ends_with('\n') && !text.contains('\u{1b}'));
        }
    }
    is_json(speedscope::write(&profile, "a").as_bytes());
    if let Ok(file) = firefox::write(&profile, None, "a") {
        is_json(&file);
    }
    let Ok(tree) = Tree::of(&profile, None) else { return };
    draw(&tree);
    let options =
        PictureOptions { width: 400, share_min: 0.001, unit: "samples".to_owned(), remedy: None };
    let _ = picture(&tree, &options);
}

fn draw(tree: &Tree) {
    for shape in [Shape::Flame, Shape::Icicle] {
        let options = SvgOptions { shape, unit: "samples".to_owned(), ..SvgOptions::default() };
        if let Ok(drawing) = svg(tree, &options) {
            is_drawing(&drawing);
        }
    }
}

fn is_drawing(drawing: &[u8]) {
    let text = std::str::from_utf8(drawing).unwrap();
    assert!(text.trim_end().ends_with("</svg>"));
}

fn is_json(bytes: &[u8]) {
    serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
}

/// Calls in the tree, in time and in cells; the tree of folded stacks is read line by line.
pub(crate) fn calls(bytes: &[u8]) {
    if let Ok(tree) = CallTree::read_folded(bytes) {
        weigh(&tree);
    }
    if let Ok(tree) = Tree::read_folded(bytes) {
        draw(&tree);
    }
    let Ok(profile) = temblor_profile::read(bytes) else { return };
    let tree = CallTree::of(&profile);
    assert_eq!(tree.samples(), profile.samples.len());
    weigh(&tree);
    let _ = chart_svg(&tree, 0, &SvgOptions::default()).map(|drawing| is_drawing(&drawing));
}

fn weigh(tree: &CallTree) {
    let window = Window { from_ns: i64::MIN, to_ns: i64::MAX };
    for index in 0..tree.types().len() {
        let whole = tree.columns(index, None, usize::MAX).unwrap();
        are_a_tree(&whole);
        let less = tree.columns(index, None, CALLS_MAX).unwrap();
        are_a_tree(&less);
        // The first is none: it is what all have in common.
        assert!(less.name.len() <= CALLS_MAX + 1, "{} calls", less.name.len());
        // What is joined weighs for its caller, as far as a number reaches.
        if sum(&whole.own) <= u128::from(u64::MAX) {
            assert_eq!(sum(&less.own), sum(&whole.own));
        }
        are_a_tree(&tree.columns(index, Some(window), CALLS_MAX).unwrap());
        if let Ok(chart) = tree.chart(index, Some(window), 1 << 16) {
            are_a_tree(&chart);
            let times = chart.times.as_ref().unwrap();
            assert_eq!(times.begins_ns.len(), chart.name.len());
            assert_eq!(times.lasts_ns.len(), chart.name.len());
        }
        if let Ok(heat) = tree.heat(index) {
            assert_eq!(heat.cells.len(), heat.rows as usize * heat.columns as usize);
            assert!(heat.cell_ns > 0);
        }
    }
    assert!(tree.columns(tree.types().len(), None, CALLS_MAX).is_err());
}

fn sum(weights: &[u64]) -> u128 {
    weights.iter().map(|weight| u128::from(*weight)).sum()
}

fn are_a_tree(columns: &Columns<'_>) {
    let calls = columns.name.len();
    assert_eq!((columns.depth.len(), columns.own.len()), (calls, calls));
    assert!(columns.base.as_ref().is_none_or(|base| base.len() == calls));
    assert!(columns.name.iter().all(|name| (*name as usize) < columns.names.len()));
    assert!(columns.depth.first().is_none_or(|depth| *depth == 0));
    for pair in columns.depth.windows(2) {
        assert!((1..=pair[0] + 1).contains(&pair[1]), "{} behind {}", pair[1], pair[0]);
    }
}

/// Two profiles, one behind the other with their lengths before them, are added and compared.
pub(crate) fn pair(bytes: &[u8]) {
    let Some((base, new)) = two(bytes) else { return };
    let sum = merge([&base, &new]);
    let change = difference(&base, &new);
    assert_eq!(sum.is_ok(), base.types == new.types);
    assert_eq!(change.is_ok(), base.types == new.types);
    for made in [sum, change].into_iter().flatten() {
        is_whole(&made);
        assert_eq!(pprof::read(&pprof::write(&made)).unwrap(), made);
        let _ = top(&made, &TopOptions::all());
    }
    if let Ok(tree) = Tree::difference(&base, &new, None) {
        draw(&tree);
    }
    let (base, new) = (CallTree::of(&base), CallTree::of(&new));
    let both = Comparison::of(&base, &new);
    for index in 0..new.types().len() {
        if let Ok(columns) = both.columns(&base, &new, index, CALLS_MAX) {
            are_a_tree(&columns);
        }
    }
}

/// Two profiles of some bytes, the first as long as their first two say.
pub(crate) fn two(bytes: &[u8]) -> Option<(Profile, Profile)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (base, new) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((temblor_profile::read(base).ok()?, temblor_profile::read(new).ok()?))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let text = "main;work;alloc 12\nmain;work 30\nmain;[libc.so.6];read_[k] 7\n# end\n";
    let perf = "postgres 4242 100.123: 10101010 cpu-clock:\n\
        \t    55d0c0ffee00 work+0x10 (/bin/postgres)\n\
        \t    55d0c0ffaa00 main+0x20 (/bin/postgres)\n\n\
        postgres 4242 100.124: 10101010 cpu-clock:\n\
        \t    ffffffff81000000 do_syscall_64+0x10 ([kernel.kallsyms])\n\
        \t    7f0000000000 [unknown] (/lib/libc.so.6)\n\n";
    let mut seeds = timed_seeds();
    seeds.extend(crate::seeds_of([text, perf]));
    seeds
}

pub(crate) fn timed_seeds() -> Vec<Vec<u8>> {
    let profile = small();
    let mut builder = Builder::new(vec![ValueType::new("delay", "nanoseconds")]);
    let (main, wait) = (builder.named("main"), builder.named("std::thread::park"));
    builder.sample(vec![wait, main], &[1 << 40], Vec::new());
    builder.sample(vec![main], &[-5], Vec::new());
    vec![
        plain(&profile),
        pprof::write(&profile),
        plain(&builder.finish()),
        b"main;work 12\nmain;work;alloc 3\nother 1\n".to_vec(),
    ]
}

pub(crate) fn pairs() -> Vec<Vec<u8>> {
    let one = plain(&small());
    let mut more = small();
    more.samples[0].values[0] += 300;
    let other = plain(&more);
    let framed = |base: &[u8], new: &[u8]| {
        [&u16::try_from(base.len()).unwrap().to_le_bytes(), base, new].concat()
    };
    vec![
        framed(&one, &other),
        framed(&one, &one),
        framed(b"main;work 120\nmain 3\n", b"main;work 90\nmain;new 60\n"),
    ]
}

/// Not compressed: a bit of a compressed file is a checksum's.
fn plain(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(&pprof::write(profile)[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A profile with something of everything in it.
fn small() -> Profile {
    let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
    let mut builder = Builder::new(types);
    let mapping = builder.mapping(Mapping {
        start: 0x40_0000,
        limit: 0x48_0000,
        offset: 0x1000,
        file: "/usr/bin/api".to_owned(),
        build_id: "ab12".to_owned(),
        has: Known { functions: true, filenames: true, lines: true, inlines: true },
    });
    let function = |name: &str| Function {
        name: name.to_owned(),
        system_name: format!("_Z3{name}"),
        file: "src/main.rs".to_owned(),
        start_line: 7,
    };
    let functions = ["main", "work", "serde_json::ser", "malloc"].map(|name| {
        let function = builder.function(function(name));
        Line { function: Some(function), line: 12, column: 3 }
    });
    let locations: Vec<_> = (1_u64..)
        .zip(functions.chunks(2))
        .map(|(at, lines)| {
            let address = 0x40_0000 + at * 16;
            let (mapping, lines) = (Some(mapping), lines.to_vec());
            builder.location(Location { mapping, address, lines, is_folded: false })
        })
        .collect();
    for (at, stack) in [vec![1, 0], vec![0], vec![1, 1, 0]].into_iter().enumerate() {
        let figure = |value, unit: &str| LabelValue::Figure(value, unit.to_owned());
        let labels = vec![
            Label { key: "time".to_owned(), value: figure(1_000_000 * at as i64, "nanoseconds") },
            Label { key: "thread".to_owned(), value: LabelValue::Text("worker".to_owned()) },
            Label { key: "thread_id".to_owned(), value: figure(42, "") },
        ];
        let stack = stack.into_iter().map(|place: usize| locations[place]).collect();
        builder.sample(stack, &[100, 1_010_101_000], labels);
    }
    let about = builder.about();
    about.time_ns = 1_700_000_000_000_000_000;
    about.duration_ns = 30_000_000_000;
    about.period = 10_101_010;
    about.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    about.comments = vec!["made by hand".to_owned()];
    about.drop_frames = "mall.*".to_owned();
    builder.finish()
}
