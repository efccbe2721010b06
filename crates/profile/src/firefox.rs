//! The Firefox Profiler's file format, its "processed" one: threads with their samples in time.

use std::time::Duration;

use fxprof_processed_profile::{
    CategoryHandle, CpuDelta, Frame, FrameFlags, FrameHandle, FrameInfo, ProcessHandle,
    Profile as File, ReferenceTimestamp, SamplingInterval, ThreadHandle, Timestamp, WeightType,
};
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::graph::{Names, NodeId};
use crate::profile::{LabelValue, Profile, Sample};

/// What lies between two samples where the profile does not say it.
const PERIOD_NS: u64 = 1_000_000;

/// What a sample's weight is counted in: the format knows times a stack was seen, and bytes.
#[derive(Clone, Copy)]
enum Weight {
    /// Once for each period of time.
    Periods(u64),
    Bytes,
    Times,
}

/// One of a profile's types as a file. Samples stand where their times say; those without stand one
/// after the other, a period from each to the next for each time that the stack was seen. What is
/// negative is left out. The format's weights end at 2^31.
///
/// # Errors
///
/// Where the profile has no such type.
///
/// # Panics
///
/// Never: texts and figures can always be written as JSON.
pub fn write(profile: &Profile, kind: Option<&str>, name: &str) -> Result<Vec<u8>, Error> {
    let index = profile.type_index(kind)?;
    let period_ns = period_ns(profile);
    let unit = profile.types[index].unit.as_str();
    let mut writer = Writer::new(profile, name, period_ns);
    writer.weight = match unit {
        "bytes" => Weight::Bytes,
        "nanoseconds" => Weight::Periods(period_ns),
        _ => Weight::Times,
    };
    let mut next_ns = 0_u64;
    let mut samples: Vec<(u64, &Sample, i32)> = Vec::with_capacity(profile.samples.len());
    for sample in profile.samples.iter().filter(|sample| sample.values[index] > 0) {
        let weight = writer.weight_of(sample.values[index]);
        let at_ns = match sample.time_ns() {
            Some(time_ns) => u64::try_from(time_ns).unwrap_or(0),
            None => next_ns,
        };
        if sample.time_ns().is_none() {
            let periods = if matches!(writer.weight, Weight::Bytes) { 1 } else { weight };
            let lasts_ns = u64::from(periods.unsigned_abs()).saturating_mul(period_ns);
            next_ns = next_ns.saturating_add(lasts_ns);
        }
        samples.push((at_ns, sample, weight));
    }
    // Each thread's samples have to stand in the order of time.
    samples.sort_by_key(|(at_ns, ..)| *at_ns);
    for (at_ns, sample, weight) in samples {
        writer.add(at_ns, sample, weight);
    }
    Ok(serde_json::to_vec(&writer.file).expect("texts and figures can be written"))
}

fn period_ns(profile: &Profile) -> u64 {
    let is_time = profile.period_type.as_ref().is_some_and(|of| of.unit == "nanoseconds");
    let period = u64::try_from(profile.period).ok().filter(|period| is_time && *period > 0);
    period.unwrap_or(PERIOD_NS)
}

struct Writer<'of> {
    file: File,
    names: Names,
    name: &'of str,
    weight: Weight,
    processes: FxHashMap<Option<i64>, ProcessHandle>,
    threads: FxHashMap<(Option<i64>, Option<&'of str>), ThreadHandle>,
    frames: FxHashMap<(ThreadHandle, NodeId), FrameHandle>,
}

impl<'of> Writer<'of> {
    fn new(profile: &Profile, name: &'of str, period_ns: u64) -> Self {
        let began = Duration::from_nanos(u64::try_from(profile.time_ns).unwrap_or(0));
        let began = ReferenceTimestamp::from_duration_since_unix_epoch(began);
        let mut file = File::new(name, began, SamplingInterval::from_nanos(period_ns));
        // The names are known; there is nothing to be looked up.
        file.set_symbolicated(true);
        Self {
            file,
            names: Names::of(profile),
            name,
            weight: Weight::Times,
            processes: FxHashMap::default(),
            threads: FxHashMap::default(),
            frames: FxHashMap::default(),
        }
    }

    fn weight_of(&self, value: i64) -> i32 {
        let weight = match self.weight {
            Weight::Bytes | Weight::Times => value,
            // The format's own times are whole milliseconds, which is as much as a period or less.
            Weight::Periods(period_ns) => {
                let periods = (value.unsigned_abs() + period_ns / 2) / period_ns;
                i64::try_from(periods).unwrap_or(i64::MAX).max(1)
            }
        };
        i32::try_from(weight).unwrap_or(i32::MAX)
    }

    fn add(&mut self, at_ns: u64, sample: &'of Sample, weight: i32) {
        let at = Timestamp::from_nanos_since_reference(at_ns);
        let thread = self.thread(sample);
        let mut stack = None;
        for (name, _) in self.names.walk(sample) {
            let frame = *self.frames.entry((thread, name)).or_insert_with(|| {
                let text = self.file.intern_string(self.names.name(name));
                let category_pair = CategoryHandle::OTHER.into();
                let frame = Frame::Label(text);
                let info = FrameInfo { frame, category_pair, flags: FrameFlags::empty() };
                self.file.intern_frame(thread, info)
            });
            stack = Some(self.file.intern_stack(thread, stack, frame));
        }
        let took = match self.weight {
            Weight::Periods(period_ns) => {
                CpuDelta::from_nanos(u64::from(weight.unsigned_abs()).saturating_mul(period_ns))
            }
            Weight::Bytes | Weight::Times => CpuDelta::ZERO,
        };
        self.file.add_sample(thread, at, stack, took, weight);
    }

    fn thread(&mut self, sample: &'of Sample) -> ThreadHandle {
        let pid = label(sample, "pid").and_then(|value| match value {
            LabelValue::Figure(pid, _) => Some(*pid),
            LabelValue::Text(_) => None,
        });
        let name = label(sample, "thread").and_then(|value| match value {
            LabelValue::Text(name) => Some(name.as_str()),
            LabelValue::Figure(..) => None,
        });
        if let Some(thread) = self.threads.get(&(pid, name)) {
            return *thread;
        }
        let begin = Timestamp::from_nanos_since_reference(0);
        let number = u32::try_from(pid.unwrap_or(0)).unwrap_or(0);
        // A process' first thread would be shown under the process' name.
        let is_main = name.is_none();
        let file = &mut self.file;
        let process = *self.processes.entry(pid).or_insert_with(|| {
            let service = label(sample, "service").and_then(|value| match value {
                LabelValue::Text(name) => Some(name.as_str()),
                LabelValue::Figure(..) => None,
            });
            file.add_process(service.unwrap_or(self.name), number, begin)
        });
        // Threads are told apart by their names: their numbers are not known.
        let tid = self.threads.len() as u32;
        let thread = file.add_thread(process, tid, begin, is_main);
        file.set_thread_name(thread, name.unwrap_or("all threads"));
        let weight_type = match self.weight {
            Weight::Bytes => WeightType::Bytes,
            Weight::Periods(_) | Weight::Times => WeightType::Samples,
        };
        file.set_thread_samples_weight_type(thread, weight_type);
        self.threads.insert((pid, name), thread);
        thread
    }
}

fn label<'of>(sample: &'of Sample, key: &str) -> Option<&'of LabelValue> {
    sample.labels.iter().find(|label| label.key == key).map(|label| &label.value)
}
