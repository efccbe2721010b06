//! The programs of call frame information, run from first to last.

use std::collections::HashMap;
use std::ops::Range;

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, EhFrame, EndianSlice, Error as Malformed,
    FrameDescriptionEntry, LittleEndian, Register, RegisterRule, UnwindContext,
    UnwindContextStorage, UnwindOffset, UnwindSection, UnwindTableRow,
};

use crate::bytes::Unreadable;
use crate::elf::{Section, Segment};
use crate::translate::translate;
use crate::{Error, Missed, ROWS_MAX, RULES_MAX, Row, Rule};

/// More than a browser has. Each takes a few dozen bytes while a table is made.
pub const ENTRIES_MAX: usize = 1 << 22;

/// What entries share is 24 bytes long, or 40. It is run again for each of them: with a longer one,
/// a file could have the time of its length squared.
const SHARED_BYTES_MAX: usize = 512;

/// What entries share, kept at a time. Linkers merge what is the same.
const SHARED_MAX: usize = 1024;

pub(crate) type Slice<'data> = EndianSlice<'data, LittleEndian>;
type Shared<'data> = CommonInformationEntry<Slice<'data>>;

/// Without `Vec`s, so that no file makes them grow.
pub(crate) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    /// All of the general registers and half of the vectors.
    type Rules = [(Register, RegisterRule<usize>); 32];
    /// States that are remembered, one within another: compilers take one or two.
    type Stack = [UnwindTableRow<usize, Self>; 8];
}

/// The rows of one entry.
pub(crate) struct Span {
    pub(crate) addresses: Range<u64>,
    /// Which of [`Read::rows`].
    pub(crate) rows: Range<usize>,
}

/// All that was read.
#[derive(Default)]
pub(crate) struct Read {
    /// Sorted; none overlaps another.
    pub(crate) spans: Vec<Span>,
    /// In the file's order.
    pub(crate) rows: Vec<Row>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) missed: Missed,
}

impl Read {
    /// Adds a row of the entry whose rows begin at `first`, if it says something new.
    fn push(&mut self, first: usize, row: Row) -> Result<(), Error> {
        if self.rows[first..].last().is_some_and(|last| last.rule == row.rule) {
            return Ok(());
        }
        if self.rows.len() == ROWS_MAX {
            return Err(Error::TooManyRows);
        }
        self.rows.push(row);
        Ok(())
    }
}

/// Reads a file's sections, one after the other.
pub(crate) struct Reader<'segments> {
    segments: &'segments [Segment],
    read: Read,
    numbers: HashMap<Rule, u16>,
    entries: usize,
    context: Box<UnwindContext<usize, Storage>>,
}

impl<'segments> Reader<'segments> {
    pub(crate) fn new(segments: &'segments [Segment]) -> Self {
        Self {
            segments,
            read: Read::default(),
            numbers: HashMap::new(),
            entries: 0,
            context: Box::new(UnwindContext::new_in()),
        }
    }

    /// Reads `.eh_frame`.
    pub(crate) fn read_eh_frame(&mut self, section: &Section<'_>) -> Result<(), Error> {
        let mut frames = EhFrame::new(&section.bytes, LittleEndian);
        frames.set_address_size(8);
        self.read_section(&frames, section)
    }

    /// Reads `.debug_frame`, for what is not known yet.
    pub(crate) fn read_debug_frame(&mut self, section: &Section<'_>) -> Result<(), Error> {
        let mut frames = DebugFrame::new(&section.bytes, LittleEndian);
        frames.set_address_size(8);
        self.read_section(&frames, section)
    }

    /// A section is there that cannot be read.
    pub(crate) fn miss_section(&mut self) {
        self.read.missed.sections += 1;
    }

    pub(crate) fn finish(self) -> Read {
        self.read
    }

