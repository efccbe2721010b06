//! From bytes to a profile, of which everything that refers to something else does so rightly.

use std::io::Read as _;

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use rustc_hash::FxHashMap;

use super::wire;
use crate::error::Error;
use crate::profile::{
    Function, FunctionId, Known, Label, LabelValue, Line, Location, LocationId, Mapping, MappingId,
    Profile, Sample, ValueType,
};

/// Of a profile that is not compressed any more: its figures take a few times as much in memory.
/// A profile of 400,000 stacks is a tenth of it.
const BYTES_MAX: usize = 256 << 20;
/// A message of nothing takes two bytes of a file, and forty times as much of memory.
const MESSAGES_MAX: usize = 1 << 24;

/// Reads a profile, compressed or not: which it is does not depend on what the file is called.
///
/// # Errors
///
/// Where it is damaged, larger than is held in memory, or refers to what it has not.
pub fn read(bytes: &[u8]) -> Result<Profile, Error> {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLarge { what: "bytes", limit: BYTES_MAX });
    }
    count(bytes)?;
    Reader::of(wire::Profile::decode(bytes)?)?.profile()
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        // One more tells what is too long from what just fits.
        .take(BYTES_MAX as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(Error::Compressed)?;
    Ok(unpacked)
}

/// Before anything is made of them, so that a small file cannot ask for much.
fn count(mut bytes: &[u8]) -> Result<(), Error> {
    let mut messages = 0;
    while !bytes.is_empty() {
        let (tag, kind) = decode_key(&mut bytes)?;
        skip_field(kind, tag, &mut bytes, DecodeContext::default())?;
        messages += usize::from(kind == WireType::LengthDelimited);
        if messages > MESSAGES_MAX {
            return Err(Error::TooLarge { what: "entries", limit: MESSAGES_MAX });
        }
    }
    Ok(())
}

fn malformed(what: impl Into<String>) -> Error {
    Error::Malformed { what: what.into() }
}

/// A file's ids, and where what they name stands here.
struct Ids {
    what: &'static str,
    places: FxHashMap<u64, u32>,
}

impl Ids {
    fn of(what: &'static str, ids: impl Iterator<Item = u64>) -> Result<Self, Error> {
        let mut places = FxHashMap::default();
        for (place, id) in (0_u32..).zip(ids) {
            if id == 0 {
                return Err(malformed(format!("a {what} has the id 0")));
            }
            if places.insert(id, place).is_some() {
                return Err(malformed(format!("two {what}s have the id {id}")));
            }
        }
        Ok(Self { what, places })
    }

    fn place(&self, id: u64) -> Result<u32, Error> {
        let place = self.places.get(&id).copied();
        place.ok_or_else(|| malformed(format!("there is no {} of id {id}", self.what)))
    }

    /// 0 stands for none.
    fn place_if_any(&self, id: u64) -> Result<Option<u32>, Error> {
        (id != 0).then(|| self.place(id)).transpose()
    }
}

struct Reader {
    wire: wire::Profile,
    strings: Vec<String>,
    mappings: Ids,
    functions: Ids,
    locations: Ids,
}

impl Reader {
    fn of(mut wire: wire::Profile) -> Result<Self, Error> {
        let strings = std::mem::take(&mut wire.string_table);
        if strings.first().is_some_and(|first| !first.is_empty()) {
            return Err(malformed("the first of its strings is not the empty one"));
        }
        let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        Ok(Self {
            strings: strings.into_iter().map(text).collect(),
            mappings: Ids::of("mapping", wire.mapping.iter().map(|one| one.id))?,
            functions: Ids::of("function", wire.function.iter().map(|one| one.id))?,
            locations: Ids::of("location", wire.location.iter().map(|one| one.id))?,
            wire,
        })
    }

    fn text(&self, place: i64) -> Result<String, Error> {
        // A profile of nothing may be without the table.
        if place == 0 {
            return Ok(String::new());
        }
        let text = usize::try_from(place).ok().and_then(|place| self.strings.get(place));
        text.cloned().ok_or_else(|| malformed(format!("there is no string of number {place}")))
    }

    fn profile(&self) -> Result<Profile, Error> {
        let wire = &self.wire;
        if wire.sample_type.is_empty() && !wire.sample.is_empty() {
            return Err(malformed("it has samples, and does not say what they count"));
        }
        Ok(Profile {
            types: all(&wire.sample_type, |one| self.value_type(one))?,
            default_type: self.text(wire.default_sample_type)?,
            samples: all(&wire.sample, |one| self.sample(one))?,
            mappings: all(&wire.mapping, |one| self.mapping(one))?,
            locations: all(&wire.location, |one| self.location(one))?,
            functions: all(&wire.function, |one| self.function(one))?,
            time_ns: wire.time_nanos,
            duration_ns: wire.duration_nanos,
            period: wire.period,
            period_type: wire.period_type.map(|one| self.value_type(&one)).transpose()?,
            comments: all(&wire.comment, |place| self.text(*place))?,
            doc_url: self.text(wire.doc_url)?,
            drop_frames: self.text(wire.drop_frames)?,
            keep_frames: self.text(wire.keep_frames)?,
        })
    }

    fn value_type(&self, one: &wire::ValueType) -> Result<ValueType, Error> {
        Ok(ValueType { kind: self.text(one.kind)?, unit: self.text(one.unit)? })
    }

    fn sample(&self, one: &wire::Sample) -> Result<Sample, Error> {
        let types = self.wire.sample_type.len();
        if one.value.len() != types {
            let values = one.value.len();
            return Err(malformed(format!("a sample has {values} values for {types} types")));
        }
        Ok(Sample {
            stack: all(&one.location_id, |id| self.locations.place(*id).map(LocationId))?,
            values: one.value.clone(),
            labels: all(&one.label, |label| self.label(label))?,
        })
    }

    fn label(&self, one: &wire::Label) -> Result<Label, Error> {
        let value = if one.text == 0 {
            LabelValue::Figure(one.number, self.text(one.unit)?)
        } else {
            LabelValue::Text(self.text(one.text)?)
        };
        Ok(Label { key: self.text(one.key)?, value })
    }

    fn mapping(&self, one: &wire::Mapping) -> Result<Mapping, Error> {
        Ok(Mapping {
            start: one.memory_start,
            limit: one.memory_limit,
            offset: one.file_offset,
            file: self.text(one.filename)?,
            build_id: self.text(one.build_id)?,
            has: Known {
                functions: one.has_functions,
                filenames: one.has_filenames,
                lines: one.has_line_numbers,
                inlines: one.has_inline_frames,
            },
        })
    }

    fn location(&self, one: &wire::Location) -> Result<Location, Error> {
        let line = |line: &wire::Line| {
            let function = self.functions.place_if_any(line.function_id)?.map(FunctionId);
            Ok(Line { function, line: line.line, column: line.column })
        };
        Ok(Location {
            mapping: self.mappings.place_if_any(one.mapping_id)?.map(MappingId),
            address: one.address,
            lines: all(&one.line, line)?,
            is_folded: one.is_folded,
        })
    }

    fn function(&self, one: &wire::Function) -> Result<Function, Error> {
        Ok(Function {
            name: self.text(one.name)?,
            system_name: self.text(one.system_name)?,
            file: self.text(one.filename)?,
            start_line: one.start_line,
        })
    }
}

fn all<From, To>(
    of: &[From],
    one: impl FnMut(&From) -> Result<To, Error>,
) -> Result<Vec<To>, Error> {
    of.iter().map(one).collect()
}
