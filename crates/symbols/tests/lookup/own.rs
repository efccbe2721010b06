//! Names in this very process.

use temblor_symbols::{Backing, Files, Place, Symbolizer, Unknown};

use crate::world::{at, function, in_file, names};

const CALLEE_LINE: u32 = line!() + 3;
#[inline(always)]
fn always_part_of_its_caller(n: u64) -> u64 {
    std::hint::black_box(n) * 3
}

const CALLER_LINE: u32 = line!() + 3;
#[inline(never)]
pub(crate) fn never_part_of_its_caller(n: u64) -> u64 {
    always_part_of_its_caller(n) + std::hint::black_box(1)
}

fn address_of_own_function() -> u64 {
    assert_eq!(never_part_of_its_caller(1), 4);
    never_part_of_its_caller as fn(u64) -> u64 as usize as u64
}

#[test]
fn a_function_and_the_one_that_is_part_of_it_are_both_there() {
    let mut files = Files::new(64);
    let space = files.snapshot(std::process::id()).unwrap();
    let place = in_file(&space, address_of_own_function());
    let mut symbolizer = Symbolizer::default();
    let found = function(&mut symbolizer, &files, place);
    assert_eq!(symbolizer.trouble(place.0), None);

    let outer = found[0].frames.last().unwrap();
    assert_eq!(&*outer.name, "lookup::own::never_part_of_its_caller", "{outer:?}");
    assert!(outer.system_name.contains("never_part_of_its_caller"));
    assert_ne!(outer.system_name, outer.name);
    assert!(!outer.is_inlined);
    assert_eq!(at(outer), format!("own.rs:{}", CALLER_LINE - 1));

    let both = found
        .iter()
        .find(|symbols| {
            symbols.frames.len() == 2 && at(&symbols.frames[0]) == format!("own.rs:{CALLEE_LINE}")
        })
        .expect("some instruction is the callee's own");
    let [inner, outer] = &*both.frames else { unreachable!() };
    assert!(inner.is_inlined && inner.start.is_none());
    assert!(inner.name.ends_with("always_part_of_its_caller"), "{inner:?}");
    assert_eq!(at(outer), format!("own.rs:{CALLER_LINE}"));
    assert_eq!(&*outer.name, "lookup::own::never_part_of_its_caller");
}

#[test]
fn a_stripped_library_has_the_names_that_it_is_linked_by() {
    let mut files = Files::new(64);
    let space = files.snapshot(std::process::id()).unwrap();
    let address = libc::getppid as unsafe extern "C" fn() -> libc::pid_t as usize as u64;
    let names = names(&mut Symbolizer::new([]), &files, &space, address);
    assert!(names == ["getppid"] || names == ["__getppid"], "{names:?}");
    let held = files.get(in_file(&space, address).0).unwrap();
    assert!(held.path().to_string_lossy().contains("libc"), "{held:?}");
    assert!(held.build_id().is_some());
}

#[test]
fn the_kernels_library_has_names() {
    let mut files = Files::new(64);
    let space = files.snapshot(std::process::id()).unwrap();
    let vdso = space.maps().all().iter().find(|m| m.backing == Backing::Vdso).unwrap();
    let (file, start) = in_file(&space, vdso.addresses.start);
    assert_eq!(files.get(file).unwrap().path().to_str(), Some("[vdso]"));
    let length = vdso.addresses.end - vdso.addresses.start;
    let offsets: Vec<u64> = (start..start + length).step_by(16).collect();
    let found = Symbolizer::default().file(&files, file, &offsets);
    let mut names = found.iter().flat_map(|symbols| symbols.frames.iter()).map(|f| &*f.name);
    assert!(names.any(|name| name.contains("clock_gettime")));
    // The same for every process: it is not copied again.
    let open = files.open();
    files.snapshot(std::process::id()).unwrap();
    assert_eq!(files.open(), open);
}

#[test]
fn what_is_not_mapped_is_nowhere() {
    let mut files = Files::new(64);
    let space = files.snapshot(std::process::id()).unwrap();
    let on_the_stack = &raw const space as u64;
    for address in [0, on_the_stack, u64::MAX] {
        assert_eq!(space.locate(address), Place::Unknown(Unknown::Unmapped), "{address:#x}");
    }
}

#[test]
fn more_files_than_may_be_open_are_refused_and_counted() {
    let mut files = Files::new(1);
    let space = files.snapshot(std::process::id()).unwrap();
    assert_eq!(files.open(), 1);
    assert!(files.refused() > 0);
    let address = libc::getppid as unsafe extern "C" fn() -> libc::pid_t as usize as u64;
    let (file, offset) = in_file(&space, address);
    let held = files.get(file).unwrap();
    assert!(held.why_unopened().is_some() && held.path().is_absolute());
    let found = Symbolizer::default().file(&files, file, &[offset]);
    assert!(found[0].frames.is_empty());
    let why = found[0].why_none.as_deref().unwrap();
    assert_eq!(why, "no more than 1 files are held open at a time");
}

#[test]
fn answers_come_in_the_order_of_the_questions() {
    let mut files = Files::new(64);
    let space = files.snapshot(std::process::id()).unwrap();
    let (file, offset) = in_file(&space, address_of_own_function());
    let mut symbolizer = Symbolizer::default();
    let nowhere = u64::MAX;
    let first = symbolizer.file(&files, file, &[nowhere, offset, offset]);
    assert!(first[0].frames.is_empty());
    assert_eq!(first[0].why_none.as_deref(), Some("the file is not loaded into memory there"));
    assert_eq!(first[1], first[2]);
    // What is known and what is not, mixed.
    let second = symbolizer.file(&files, file, &[offset + 1, offset, nowhere]);
    assert_eq!((&second[1], &second[2]), (&first[1], &first[0]));
    assert!(!second[0].frames.is_empty());
    assert!(symbolizer.file(&files, file, &[]).is_empty());
}