    /// The entries' lengths lead from one to the next. Where one is malformed, the next may be
    /// sound; and in a section, linkers have been seen to go on behind a zero, which should end it.
    fn read_section<'data, S>(
        &mut self,
        frames: &S,
        section: &'data Section<'_>,
    ) -> Result<(), Error>
    where
        S: UnwindSection<Slice<'data>>,
        S::Offset: UnwindOffset<usize>,
    {
        let bases = BaseAddresses::default().set_eh_frame(section.address);
        let mut program =
            Program { frames, bases: &bases, bytes: &section.bytes, shared: HashMap::new() };
        let known = self.read.spans.len();
        let mut offset = 0;
        while offset < section.bytes.len() {
            let Some(end) = entry_end(&section.bytes, offset) else {
                self.read.missed.sections += 1;
                break;
            };
            if section.ends_with_zero && section.bytes[offset..].starts_with(&[0; 4]) {
                break;
            }
            match program.entry(offset) {
                Ok(Some(entry)) => self.read_entry(&program, &entry, known)?,
                Ok(None) => {}
                Err(Unreadable) => self.read.missed.malformed += 1,
            }
            offset = end;
        }
        self.settle();
        Ok(())
    }

    fn read_entry<'data, S>(
        &mut self,
        program: &Program<'_, 'data, S>,
        entry: &FrameDescriptionEntry<Slice<'data>>,
        known: usize,
    ) -> Result<(), Error>
    where
        S: UnwindSection<Slice<'data>>,
    {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(Error::TooManyEntries);
        }
        let start = entry.initial_address();
        let addresses = start..start.saturating_add(entry.len());
        if addresses.is_empty() || overlaps(&self.read.spans[..known], &addresses) {
            return Ok(());
        }
        if !self.segments.iter().any(|segment| segment.has(&addresses)) {
            self.read.missed.outside_code += 1;
            return Ok(());
        }
        let first = self.read.rows.len();
        self.run(program, entry, &addresses)?;
        if self.read.rows.len() > first {
            self.read.spans.push(Span { addresses, rows: first..self.read.rows.len() });
        }
        Ok(())
    }

    /// Adds the rows of one entry. Where its program is malformed, what it said before stays: so
    /// do others read it, and assemblers have been seen to write such ends.
    fn run<'data, S>(
        &mut self,
        program: &Program<'_, 'data, S>,
        entry: &FrameDescriptionEntry<Slice<'data>>,
        addresses: &Range<u64>,
    ) -> Result<(), Error>
    where
        S: UnwindSection<Slice<'data>>,
    {
        let read = &mut self.read;
        let first = read.rows.len();
        let mut reached = addresses.start;
        let mut rows = entry.rows(program.frames, program.bases, &mut self.context);
        while reached < addresses.end {
            let row = match rows.as_mut().map(|rows| rows.next_row()) {
                Ok(Ok(Some(row))) => row,
                Ok(Ok(None)) => break,
                Ok(Err(_)) | Err(_) => {
                    read.missed.malformed += 1;
                    if read.rows.len() > first {
                        read.push(first, Row { address: reached, rule: None })?;
                    }
                    break;
                }
            };
            // Several steps may be of no length.
            let address = reached;
            reached = reached.max(row.end_address());
            if address < reached {
                let rule = translate(program.frames, entry.cie(), row);
                let rule = Some(number(&mut self.numbers, &mut read.rules, rule)?);
                read.push(first, Row { address, rule })?;
            }
        }
        Ok(())
    }

    /// Sorts the spans. Of two that overlap, the one that begins first stays, and of two that
    /// begin together, the one that is first in the file.
    fn settle(&mut self) {
        self.read.spans.sort_by_key(|span| span.addresses.start);
        let mut end = 0;
        let before = self.read.spans.len();
        self.read.spans.retain(|span| {
            let stays = span.addresses.start >= end;
            if stays {
                end = span.addresses.end;
            }
            stays
        });
        let overlapping = before - self.read.spans.len();
        self.read.missed.overlapping += u32::try_from(overlapping).unwrap_or(u32::MAX);
    }
}

/// A section's entries and what they share.
struct Program<'a, 'data, S> {
    frames: &'a S,
    bases: &'a BaseAddresses,
    bytes: &'data [u8],
    shared: HashMap<usize, Shared<'data>>,
}

impl<'data, S> Program<'_, 'data, S>
where
    S: UnwindSection<Slice<'data>>,
    S::Offset: UnwindOffset<usize>,
{
    /// The entry at an offset; none if it is not one of addresses.
    fn entry(
        &mut self,
        offset: usize,
    ) -> Result<Option<FrameDescriptionEntry<Slice<'data>>>, Unreadable> {
        let partial = match self.frames.partial_fde_from_offset(self.bases, offset.into()) {
            Ok(partial) => partial,
            Err(Malformed::NotCiePointer(_) | Malformed::NoEntryAtGivenOffset(_)) => {
                return Ok(None);
            }
            Err(_) => return Err(Unreadable),
        };
        let shared = self.shared(UnwindOffset::into(partial.cie_offset()))?;
        partial.parse(|_, _, _| Ok(shared.clone())).map(Some).map_err(|_| Unreadable)
    }

    fn shared(&mut self, offset: usize) -> Result<Shared<'data>, Unreadable> {
        if let Some(shared) = self.shared.get(&offset) {
            return Ok(shared.clone());
        }
        let end = entry_end(self.bytes, offset).ok_or(Unreadable)?;
        if end - offset > SHARED_BYTES_MAX {
            return Err(Unreadable);
        }
        let shared =
            self.frames.cie_from_offset(self.bases, offset.into()).map_err(|_| Unreadable)?;
        if self.shared.len() == SHARED_MAX {
            self.shared.clear();
        }
        self.shared.insert(offset, shared.clone());
        Ok(shared)
    }
}

/// Where the entry at an offset ends, if that is within the section.
fn entry_end(bytes: &[u8], offset: usize) -> Option<usize> {
    let (length, rest) = bytes.get(offset..)?.split_first_chunk()?;
    let (length, prefix) = match u32::from_le_bytes(*length) {
        u32::MAX => (u64::from_le_bytes(*rest.first_chunk()?), 12),
        length => (u64::from(length), 4),
    };
    let end = (offset + prefix).checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some(end)
}

fn overlaps(sorted: &[Span], addresses: &Range<u64>) -> bool {
    let at = sorted.partition_point(|span| span.addresses.end <= addresses.start);
    sorted.get(at).is_some_and(|span| span.addresses.start < addresses.end)
}

/// Each rule has one number.
fn number(
    numbers: &mut HashMap<Rule, u16>,
    rules: &mut Vec<Rule>,
    rule: Rule,
) -> Result<u16, Error> {
    if let Some(number) = numbers.get(&rule) {
        return Ok(*number);
    }
    let number = u16::try_from(rules.len()).map_err(|_| Error::TooManyRules)?;
    rules.push(rule);
    numbers.insert(rule, number);
    Ok(number)
}

const _: () = assert!(RULES_MAX == u16::MAX as usize + 1, "a rule's number is 16 bits long");
