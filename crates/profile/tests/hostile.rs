//! Profiles that were damaged, cut off or made to harm: they are refused with a reason, or read.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use temblor_profile::{
    Builder, CallTree, Profile, TopOptions, ValueType, folded, pprof, read, top,
};

/// Stacks of functions `f0` and so on, leaf first, with two values each.
fn profile_of(stacks: &[(Vec<u8>, i64, i64)]) -> Profile {
    let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
    let mut builder = Builder::new(types);
    for (stack, count, time) in stacks {
        let stack = stack.iter().map(|frame| builder.named(&format!("f{frame}"))).collect();
        builder.sample(stack, &[*count, *time], Vec::new());
    }
    builder.finish()
}

fn stacks() -> impl Strategy<Value = Vec<(Vec<u8>, i64, i64)>> {
    vec((vec(0..12_u8, 0..20), -5..1000_i64, 0..i64::MAX / 4), 0..20)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Everything that is made of a profile; that it ends is what counts.
fn show(profile: &Profile) {
    let _ = top(profile, &TopOptions::default());
    let _ = top(profile, &TopOptions { count: Some(3), by_cum: true, ..TopOptions::all() });
    let _ = folded::write(profile, None);
    let _ = temblor_profile::speedscope::write(profile, "x");
    let _ = temblor_profile::merge([profile, profile]);
    let _ = temblor_profile::difference(profile, profile);
    let _ = pprof::write(profile);
}

proptest! {
    #[test]
    fn any_profile_is_read_as_it_was_written(stacks in stacks()) {
        let profile = profile_of(&stacks);
        prop_assert_eq!(pprof::read(&pprof::write(&profile)).unwrap(), profile);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(profile) = pprof::read(&bytes) {
            show(&profile);
        }
        if let Ok(profile) = pprof::read(&packed(&bytes)) {
            show(&profile);
        }
        if let Ok(profile) = read(&bytes) {
            show(&profile);
        }
    }

    #[test]
    fn a_damaged_profile_is_read_or_refused(
        stacks in stacks(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        let whole = pprof::write(&profile_of(&stacks));
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&whole[..]), &mut bytes).unwrap();
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Ok(profile) = pprof::read(&bytes) {
            show(&profile);
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(profile) = pprof::read(&bytes) {
            show(&profile);
        }
    }

    #[test]
    fn a_file_that_ends_too_early_is_refused(stacks in stacks(), cut in any::<prop::sample::Index>()) {
        let whole = pprof::write(&profile_of(&stacks));
        let cut = cut.index(whole.len() - 2) + 2;
        let told = pprof::read(&whole[..cut]).unwrap_err().to_string();
        prop_assert_eq!(told, "cannot be decompressed");
    }

    #[test]
    fn folded_stacks_keep_what_they_weigh(stacks in stacks()) {
        let profile = profile_of(&stacks);
        let text = folded::write(&profile, Some("samples")).unwrap();
        let again = folded::read(text.as_bytes(), ValueType::new("samples", "count"));
        // A stack without frames is no line that can be read.
        if stacks.iter().all(|(stack, ..)| !stack.is_empty()) {
            prop_assert_eq!(folded::write(&again.unwrap(), None).unwrap(), text);
        }
    }
}

#[test]
fn a_small_file_cannot_ask_for_much() {
    // Gigabytes of nothing, in some megabytes.
    let told = pprof::read(&packed(&vec![0; 300 << 20])).unwrap_err();
    assert_eq!(told.to_string(), "bytes are more than the 268435456 that are read at most");
    // Messages of two bytes, each of which would take forty times as much.
    let told = pprof::read(&[0x12, 0x00].repeat((1 << 24) + 1)).unwrap_err();
    assert_eq!(told.to_string(), "entries are more than the 16777216 that are read at most");
}

#[test]
fn what_refers_to_nothing_is_refused() {
    for (bytes, expected) in [
        // A type whose name is string 7.
        (&[0x0a, 0x02, 0x08, 0x07][..], "there is no string of number 7"),
        // A first string.
        (&[0x32, 0x01, b'x'], "the first of its strings is not the empty one"),
        // A type, and a sample of it without a value.
        (&[0x0a, 0x00, 0x12, 0x00], "a sample has 0 values for 1 types"),
        // A sample of no type.
        (&[0x12, 0x00], "it has samples, and does not say what they count"),
        // A sample at location 5.
        (&[0x0a, 0x00, 0x12, 0x04, 0x08, 0x05, 0x10, 0x01], "there is no location of id 5"),
        // A location without an id, and two of the same.
        (&[0x22, 0x00], "a location has the id 0"),
        (&[0x22, 0x02, 0x08, 0x01, 0x22, 0x02, 0x08, 0x01], "two locations have the id 1"),
        // A location in mapping 3.
        (&[0x22, 0x04, 0x08, 0x01, 0x10, 0x03], "there is no mapping of id 3"),
    ] {
        let told = pprof::read(bytes).unwrap_err().to_string();
        assert_eq!(told, format!("not a valid pprof profile: {expected}"), "{bytes:?}");
    }
}

#[test]
fn a_line_that_is_no_stack_is_told_with_its_number() {
    let told = read(b"main;work 3\nmain;work\n").unwrap_err().to_string();
    assert!(told.starts_with("line 2 is no folded stack"), "{told}");
    assert!(told.ends_with("\"main;work\""), "{told}");
}

#[test]
fn what_perf_never_prints_is_refused() {
    const STACK: &str = "\t    55d0c0ffee00 work+0x10 (/bin/x)\n";
    for (text, expected) in [
        // A blank line comes before anything that an event could be.
        (format!("api 42 kernel\n{STACK}\n"), "none of its lines names an event"),
        (
            format!("api 42 1.0: 18446744073709551615 cpu-clock:\n{STACK}\n"),
            "its events weigh more than can be counted",
        ),
        (
            format!("api 42 1.0: 9223372036854775807 cycles:\n{STACK}\n").repeat(3),
            "its events weigh more than can be counted",
        ),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "cannot be read as the output of perf script");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), expected, "{text}");
    }
    // An event without a name before the first that has one.
    let text = format!("api 42 kernel\n{STACK}\napi 42/43 [001] 1.0: 7 cycles:u:\n{STACK}\n");
    let profile = read(text.as_bytes()).unwrap();
    assert_eq!(folded::write(&profile, None).unwrap(), "api;work 8\n");
}

#[test]
fn calls_that_weigh_more_than_a_number_holds_are_joined_all_the_same() {
    let chain: String = (0..100).map(|call| format!("f{call};")).collect();
    let text: String = ["a", "b", "c"].map(|leaf| format!("{chain}{leaf} {}\n", i64::MAX)).concat();
    let tree = CallTree::read_folded(text.as_bytes()).unwrap();
    let columns = tree.columns(0, None, 10).unwrap();
    assert!(columns.name.len() <= 11, "{} calls", columns.name.len());
}

#[test]
fn names_of_any_letters_stand_in_what_perf_prints() {
    let name = "größe_wäre_zählen_ü_ö";
    for cut in 0..10 {
        let name = format!("{name}{}", &"abcdefghij"[..cut]);
        let text = format!("api 42 1.0: 7 cycles:\n\t  55d0c0ffee00 {name}+0x1 (/bin/ü)\n\n");
        let profile = read(text.as_bytes()).unwrap();
        assert_eq!(folded::write(&profile, None).unwrap(), format!("api;{name} 7\n"));
    }
}
