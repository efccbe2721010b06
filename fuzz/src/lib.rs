//! Whatever reads bytes from outside is given wrong ones.
//!
//! A [`Target`] is a function that takes bytes, hands them to one of the parsers and holds what comes
//! of them against what the parser promises: it panics where a promise is broken. [`TARGETS`] has all
//! of them, each with seeds that the project's own writers have made. Two things feed them: the test
//! beside this crate, with a bounded number of [`Mutations`] of the seeds, and `make fuzz`, where
//! libFuzzer follows the coverage for as long as one likes.
//!
//! Besides its promises a target must keep to [`MEMORY_BYTES_MAX`]: this crate's allocator counts.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a promise that is broken is a panic, and small numbers are made of bytes"
)]

mod analysis;
mod exchange;
mod host;
mod journal;
mod lab;
mod memory;
mod mutate;
mod plan;
mod profile;
mod runs;
mod symbols;
mod unwind;

pub use memory::{MEMORY_BYTES_MAX, peak_bytes_of};
pub use mutate::Mutations;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// A parser, and what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The crate's name and what of it is tried.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// What the project's own programs write, or read every day.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the test tries: fewer of what takes long.
    pub mutations: u32,
}

impl Target {
    /// Tries it with these bytes.
    ///
    /// # Panics
    /// Where a promise is broken, or where it took more than [`MEMORY_BYTES_MAX`].
    pub fn run(&self, bytes: &[u8]) {
        let peak_bytes = peak_bytes_of(|| (self.check)(bytes));
        assert!(
            peak_bytes <= MEMORY_BYTES_MAX,
            "{} took {peak_bytes} bytes of memory for {} bytes",
            self.name,
            bytes.len()
        );
    }
}

/// All targets.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "analysis-answer", check: analysis::answer, seeds: analysis::answers, mutations: 1000 },
    Target { name: "analysis-budget", check: analysis::budget, seeds: analysis::budgets, mutations: 500 },
    Target { name: "analysis-profile", check: analysis::profile, seeds: profile::seeds, mutations: 500 },
    Target { name: "analysis-rules", check: analysis::rules, seeds: analysis::rule_files, mutations: 500 },
    Target { name: "api-order", check: exchange::order, seeds: exchange::orders, mutations: 2000 },
    Target { name: "audit-ledger", check: exchange::ledger, seeds: exchange::ledgers, mutations: 4000 },
    Target { name: "host-cgroups", check: host::cgroups, seeds: host::mounts, mutations: 4000 },
    Target { name: "journal-record", check: exchange::record, seeds: exchange::records, mutations: 4000 },
    Target { name: "journal-recover", check: journal::recover, seeds: journal::seeds, mutations: 1000 },
    Target { name: "lab-spec", check: lab::spec, seeds: lab::seeds, mutations: 60 },
    Target { name: "matching-commands", check: exchange::commands, seeds: exchange::sequences, mutations: 500 },
    Target { name: "plan-experiment", check: plan::experiment, seeds: plan::experiments, mutations: 150 },
    Target { name: "plan-units", check: plan::units, seeds: plan::quantities, mutations: 4000 },
    Target { name: "profile-calls", check: profile::calls, seeds: profile::timed_seeds, mutations: 1000 },
    Target { name: "profile-drawn", check: profile::drawn, seeds: profile::seeds, mutations: 200 },
    Target { name: "profile-pair", check: profile::pair, seeds: profile::pairs, mutations: 300 },
    Target { name: "profile-read", check: profile::read, seeds: profile::seeds, mutations: 600 },
    Target { name: "runs-events", check: runs::events, seeds: runs::logs, mutations: 150 },
    Target { name: "symbols-demangle", check: symbols::demangled, seeds: symbols::names, mutations: 3000 },
    Target { name: "symbols-maps", check: symbols::maps, seeds: symbols::map_files, mutations: 4000 },
    Target { name: "symbols-perf-map", check: symbols::perf_map, seeds: symbols::perf_maps, mutations: 2000 },
    Target { name: "unwind-table", check: unwind::table, seeds: unwind::seeds, mutations: 4000 },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The text in bytes that should be one; what is none has signs that stand for it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes of texts, as seeds.
fn seeds_of<'of>(texts: impl IntoIterator<Item = &'of str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A file of the repository, from its root.
fn repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
