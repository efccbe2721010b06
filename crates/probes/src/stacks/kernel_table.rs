//! A file's table in the form that the kernel half searches: cut into pages, so that few rows are
//! to be searched. Pure, so that it can be tested without a kernel.

use temblor_unwind::{Base, Cfa, Frame, Row, Rule, Saved, Table};

use super::generated::types::{unwind_cfa, unwind_rule, unwind_saved};

/// As `unwind.h` has it.
pub(super) const PAGE_BITS: u32 = 10;
/// 4 GiB of code: no program has so much, but a file may say so.
const PAGES_MAX: u64 = 1 << 22;

/// What the kernel half is given of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelTable {
    /// The address, as the file counts them, from which places in the table are counted.
    pub(super) base: u64,
    /// Where each page's rows begin, and where the last one's end.
    pub(super) pages: Vec<u32>,
    /// The lowest bits of an address, and the number of a rule.
    pub(super) rows: Vec<(u16, u16)>,
}

impl KernelTable {
    /// Of a table whose rules have these numbers; the first number is for what nothing is known of.
    /// None: it is empty, or spread over more addresses than code can have.
    pub(super) fn of(table: &Table, numbers: &[u16]) -> Option<Self> {
        let (first, last) = (table.rows.first()?.address, table.rows.last()?.address);
        let base = first >> PAGE_BITS << PAGE_BITS;
        if (last - base) >> PAGE_BITS >= PAGES_MAX {
            return None;
        }
        let mut told = Self { base, pages: Vec::new(), rows: Vec::new() };
        let number = |row: &Row| row.rule.map_or(0, |rule| numbers[usize::from(rule)]);
        // Of nothing before the first row.
        let mut holds = 0;
        let mut rows = table.rows.iter().peekable();
        for page in 0..=((last - base) >> PAGE_BITS) {
            let begin = base + (page << PAGE_BITS);
            told.pages.push(told.rows.len() as u32);
            if rows.peek().is_some_and(|row| row.address > begin) {
                told.rows.push((0, holds));
            }
            while let Some(row) = rows.next_if(|row| (row.address - base) >> PAGE_BITS == page) {
                holds = number(row);
                told.rows.push((low(row.address), holds));
            }
        }
        told.pages.push(told.rows.len() as u32);
        Some(told)
    }

    /// How many pages there are.
    pub(super) fn pages(&self) -> u32 {
        self.pages.len() as u32 - 1
    }

    /// One array: where the rows of each page begin in it, then the rows.
    pub(super) fn as_told(&self) -> Vec<u32> {
        let begins = self.pages.len() as u32;
        let pages = self.pages.iter().map(|begin| begin + begins);
        let rows = self.rows.iter().map(|(low, rule)| u32::from(*low) | u32::from(*rule) << 16);
        pages.chain(rows).collect()
    }
}

/// An address' place in its page.
fn low(address: u64) -> u16 {
    (address & ((1 << PAGE_BITS) - 1)) as u16
}

