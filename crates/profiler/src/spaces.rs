//! Where the code of the processes lies, for us and for the kernel half.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use temblor_probes::stacks::{CodeMapping, Frames, Sampler, TableId};
use temblor_symbols::{Backing, FileId, Files, Mapping, PerfMap, Place, Space};
use temblor_unwind::Segment;

use crate::error::Error;

/// Files that are held open at most, and the share of the process' own limit that they may take.
const OPEN_MAX: usize = 4096;
const OPEN_SHARE: u64 = 2;
/// A process is looked at again at most so often; twice as long after each look that did not help,
/// up to 2 to the power of so many times.
const LOOK_AGAIN_NS: u64 = 10_000_000;
const DOUBLINGS_MAX: u32 = 7;
/// A runtime's list of its code can have some 64 MiB.
const PERF_MAPS_MAX: usize = 64;

/// A process that was looked at.
#[derive(Debug)]
struct Known {
    pid: u32,
    space: Space,
    looked_ns: u64,
    /// Which of the programs that it has run this is of.
    start_stack: u64,
    /// How often in a row that gave nothing new.
    in_vain: u32,
}

/// A file's table in the kernel, and where its code lies in it.
#[derive(Debug)]
struct Told {
    table: TableId,
    segments: Vec<Segment>,
    functions: Vec<Range<u64>>,
}

/// The processes by their numbers in the first pid namespace.
#[derive(Debug)]
pub(crate) struct Spaces {
    pub(crate) files: Files,
    known: HashMap<u32, Known>,
    /// None: the file says nothing of frames.
    tables: HashMap<FileId, Option<Told>>,
    /// The programs that they run.
    programs: HashMap<u32, FileId>,
    /// What their runtimes told of the code that they made.
    pub(crate) perf_maps: HashMap<u32, PerfMap>,
}

