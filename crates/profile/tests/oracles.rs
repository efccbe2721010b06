//! Real profiles, and what `go tool pprof` says of them with nothing cut off. They lie beside the
//! project, and are no part of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain"
)]

use std::fs;
use std::path::PathBuf;

use temblor_profile::{LabelValue, Profile, TopOptions, ValueType, pprof, top};

/// The directory of the profiles, where there is one.
fn profiles() -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/pprof");
    if !dir.is_dir() {
        eprintln!("skipped: there are no profiles to compare with in {}", dir.display());
        return None;
    }
    Some(dir)
}

fn read(dir: &std::path::Path, name: &str) -> Profile {
    pprof::read(&fs::read(dir.join(format!("{name}.pb.gz"))).unwrap()).unwrap()
}

const NAMES: [&str; 6] = ["allocs", "block", "cpu_baseline", "cpu_load", "goroutine", "heap"];

#[test]
fn the_heaviest_functions_are_told_as_pprof_tells_them() {
    let Some(dir) = profiles() else { return };
    let check = |name: &str, oracle: &str, kind: Option<&str>| {
        let options = TopOptions { kind: kind.map(str::to_owned), ..TopOptions::all() };
        let told = top(&read(&dir, name), &options).unwrap();
        let expected = fs::read_to_string(dir.join(format!("{oracle}.top.txt"))).unwrap();
        same_lines(&told, &expected, oracle);
    };
    for name in NAMES {
        check(name, name, None);
    }
    for kind in ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"] {
        check("heap", &format!("heap.{kind}"), Some(kind));
    }
}

#[test]
fn everything_in_a_profile_is_read_as_pprof_reads_it() {
    let Some(dir) = profiles() else { return };
    for name in NAMES {
        let expected = fs::read_to_string(dir.join(format!("{name}.raw.txt"))).unwrap();
        same_lines(&raw(&read(&dir, name)), &expected, name);
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    let Some(dir) = profiles() else { return };
    for name in NAMES {
        let profile = read(&dir, name);
        let written = pprof::write(&profile);
        assert_eq!(pprof::read(&written).unwrap(), profile, "{name}");
        assert_eq!(pprof::write(&profile), written, "{name}");
    }
}

/// The first lines that differ say more than both texts.
fn same_lines(told: &str, expected: &str, name: &str) {
    for (number, (told, expected)) in (1..).zip(told.lines().zip(expected.lines())) {
        assert_eq!(told, expected, "{name}, line {number}");
    }
    assert_eq!(told.lines().count(), expected.lines().count(), "{name}");
}

/// In the lines of `go tool pprof -raw`.
fn raw(profile: &Profile) -> String {
    let mut lines = Vec::new();
    if let Some(ValueType { kind, unit }) = &profile.period_type {
        lines.push(format!("PeriodType: {kind} {unit}"));
    }
    lines.push(format!("Period: {}", profile.period));
    let time = jiff::Timestamp::from_nanosecond(profile.time_ns.into()).unwrap();
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    lines.push(format!("Time: {} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S%.f")));
    if profile.duration_ns != 0 {
        // Its first four characters, as they stand.
        let (seconds, ns) =
            (profile.duration_ns / 1_000_000_000, profile.duration_ns % 1_000_000_000);
        let text: String = format!("{seconds}.{ns:09}").chars().take(4).collect();
        lines.push(format!("Duration: {text}"));
    }
    lines.push("Samples:".to_owned());
    let types = profile.types.iter().map(|of| {
        let chosen = if of.kind == profile.default_type { "[dflt]" } else { "" };
        format!("{}/{}{chosen}", of.kind, of.unit)
    });
    lines.push(types.collect::<Vec<_>>().join(" "));
    for sample in &profile.samples {
        let values = sample.values.iter().map(|value| format!(" {value:>10}"));
        let place = |id| profile.locations.iter().position(|one| one == profile.location(id));
        let stack = sample.stack.iter().map(|id| format!("{} ", place(*id).unwrap() + 1));
        lines.push(format!("{}: {}", values.collect::<String>(), stack.collect::<String>()));
        let labels = sample.labels.iter().map(|label| match &label.value {
            LabelValue::Text(text) => format!("{}:[{text}]", label.key),
            LabelValue::Figure(figure, unit) if unit.is_empty() => {
                format!("{}:[{figure}]", label.key)
            }
            LabelValue::Figure(figure, unit) => format!("{}:[{figure} {unit}]", label.key),
        });
        let labels: Vec<String> = labels.collect();
        if !labels.is_empty() {
            lines.push(format!("                {}", labels.join(" ")));
        }
    }
    lines.push("Locations".to_owned());
    for (number, location) in (1..).zip(&profile.locations) {
        let mapping = location.mapping.map(|id| {
            let mapping = profile.mapping(id);
            profile.mappings.iter().position(|one| one == mapping).unwrap() + 1
        });
        let mapping = mapping.map_or_else(String::new, |number| format!("M={number} "));
        let mut begin = format!("{number:>6}: {:#x} {mapping}", location.address);
        if location.lines.is_empty() {
            lines.push(begin.clone());
        }
        for line in &location.lines {
            let told = line.function.map(|id| profile.function(id)).map(|function| {
                let other = match function.system_name == function.name {
                    true => String::new(),
                    false => format!("({})", function.system_name),
                };
                format!(
                    "{} {}:{}:{} s={}{other}",
                    function.name, function.file, line.line, line.column, function.start_line
                )
            });
            lines.push(format!("{begin}{}", told.unwrap_or_else(|| "??".to_owned())));
            begin = " ".repeat(13);
        }
    }
    lines.push("Mappings".to_owned());
    for (number, mapping) in (1..).zip(&profile.mappings) {
        let known = [
            (mapping.has.functions, "[FN]"),
            (mapping.has.filenames, "[FL]"),
            (mapping.has.lines, "[LN]"),
            (mapping.has.inlines, "[IN]"),
        ];
        let known: String = known.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        lines.push(format!(
            "{number}: {:#x}/{:#x}/{:#x} {} {} {known}",
            mapping.start, mapping.limit, mapping.offset, mapping.file, mapping.build_id
        ));
    }
    lines.join("\n") + "\n"
}
