//! libFuzzer's entry. `FUZZ_TARGET` names the target; without it the seeds of all targets are written
//! into the directory that `FUZZ_CORPUS` names, a folder for each, and nothing is tried.

#![no_main]
#![expect(clippy::unwrap_used, reason = "whoever fuzzes is told where it failed")]

use std::path::Path;
use std::sync::OnceLock;

use temblor_fuzz::{TARGETS, Target, target};

/// None: seeds are written.
static TARGET: OnceLock<Option<&'static Target>> = OnceLock::new();

fn prepare() {
    let named = std::env::var("FUZZ_TARGET").ok();
    let chosen = named.map(|name| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        target(&name).unwrap_or_else(|| panic!("no target {name}: there are {}", names.join(", ")))
    });
    if chosen.is_none() {
        write_seeds(Path::new(&std::env::var_os("FUZZ_CORPUS").expect("FUZZ_CORPUS is set")));
    }
    TARGET.set(chosen).unwrap();
}

fn write_seeds(corpus: &Path) {
    for target in TARGETS {
        let folder = corpus.join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed).unwrap();
        }
    }
}

libfuzzer_sys::fuzz_target!(init: prepare(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get().copied().flatten() {
        target.run(bytes);
    }
});