impl Spaces {
    pub(crate) fn new() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = limit.map_or(OPEN_MAX, |limit| (limit / OPEN_SHARE) as usize);
        Self {
            files: Files::new(share.min(OPEN_MAX)),
            known: HashMap::new(),
            tables: HashMap::new(),
            programs: HashMap::new(),
            perf_maps: HashMap::new(),
        }
    }

    pub(crate) fn of(&self, process: u32) -> Option<&Space> {
        self.known.get(&process).map(|known| &known.space)
    }

    /// Where the stack of the program begins that a process is known to run.
    pub(crate) fn start_stack_of(&self, process: u32) -> Option<u64> {
        self.known.get(&process).map(|known| known.start_stack)
    }

    /// The program that a process runs, or ran.
    pub(crate) fn program_of(&self, process: u32) -> Option<FileId> {
        self.programs.get(&process).copied()
    }

    /// Looks at a process, unless that was done a moment ago, and tells the kernel half. One that has
    /// ended stays known as it was.
    pub(crate) fn look(
        &mut self,
        sampler: &mut Sampler,
        process: u32,
        pid: u32,
        now_ns: u64,
    ) -> Result<(), Error> {
        let Some(start_stack) = start_stack(pid) else { return Ok(()) };
        let before = self.known.get(&process).filter(|known| known.start_stack == start_stack);
        let in_vain = before.map_or(0, |known| known.in_vain);
        let a_moment_ago = |known: &Known| {
            now_ns.saturating_sub(known.looked_ns) < LOOK_AGAIN_NS << in_vain.min(DOUBLINGS_MAX)
        };
        if pid == 0 || before.is_some_and(a_moment_ago) {
            return Ok(());
        }
        let Ok(space) = self.files.snapshot(pid) else { return Ok(()) };
        let is_new = before.is_none_or(|known| known.space.maps() != space.maps());
        if is_new {
            let mut mappings = Vec::new();
            for mapping in space.maps().all() {
                if let Some(frames) = self.frames(sampler, &space, mapping)? {
                    let (begin, end) = (mapping.addresses.start, mapping.addresses.end);
                    mappings.push(CodeMapping { begin, end, frames });
                }
            }
            // A thread of the kernel's has none. Where there is no room for it, its stacks are cut off
            // and say so.
            if !mappings.is_empty()
                && let Err(why) = sampler.tell_process(process, start_stack, &mappings)
            {
                tracing::warn!(%why, "the stacks of process {pid} cannot be walked");
            }
        }
        // Its libraries lie above it.
        let places = space.maps().all().iter().map(|mapping| mapping.addresses.start);
        let file = places.map(|start| space.locate(start)).find_map(|place| match place {
            Place::File { file, .. } => Some(file),
            _ => None,
        });
        if let Some(file) = file {
            self.programs.insert(process, file);
        }
        let in_vain = if is_new { 0 } else { in_vain + 1 };
        self.known.insert(process, Known { pid, space, looked_ns: now_ns, start_stack, in_vain });
        Ok(())
    }

    /// Forgets the processes that have ended: what was seen of them has its places.
    pub(crate) fn sweep(&mut self, sampler: &mut Sampler) -> Result<(), Error> {
        let ended = |known: &Known| !Path::new(&format!("/proc/{}", known.pid)).exists();
        let gone: Vec<u32> =
            self.known.iter().filter(|(_, known)| ended(known)).map(|(of, _)| *of).collect();
        for process in gone {
            sampler.forget_process(process)?;
            self.known.remove(&process);
        }
        Ok(())
    }

    /// How frames are found in a mapping. None: nobody knows.
    fn frames(
        &mut self,
        sampler: &mut Sampler,
        space: &Space,
        mapping: &Mapping,
    ) -> Result<Option<Frames>, Error> {
        match mapping.backing {
            // Runtimes that make code keep frame pointers in it, so that it can be profiled.
            Backing::Anonymous | Backing::Memfd { .. } => return Ok(Some(Frames::Pointers)),
            Backing::File { .. } | Backing::Vdso => {}
            Backing::Uprobes | Backing::Kernel(_) => return Ok(None),
        }
        let Place::File { file, .. } = space.locate(mapping.addresses.start) else {
            return Ok(None);
        };
        if !self.tables.contains_key(&file) {
            // One that is not open may be the next time.
            let Some(bytes) = self.files.get(file).and_then(|held| held.map().ok()) else {
                return Ok(None);
            };
            let told = self.tell_file(sampler, file, &bytes)?;
            self.tables.insert(file, told);
        }
        // Without a table there may be frame pointers, as in Go.
        let Some(Some(Told { table, segments, .. })) = self.tables.get(&file) else {
            return Ok(Some(Frames::Pointers));
        };
        // Pages are mapped whole, so that another segment's end or beginning may be among them.
        let mapped = mapping.addresses.end.saturating_sub(mapping.addresses.start);
        let mapped = mapping.offset..mapping.offset.saturating_add(mapped);
        let shared = |segment: &&Segment| {
            let end = segment.file_offset.saturating_add(segment.size);
            end.min(mapped.end).saturating_sub(segment.file_offset.max(mapped.start))
        };
        let segment = segments.iter().max_by_key(shared).filter(|one| shared(one) > 0);
        Ok(segment.map(|segment| Frames::Table {
            table: *table,
            bias: mapping
                .addresses
                .start
                .wrapping_sub(mapping.offset)
                .wrapping_add(segment.file_offset)
                .wrapping_sub(segment.address),
        }))
    }

    /// Where in a file the function begins that is at a place in it, as far as its unwind information
    /// tells: also where its symbols do not.
    pub(crate) fn function_at(&self, file: FileId, offset: u64) -> Option<u64> {
        let Told { segments, functions, .. } = self.tables.get(&file)?.as_ref()?;
        let segment = segments.iter().find(|segment| {
            (segment.file_offset..segment.file_offset.saturating_add(segment.size))
                .contains(&offset)
        })?;
        let address = (offset - segment.file_offset).checked_add(segment.address)?;
        let after = functions.partition_point(|function| function.start <= address);
        let function = functions.get(after.checked_sub(1)?)?;
        let start = function.contains(&address).then_some(function.start)?;
        start.checked_sub(segment.address)?.checked_add(segment.file_offset)
    }

    fn tell_file(
        &self,
        sampler: &mut Sampler,
        file: FileId,
        bytes: &[u8],
    ) -> Result<Option<Told>, Error> {
        let of_file = || -> Option<_> {
            let table = temblor_unwind::table(bytes)
                .inspect_err(|why| tracing::info!(%why, "no table of {file:?}"))
                .ok()?;
            Some((table, temblor_unwind::executable_segments(bytes).ok()?))
        };
        let Some((table, segments)) = of_file() else { return Ok(None) };
        let id = sampler.add_table(&table)?;
        Ok(id.map(|id| Told { table: id, segments, functions: table.functions }))
    }

    /// Reads what the runtimes of these processes have told, while they are there.
    pub(crate) fn read_perf_maps(&mut self, processes: &HashSet<u32>) {
        for process in processes {
            let Some(known) = self.known.get(process) else { continue };
            if self.perf_maps.len() >= PERF_MAPS_MAX && !self.perf_maps.contains_key(process) {
                continue;
            }
            match PerfMap::read(known.pid) {
                Ok(Some(map)) => drop(self.perf_maps.insert(*process, map)),
                Ok(None) => {}
                Err(why) => tracing::info!(%why, "no perf map of process {}", known.pid),
            }
        }
    }
}

/// Where a process' stack begins, as the kernel chose it when the process began to run its program.
/// Two programs that a process runs one after the other have it at different places.
pub(crate) fn start_stack(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, is the second of the fields, and this one the 28th.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(25)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stack_begins_where_it_is_mapped() {
        let start = start_stack(std::process::id()).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let (first, rest) = line.split_once('-').unwrap();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let stack = hex(first)..hex(rest.split(' ').next().unwrap());
        assert!(stack.contains(&start), "{start:x} {stack:x?}");
    }
}
