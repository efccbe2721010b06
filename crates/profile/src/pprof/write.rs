//! From a profile to bytes: the same profile is always the same bytes.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use rustc_hash::FxHashMap;

use super::wire;
use crate::profile::{
    Function, FunctionId, Label, LabelValue, Location, LocationId, Mapping, MappingId, Profile,
    Sample, ValueType,
};

/// The profile as a file, compressed.
#[must_use]
pub fn write(profile: &Profile) -> Vec<u8> {
    let bytes = Writer::default().profile(profile).encode_to_vec();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let written = packed.write_all(&bytes).and_then(|()| packed.finish());
    written.expect("memory takes what is written")
}

/// The table of strings as it grows.
struct Writer<'profile> {
    strings: Vec<Vec<u8>>,
    places: FxHashMap<&'profile str, i64>,
}

impl Default for Writer<'_> {
    fn default() -> Self {
        // The first one is the empty one.
        Self { strings: vec![Vec::new()], places: FxHashMap::from_iter([("", 0)]) }
    }
}

/// Ids begin with 1.
fn id(place: u32) -> u64 {
    u64::from(place) + 1
}

impl<'profile> Writer<'profile> {
    fn text(&mut self, text: &'profile str) -> i64 {
        *self.places.entry(text).or_insert_with(|| {
            self.strings.push(text.into());
            (self.strings.len() - 1) as i64
        })
    }

    fn profile(mut self, of: &'profile Profile) -> wire::Profile {
        wire::Profile {
            sample_type: of.types.iter().map(|one| self.value_type(one)).collect(),
            sample: of.samples.iter().map(|one| self.sample(one)).collect(),
            mapping: (0..).zip(&of.mappings).map(|(at, one)| self.mapping(at, one)).collect(),
            location: (0..).zip(&of.locations).map(|(at, one)| location(at, one)).collect(),
            function: (0..).zip(&of.functions).map(|(at, one)| self.function(at, one)).collect(),
            drop_frames: self.text(&of.drop_frames),
            keep_frames: self.text(&of.keep_frames),
            time_nanos: of.time_ns,
            duration_nanos: of.duration_ns,
            period_type: of.period_type.as_ref().map(|one| self.value_type(one)),
            period: of.period,
            comment: of.comments.iter().map(|one| self.text(one)).collect(),
            default_sample_type: self.text(&of.default_type),
            doc_url: self.text(&of.doc_url),
            string_table: self.strings,
        }
    }

    fn value_type(&mut self, one: &'profile ValueType) -> wire::ValueType {
        wire::ValueType { kind: self.text(&one.kind), unit: self.text(&one.unit) }
    }

    fn sample(&mut self, one: &'profile Sample) -> wire::Sample {
        wire::Sample {
            location_id: one.stack.iter().map(|LocationId(place)| id(*place)).collect(),
            value: one.values.clone(),
            label: one.labels.iter().map(|label| self.label(label)).collect(),
        }
    }

    fn label(&mut self, one: &'profile Label) -> wire::Label {
        let mut label = wire::Label { key: self.text(&one.key), ..wire::Label::default() };
        match &one.value {
            LabelValue::Text(text) => label.text = self.text(text),
            LabelValue::Figure(figure, unit) => {
                (label.number, label.unit) = (*figure, self.text(unit));
            }
        }
        label
    }

    fn mapping(&mut self, place: u32, one: &'profile Mapping) -> wire::Mapping {
        wire::Mapping {
            id: id(place),
            memory_start: one.start,
            memory_limit: one.limit,
            file_offset: one.offset,
            filename: self.text(&one.file),
            build_id: self.text(&one.build_id),
            has_functions: one.has.functions,
            has_filenames: one.has.filenames,
            has_line_numbers: one.has.lines,
            has_inline_frames: one.has.inlines,
        }
    }

    fn function(&mut self, place: u32, one: &'profile Function) -> wire::Function {
        wire::Function {
            id: id(place),
            name: self.text(&one.name),
            system_name: self.text(&one.system_name),
            filename: self.text(&one.file),
            start_line: one.start_line,
        }
    }
}

fn location(place: u32, one: &Location) -> wire::Location {
    wire::Location {
        id: id(place),
        mapping_id: one.mapping.map_or(0, |MappingId(place)| id(place)),
        address: one.address,
        line: one
            .lines
            .iter()
            .map(|line| wire::Line {
                function_id: line.function.map_or(0, |FunctionId(place)| id(place)),
                line: line.line,
                column: line.column,
            })
            .collect(),
        is_folded: one.is_folded,
    }
}
