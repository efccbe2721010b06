//! What is allocated, and what of it is still in use.

mod place;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use temblor_probes::stacks::{Allocation, Allocator, Kind, Record, Sampler};
use temblor_symbols::{Backing, FileId, Place};

use self::place::allocator;
use crate::collecting::Collecting;
use crate::error::Error;
use crate::spaces::start_stack;
use crate::stacks::{Seen, Weight};

/// Sampled blocks that are in use at the same time.
const LIVE_MAX: usize = 1 << 18;
const SECOND_NS: u64 = 1_000_000_000;

/// A sampled block that is in use.
#[derive(Debug)]
struct Block {
    seen: Seen,
    weight: Weight,
    /// Tells the program that allocated it from another one that its process runs later.
    start_stack: Option<u64>,
}

impl Block {
    /// A program's memory ends with it, also where its process goes on with another program.
    fn is_of(&self, program: Option<u64>) -> bool {
        self.start_stack.is_some() && self.start_stack == program
    }
}

/// The allocations that are followed.
#[derive(Debug)]
pub(crate) struct Allocations {
    every_bytes: u64,
    live: HashMap<Allocation, Block>,
    /// The processes, each with where the stack of its program begins.
    watched: HashMap<u32, u64>,
    allocators: HashMap<FileId, Option<Allocator>>,
    /// Blocks that there was no room for.
    not_followed: u64,
}

impl Allocations {
    pub(crate) fn new(every_bytes: u64) -> Self {
        Self {
            every_bytes,
            live: HashMap::new(),
            watched: HashMap::new(),
            allocators: HashMap::new(),
            not_followed: 0,
        }
    }

    /// Watches the programs that are not watched yet, and forgets those that have ended with what they
    /// had. Returns why one could not be watched.
    pub(crate) fn watch(
        &mut self,
        pids: &[u32],
        sampler: &mut Sampler,
        into: &mut Collecting,
    ) -> Option<Error> {
        let programs: HashMap<u32, u64> =
            pids.iter().filter_map(|pid| Some((*pid, start_stack(*pid)?))).collect();
        let ended = |pid: &u32, program: &mut u64| programs.get(pid) != Some(program);
        for (pid, _) in self.watched.extract_if(ended) {
            sampler.unwatch(pid);
            let program = programs.get(&pid).copied();
            self.live.retain(|_, block| block.seen.pid != pid || block.is_of(program));
        }
        let mut refused = None;
        for (pid, program) in programs {
            if self.watched.contains_key(&pid) {
                continue;
            }
            match self.watch_one(pid, sampler, into) {
                Ok(()) => drop(self.watched.insert(pid, program)),
                Err(why) => {
                    tracing::warn!(%why, "what process {pid} allocates is not followed");
                    // It may have another program by the next time.
                    sampler.unwatch(pid);
                    refused = Some(why);
                }
            }
        }
        refused
    }

