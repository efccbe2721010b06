//! Names of the kernel's own functions.

use std::fs;

use temblor_symbols::Symbolizer;

#[test]
fn the_kernels_functions_have_the_names_of_kallsyms() {
    let text = fs::read_to_string("/proc/kallsyms").unwrap();
    let address = text.lines().find_map(|line| {
        let (address, name) = line.split_once(" T ")?;
        (name == "vfs_read").then(|| u64::from_str_radix(address, 16).ok())?
    });
    let Some(address) = address.filter(|address| *address != 0) else {
        let found = Symbolizer::default().kernel(&[0xffff_ffff_8100_0000]);
        assert!(found[0].why_none.as_deref().unwrap().contains("root"), "{found:?}");
        eprintln!("skipped: needs root (/proc/kallsyms shows no addresses otherwise)");
        return;
    };
    let mut symbolizer = Symbolizer::default();
    // Behind the last function of all there is nothing.
    let last = u64::MAX - 0xfff;
    let found = symbolizer.kernel(&[address + 4, 0x1000, address, last]);
    for at in [0, 2] {
        let [frame] = &*found[at].frames else { panic!("{found:?}") };
        assert_eq!((&*frame.name, frame.start), ("vfs_read", Some(address)));
    }
    assert!(found[1].frames.is_empty());
    assert_eq!(found[1].why_none.as_deref(), Some("no address of the kernel's"));
    assert_eq!(found[3].why_none.as_deref(), Some("no symbol is there"));
}
