//! What `readelf --debug-dump=frames-interp` says, row by row.
//!
//! It prints a table for each entry: an address, the CFA, and a column for each register that the
//! entry speaks of. Of an expression it says only that there is one.

use std::collections::{BTreeMap, BTreeSet};

use temblor_unwind::{Base, Cfa, Frame, Reason, Rule, Saved, Table};

/// A row's columns by name, the CFA's included.
type Columns = BTreeMap<String, String>;

/// What is said of a row's addresses, which are those up to the next one's.
struct Row {
    start: u64,
    end: u64,
    columns: Columns,
}

/// All that is said.
pub(crate) struct Said {
    rows: Vec<Row>,
    /// Ends of entries at which no other begins.
    ends: Vec<u64>,
}

impl Said {
    /// Reads `.eh_frame`, and `.debug_frame` only if there is no other.
    pub(crate) fn parse(text: &str) -> Self {
        let section = text
            .split("Contents of the ")
            .find(|section| section.starts_with(".eh_frame section"))
            .or_else(|| text.split("Contents of the ").nth(1))
            .unwrap();
        let mut shared: BTreeMap<&str, Columns> = BTreeMap::new();
        let mut rows = Vec::new();
        let (mut starts, mut ends) = (BTreeSet::new(), BTreeSet::new());
        // Blocks are separated by empty lines: a header, and rows if there is anything to say.
        for block in section.split("\n\n") {
            let mut lines = block.trim_start().lines();
            let Some(header) = lines.next() else { continue };
            let words: Vec<&str> = header.split_whitespace().collect();
            let mut block = columns(lines);
            match words[..] {
                [offset, _, _, "CIE", ..] => {
                    shared.insert(offset, block.into_values().next_back().unwrap_or_default());
                }
                [_, _, _, "FDE", cie, range, ..] => {
                    let (start, end) = entry(range);
                    let cie = &shared[cie.strip_prefix("cie=").unwrap()];
                    block.entry(start).or_insert_with(|| cie.clone());
                    // The linker's table of procedures has a step beyond its end if it is empty.
                    block.retain(|address, _| *address < end);
                    let next: Vec<u64> = block.keys().copied().skip(1).chain([end]).collect();
                    rows.extend(block.into_iter().zip(next).map(|((start, columns), end)| Row {
                        start,
                        end,
                        columns,
                    }));
                    starts.insert(start);
                    ends.insert(end);
                }
                _ => {}
            }
        }
        Self { rows, ends: ends.difference(&starts).copied().collect() }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Compares the first byte and the last of each row, and what is behind the last.
    pub(crate) fn disagreements(&self, table: &Table) -> Vec<String> {
        let mut disagreements = Vec::new();
        for Row { start, end, columns } in &self.rows {
            for address in [*start, end - 1] {
                let rule = table.rule_at(address);
                if !agrees(rule, columns) {
                    disagreements.push(format!("{address:x}: {columns:?}, and here {rule:?}"));
                }
            }
        }
        for end in &self.ends {
            if let Some(rule) = table.rule_at(*end) {
                disagreements.push(format!("{end:x}: nothing, and here {rule:?}"));
            }
        }
        disagreements
    }
}

fn entry(range: &str) -> (u64, u64) {
    let (start, end) = range.strip_prefix("pc=").unwrap().split_once("..").unwrap();
    let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
    (start, end)
}

/// The rows of a block by address, of several at one address the last.
fn columns<'text>(mut lines: impl Iterator<Item = &'text str>) -> BTreeMap<u64, Columns> {
    let Some(names) = lines.find(|line| line.trim_start().starts_with("LOC")) else {
        return BTreeMap::new();
    };
    let names: Vec<&str> = names.split_whitespace().skip(1).collect();
    lines
        .map(|line| {
            // A register is printed with another name for it: `r10 (r10)`.
            let mut words = line.split_whitespace().filter(|word| !word.starts_with('('));
            let address = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
            let columns =
                names.iter().zip(words).map(|(name, word)| (name.to_string(), word.to_owned()));
            (address, columns.collect())
        })
        .collect()
}

fn agrees(rule: Option<Rule>, columns: &Columns) -> bool {
    let column = |name: &str| columns.get(name).map_or("u", String::as_str);
    match (column("ra"), rule) {
        ("u", rule) => rule == Some(Rule::Root),
        // Only a frame that a signal interrupted has the return address in a computed place.
        ("exp", rule) => rule == Some(Rule::Signal),
        (ra, Some(Rule::Unsupported(Reason::ReturnAddress))) => !ra.starts_with("c"),
        (_, Some(Rule::Unsupported(Reason::StackPointer))) => column("rsp") != "u",
        (_, Some(Rule::Unsupported(Reason::CfaExpression))) => column("CFA") == "exp",
        (ra, Some(Rule::Frame(frame))) => {
            from_cfa(ra) == Some(frame.return_address)
                && column("rsp") == "u"
                && cfa_agrees(frame, column("CFA"))
                && frame_pointer_agrees(frame, column("rbp"))
        }
        _ => false,
    }
}

fn cfa_agrees(frame: Frame, word: &str) -> bool {
    match frame.cfa {
        Cfa::At { base: Base::StackPointer, offset } => word == format!("rsp{offset:+}"),
        Cfa::At { base: Base::FramePointer, offset } => word == format!("rbp{offset:+}"),
        Cfa::Register { register, offset } => {
            let names = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"];
            let name = match names.get(usize::from(register)) {
                Some(name) => (*name).to_owned(),
                None => format!("r{register}"),
            };
            word == format!("{name}{offset:+}")
        }
        Cfa::Plt { .. } | Cfa::Deref { .. } => word == "exp",
    }
}

fn frame_pointer_agrees(frame: Frame, word: &str) -> bool {
    match frame.frame_pointer {
        Saved::Unchanged => ["u", "s"].contains(&word),
        Saved::AtCfa(offset) => from_cfa(word) == Some(offset),
        Saved::At { .. } => word == "exp",
        Saved::Unsupported => !word.starts_with('c') && !["u", "s"].contains(&word),
    }
}

/// `c-16`: saved at the CFA less 16.
fn from_cfa(word: &str) -> Option<i32> {
    word.strip_prefix('c')?.parse().ok()
}
