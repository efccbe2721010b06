//! What comes out: rows and the rules that they name.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{Reason, Rule};

/// More than a browser has. A table's memory is bounded by it: 16 bytes a row.
pub const ROWS_MAX: usize = 1 << 22;

/// As many as a row can tell apart; real files have a few hundred.
pub const RULES_MAX: usize = 1 << 16;

/// How each frame's caller is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Sorted by address, each address once, no two neighbours with the same rule. The last has
    /// no rule.
    pub rows: Vec<Row>,
    /// Each rule once.
    pub rules: Vec<Rule>,
    /// Whose addresses the file speaks of: functions, or parts of them where a compiler has put what
    /// is seldom run elsewhere. Sorted; none overlaps another. They are there, too, where a file was
    /// stripped of its functions' names.
    pub functions: Vec<Range<u64>>,
    /// What the table does not tell.
    pub missed: Missed,
}

/// From an address on, up to the next row's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// As the file counts addresses: what a process adds is not in it.
    pub address: u64,
    /// Index in [`Table::rules`]. None: the file says nothing of these addresses.
    pub rule: Option<u16>,
}

/// What of a file's frame information is not in its table, or not fully.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missed {
    /// Rows whose rule is [`Rule::Unsupported`].
    pub rows: BTreeMap<Reason, u32>,
    /// Rows whose CFA is known of the innermost frame only: [`crate::Cfa::Register`].
    pub rows_innermost_only: u32,
    /// Rows that do not tell the caller's rbp: [`crate::Saved::Unsupported`].
    pub rows_without_frame_pointer: u32,
    /// Entries (FDEs) that are malformed, if only at their end, or belong to one (a CIE) that is.
    pub malformed: u32,
    /// Entries for addresses that no executable segment has. Linkers leave them for functions that
    /// they removed.
    pub outside_code: u32,
    /// Entries for addresses of which an earlier entry had spoken.
    pub overlapping: u32,
    /// Sections that could not be read, or not to their ends.
    pub sections: u32,
}

impl Table {
    /// The rule for a program counter, as the file counts addresses.
    ///
    /// In all frames but the innermost and those that a signal interrupted, the program counter is
    /// behind a call, perhaps the function's last instruction: ask for the byte before.
    pub fn rule_at(&self, address: u64) -> Option<Rule> {
        let after = self.rows.partition_point(|row| row.address <= address);
        let row = self.rows.get(after.checked_sub(1)?)?;
        self.rules.get(usize::from(row.rule?)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reaches_from_its_address_to_the_next() {
        let unsupported = Rule::Unsupported(Reason::FarOffset);
        let table = Table {
            rows: [(10, Some(1)), (20, Some(0)), (30, None), (40, Some(1)), (50, None)]
                .map(|(address, rule)| Row { address, rule })
                .into(),
            rules: vec![Rule::Root, unsupported],
            ..Table::default()
        };
        for (address, rule) in [
            (0, None),
            (9, None),
            (10, Some(unsupported)),
            (19, Some(unsupported)),
            (20, Some(Rule::Root)),
            (29, Some(Rule::Root)),
            (30, None),
            (39, None),
            (40, Some(unsupported)),
            (50, None),
            (u64::MAX, None),
        ] {
            assert_eq!(table.rule_at(address), rule, "at {address}");
        }
        assert_eq!(Table::default().rule_at(0), None);
    }
}
