//! Names: what the kernel and runtimes say of a process' memory, and what linkers call functions.

use temblor_symbols::{Maps, PerfMap, demangle};

/// Mappings are in order, and an address is found where one says that it has it.
pub(crate) fn maps(bytes: &[u8]) {
    let maps = Maps::parse(bytes).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(maps.all().len() + maps.unread() <= lines + bytes.len() / (1 << 14));
    assert!(maps.all().is_sorted_by_key(|mapping| mapping.addresses.start));
    for mapping in maps.all() {
        let (first, last) = (mapping.addresses.start, mapping.addresses.end.wrapping_sub(1));
        assert!(first <= last, "{mapping:?}");
        assert_eq!(mapping.offset_of(first), Some(mapping.offset));
        let _ = mapping.offset_of(last);
        assert_eq!(mapping.offset_of(mapping.addresses.end), None);
        let (_, found) = maps.find(first).unwrap();
        assert!(found.addresses.contains(&first));
    }
    let _ = (maps.find(0), maps.find(u64::MAX));
}

pub(crate) fn map_files() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "55d0c0a00000-55d0c0a05000 r-xp 00002000 fd:01 1234    /usr/bin/sleep (deleted)\n\
         55d0c0a05000-55d0c0a06000 r--p 00007000 fd:01 1234    /usr/bin/sleep\n\
         7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
         7f0000002000-7f0000003000 r-xs 00000000 00:05 77      /memfd:jit code (deleted)\n\
         7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0       [vdso]\n\
         ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
        "7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [anon:code]\n\
         7f0000004000-7f0000005000 r-xp 00000000 00:00 0 [uprobes]\n\
         7f0000006000-7f0000007000 r-xp 00001000 08:02 9 /a\\012b\n",
    ])
}

/// What lies in the file's last line is what is found, unless another took its place.
pub(crate) fn perf_map(bytes: &[u8]) {
    let map = PerfMap::parse(bytes);
    assert!(map.len() <= bytes.len());
    for at in [0, 0x1000, 0x10ff, 0x1100, u64::MAX - 1, u64::MAX] {
        assert!(map.name(at).is_none_or(|name| !name.is_empty()));
    }
    // Each line says of one range what the lines before may have said of others.
    let mut lines: Vec<u8> = bytes[..bytes.len().min(1 << 12)].to_vec();
    lines.extend_from_slice(b"\n1080 10 newest\n");
    let map = PerfMap::parse(&lines);
    assert_eq!((map.name(0x1080), map.name(0x108f)), (Some("newest"), Some("newest")));
    assert_ne!(map.name(0x1090), Some("newest"));
}

pub(crate) fn perf_maps() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "1000 100 LazyCompile:*query /app/client.js:512\n1100 80 main\n1040 20 inner\n",
        "0x1000 0x100 py::dumps:/usr/lib/python3.12/json/__init__.py\nfff0 20 b\n1000 8",
    ])
}

/// A name for people is no longer than people read, and what is not mangled is what it was.
pub(crate) fn demangled(bytes: &[u8]) {
    let name = crate::text(bytes);
    let readable = demangle(&name);
    assert!(readable.len() <= 1 << 12);
    if !name.trim_start_matches('_').starts_with(['Z', 'R']) {
        assert!(name.starts_with(&readable));
    }
    assert_eq!(name.is_empty(), readable.is_empty(), "{name:?} {readable:?}");
}

pub(crate) fn names() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "_ZN3std2rt10lang_start17h0123456789abcdefE",
        "_RNvMNtCs1234_7mycrate3mapINtB2_3MaphE3get",
        "_RINvNtC3std3mem8align_ofjdE",
        "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.42",
        "_ZNSt6vectorIiSaIiEE9push_backEOi",
        "_ZNKSt3mapISsS_IiSt4lessIiEESaISt4pairIKSsiEEE2atERS6_",
        "_ZZN1a1bEvENKUlT_E_clIiEEDaS0_",
        "main.(*Server).Handle",
    ])
}
