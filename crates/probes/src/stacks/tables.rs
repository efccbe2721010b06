//! How the kernel half is told of the frames on a stack: files' tables, and where they lie in
//! processes.

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType, libbpf_sys};
use temblor_unwind::{Rule, Table};

use super::generated::types::{unwind_mapping, unwind_process, unwind_rule};
use super::kernel_table::{KernelTable, rule_as_told};
use crate::Error;
use crate::kernel;
use crate::object::Loaded;
use crate::plain::{Plain, as_bytes};

/// As `unwind.bpf.h` has them.
const TABLES_MAX: u32 = 4096;
const RULES_MAX: usize = 16384;
/// Of all tables: 128 MiB. A machine's programs and libraries together have a few million.
const ENTRIES_MAX: usize = 1 << 24;
/// As `unwind.h` has it.
pub(super) const MAPPINGS_MAX: usize = 512;

// The other half has as many.
const _: () = assert!(
    size_of::<unwind_process>() == 16 + MAPPINGS_MAX * size_of::<unwind_mapping>(),
    "as many mappings as in unwind.h"
);

/// A file's table in the kernel's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(u32);

/// Where a part of a process' memory lies that has code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeMapping {
    /// Its first address.
    pub begin: u64,
    /// The first address after it.
    pub end: u64,
    /// How frames are found there.
    pub frames: Frames,
}

/// How the frames of code are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// In a file's table.
    Table {
        /// The file's.
        table: TableId,
        /// What is to be taken from an address (wrapping) to have it as the file counts them.
        bias: u64,
    },
    /// By frame pointers: it has no table, as code that is made at run time.
    Pointers,
}

/// The tables that the kernel half has.
#[derive(Debug)]
pub(super) struct Tables {
    /// Where each table's places are counted from, and how many pages it has.
    bases: Vec<(u64, u32)>,
    rules: HashMap<Rule, u16>,
    /// The first is for what nothing is known of.
    rules_next: u16,
    /// Of all tables together: they are made of files that may be anybody's.
    entries: usize,
    /// Memory of the kernel's that they hold.
    pub(super) bytes: u64,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { bases: Vec::new(), rules: HashMap::new(), rules_next: 1, entries: 0, bytes: 0 }
    }

    /// Hands a file's table to the kernel half. None: there is nothing in it, or no room for it.
    pub(super) fn add(&mut self, loaded: &Loaded, table: &Table) -> Result<Option<TableId>, Error> {
        let numbers: Vec<u16> =
            table.rules.iter().map(|rule| self.number(loaded, *rule)).collect::<Result<_, _>>()?;
        let id = self.bases.len() as u32;
        let Some(told) = KernelTable::of(table, &numbers).filter(|_| id < TABLES_MAX) else {
            return Ok(None);
        };
        let array = told.as_told();
        if self.entries + array.len() > ENTRIES_MAX {
            return Ok(None);
        }
        self.entries += array.len();
        self.bytes += put_inner(loaded, "tables", id, &array)?;
        self.bases.push((told.base, told.pages()));
        Ok(Some(TableId(id)))
    }

    /// The kernel's number of a rule. Those for which there is no room have that of no rule.
    fn number(&mut self, loaded: &Loaded, rule: Rule) -> Result<u16, Error> {
        if let Some(number) = self.rules.get(&rule) {
            return Ok(*number);
        }
        if usize::from(self.rules_next) >= RULES_MAX {
            return Ok(0);
        }
        let number = self.rules_next;
        self.rules_next += 1;
        loaded.put::<u32, unwind_rule>("rules", &u32::from(number), &rule_as_told(rule))?;
        self.rules.insert(rule, number);
        Ok(number)
    }

    /// What the kernel half is told of a process. Those of its mappings that there is no room for
    /// are left out, first those without a table.
    pub(super) fn process(
        &self,
        start_stack: u64,
        mappings: &[CodeMapping],
    ) -> Box<unwind_process> {
        let mut told = Box::new(unwind_process::default());
        told.start_stack = start_stack;
        let mut sorted = mappings.to_vec();
        if sorted.len() > MAPPINGS_MAX {
            sorted.sort_by_key(|mapping| mapping.frames == Frames::Pointers);
            sorted.truncate(MAPPINGS_MAX);
        }
        sorted.sort_unstable_by_key(|mapping| mapping.begin);
        told.count = sorted.len() as u32;
        for (told, mapping) in told.mappings.iter_mut().zip(&sorted) {
            let (table, pages, bias) = match mapping.frames {
                Frames::Table { table: TableId(table), bias } => {
                    let (base, pages) = self.bases[table as usize];
                    (table, pages, bias.wrapping_add(base))
                }
                Frames::Pointers => (0, 0, 0),
            };
            let (begin, end) = (mapping.begin, mapping.end);
            *told = unwind_mapping { begin, end, bias, table, pages };
        }
        told
    }
}

/// Puts an array into an array of arrays, and says what memory it holds. It is as large as what it
/// holds.
fn put_inner<T: Plain>(
    loaded: &Loaded,
    outer: &'static str,
    at: u32,
    values: &[T],
) -> Result<u64, Error> {
    let failed = |source| Error::kernel(format!("keep a file's {outer}"), source);
    let count = values.len() as u32;
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_INNER_MAP,
        ..Default::default()
    };
    let size = size_of::<T>() as u32;
    let inner =
        MapHandle::create(MapType::Array, Some(outer), 4, size, count, &options).map_err(failed)?;
    let keys: Vec<u8> = (0..count).flat_map(u32::to_ne_bytes).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| as_bytes(value).to_vec()).collect();
    inner.update_batch(&keys, &bytes, count, MapFlags::ANY, MapFlags::ANY).map_err(failed)?;
    loaded.put_map(outer, &at, &inner)?;
    kernel::map_bytes(inner.as_fd()).map_err(|source| Error::System {
        doing: "read how much memory a file's table holds".into(),
        source,
    })
}