    /// A process that ends meanwhile is none of our business.
    fn watch_one(
        &mut self,
        pid: u32,
        sampler: &mut Sampler,
        into: &mut Collecting,
    ) -> Result<(), Error> {
        let Ok(space) = into.spaces.files.snapshot(pid) else { return Ok(()) };
        let mut seen = HashSet::new();
        for mapping in space.maps().all() {
            let is_file = matches!(mapping.backing, Backing::File { .. });
            let Place::File { file, .. } = space.locate(mapping.addresses.start) else { continue };
            if !is_file || !seen.insert(file) {
                continue;
            }
            let files = &into.spaces.files;
            let read = || allocator(&files.get(file)?.map().ok()?);
            let known = self.allocators.entry(file).or_insert_with(read);
            let Some(allocator) = known else { continue };
            // As the process has it, whatever lies at its path by now or in our own namespace.
            let addresses = &mapping.addresses;
            let path = format!("/proc/{pid}/map_files/{:x}-{:x}", addresses.start, addresses.end);
            match sampler.watch(pid, &PathBuf::from(path), allocator) {
                Ok(()) => {}
                Err(_) if into.spaces.files.snapshot(pid).is_err() => return Ok(()),
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn take(
        &mut self,
        record: Record,
        sampler: &mut Sampler,
        into: &mut Collecting,
    ) -> Result<(), Error> {
        match record {
            Record::Freed(allocation) => drop(self.live.remove(&allocation)),
            Record::Stack(stack) => {
                let Kind::Allocated { bytes } = stack.kind else { return Ok(()) };
                let allocation = Allocation { thread: stack.thread, t_ns: stack.t_ns };
                let known_as = stack.known_as.unwrap_or(stack.process);
                let mut seen = into.locate(sampler, stack)?;
                seen.circumstances.size_bits = Some(u64::BITS - bytes.leading_zeros());
                let start_stack = into.spaces.start_stack_of(known_as);
                let weight = weight(bytes, self.every_bytes);
                into.keep(allocation.t_ns..allocation.t_ns, seen.clone(), weight);
                if self.live.len() < LIVE_MAX {
                    self.live.insert(allocation, Block { seen, weight, start_stack });
                } else {
                    self.not_followed += 1;
                }
            }
            Record::Waited(_) => {}
        }
        Ok(())
    }

    /// Adds what is still in use, by how old it is. What a program has that has ended is not; and what
    /// came after the end may have been followed no longer. Returns how many there was no room for.
    pub(crate) fn end(self, now_ns: u64, into: &mut Collecting) -> u64 {
        let mut programs: HashMap<u32, Option<u64>> = HashMap::new();
        for (allocation, block) in self.live {
            let pid = block.seen.pid;
            let program = *programs.entry(pid).or_insert_with(|| start_stack(pid));
            if allocation.t_ns > now_ns || !block.is_of(program) {
                continue;
            }
            let Block { mut seen, weight, .. } = block;
            let age = age(now_ns.saturating_sub(allocation.t_ns));
            seen.circumstances.age = Some(age);
            let Weight { count, amount, .. } = weight;
            let in_use = Weight { live_count: count, live_amount: amount, ..Weight::default() };
            into.keep(allocation.t_ns..allocation.t_ns, seen, in_use);
        }
        self.not_followed
    }
}

fn age(nanoseconds: u64) -> &'static str {
    match nanoseconds / SECOND_NS {
        0 => "less than 1 s",
        1..10 => "1 to 10 s",
        10..60 => "10 to 60 s",
        _ => "more than 60 s",
    }
}

/// What a sampled block stands for. One of so many bytes is sampled at random, so that a block of a
/// size is with the chance `1 - exp(-size / every)`; it stands for as many as that chance is one of
/// (Horvitz and Thompson, 1952), as in the heap profiles of Go and of tcmalloc.
fn weight(bytes: u64, every_bytes: u64) -> Weight {
    let size = bytes as f64;
    let chance = -(-size / every_bytes.max(1) as f64).exp_m1();
    let count = 1.0 / chance.max(f64::MIN_POSITIVE);
    Weight::seen(count, (count * size).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blocks_stand_for_many_and_large_ones_for_themselves() {
        let of = |bytes| weight(bytes, 131_072);
        assert!((of(64).count - 2048.5).abs() < 0.01);
        assert_eq!(of(64).amount, 131_104);
        assert!((of(10 << 20).count - 1.0).abs() < 1e-9);
        assert_eq!(of(10 << 20).amount, 10 << 20);
        // As many of them as are sampled give what there was.
        let sampled = 1.0 - (-0.5_f64).exp();
        let estimate = of(65_536).amount as f64 * sampled;
        assert!((estimate / 65_536.0 - 1.0).abs() < 1e-4, "{estimate}");
    }

    #[test]
    fn ages_are_told_in_steps() {
        let of = |seconds| age(seconds * SECOND_NS);
        assert_eq!([of(0), of(1), of(9)], ["less than 1 s", "1 to 10 s", "1 to 10 s"]);
        assert_eq!([of(10), of(59), of(60)], ["10 to 60 s", "10 to 60 s", "more than 60 s"]);
    }
}