/// A rule as the kernel half follows it. What it cannot follow it is not told how to.
pub(super) fn rule_as_told(rule: Rule) -> unwind_rule {
    let told = |cfa: unwind_cfa| unwind_rule { cfa, ..unwind_rule::default() };
    let Frame { cfa, frame_pointer, return_address } = match rule {
        Rule::Frame(frame) => frame,
        Rule::Signal => return told(unwind_cfa::UNWIND_CFA_SIGNAL),
        Rule::Root => return told(unwind_cfa::UNWIND_CFA_ROOT),
        Rule::Unsupported(_) => return told(unwind_cfa::UNWIND_CFA_UNSUPPORTED),
    };
    let (cfa, cfa_offset, cfa_plus) = match cfa {
        Cfa::At { base: Base::StackPointer, offset } => (unwind_cfa::UNWIND_CFA_STACK, offset, 0),
        Cfa::At { base: Base::FramePointer, offset } => (unwind_cfa::UNWIND_CFA_FRAME, offset, 0),
        Cfa::Deref { base: Base::StackPointer, offset, plus } => {
            (unwind_cfa::UNWIND_CFA_AT_STACK, offset, plus)
        }
        Cfa::Deref { base: Base::FramePointer, offset, plus } => {
            (unwind_cfa::UNWIND_CFA_AT_FRAME, offset, plus)
        }
        Cfa::Plt { pushed_from } => (unwind_cfa::UNWIND_CFA_STUB, pushed_from.into(), 0),
        Cfa::Register { .. } => return told(unwind_cfa::UNWIND_CFA_UNSUPPORTED),
    };
    let (saved, saved_offset) = match frame_pointer {
        Saved::Unchanged => (unwind_saved::UNWIND_SAVED_UNCHANGED, 0),
        Saved::AtCfa(offset) => (unwind_saved::UNWIND_SAVED_AT_CFA, offset),
        Saved::At { base: Base::StackPointer, offset } => {
            (unwind_saved::UNWIND_SAVED_AT_STACK, offset)
        }
        Saved::At { base: Base::FramePointer, offset } => {
            (unwind_saved::UNWIND_SAVED_AT_FRAME, offset)
        }
        Saved::Unsupported => (unwind_saved::UNWIND_SAVED_UNKNOWN, 0),
    };
    unwind_rule { cfa, cfa_offset, cfa_plus, saved, saved_offset, return_offset: return_address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    /// As the kernel half searches it.
    fn found(told: &KernelTable, address: u64) -> Option<u16> {
        let (array, place) = (told.as_told(), address.checked_sub(told.base)?);
        let page = usize::try_from(place >> PAGE_BITS).unwrap();
        if page >= told.pages() as usize {
            return None;
        }
        let (mut at, end) = (array[page] as usize, array[page + 1] as usize);
        let mut count = end - at;
        while count / 2 > 0 {
            let middle = at + count / 2;
            if array[middle] & 0xffff <= u32::from(low(place)) {
                (at, count) = (middle, count - count / 2);
            } else {
                count /= 2;
            }
        }
        Some((array[at] >> 16) as u16).filter(|number| *number != 0)
    }

    proptest! {
        #[test]
        fn every_address_has_the_rule_that_the_table_has(
            rows in btree_map(0x3_0000..0x9_0000_u64, proptest::option::of(0..3_u16), 1..200),
            asked in proptest::collection::vec(0x2_0000..0xa_0000_u64, 100),
        ) {
            let rows: Vec<Row> =
                rows.into_iter().map(|(address, rule)| Row { address, rule }).collect();
            let table = Table { rows, rules: vec![Rule::Root; 3], ..Table::default() };
            let told = KernelTable::of(&table, &[5, 6, 7]).unwrap();
            let of_rows = |row: &Row| [row.address - 1, row.address, row.address + 1];
            for address in table.rows.iter().flat_map(of_rows).chain(asked) {
                let after = table.rows.partition_point(|row| row.address <= address);
                let row = after.checked_sub(1).map(|at| table.rows[at]);
                let expected = row.and_then(|row| row.rule).map(|rule| rule + 5);
                // Behind the last page is nothing to be found.
                let last = table.rows.last().unwrap();
                let is_behind = address >> PAGE_BITS > last.address >> PAGE_BITS;
                let expected = expected.filter(|_| !is_behind);
                prop_assert_eq!(found(&told, address), expected, "{:x}", address);
            }
        }
    }

    #[test]
    fn what_is_spread_too_far_has_none() {
        let row = |address| Row { address, rule: None };
        let table = Table { rows: vec![row(0), row(u64::MAX)], ..Table::default() };
        assert_eq!(KernelTable::of(&table, &[]), None);
        assert_eq!(KernelTable::of(&Table::default(), &[]), None);
    }
}
