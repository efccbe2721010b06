//! From places to names: the stacks become a profile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use temblor_host::target::Target;
use temblor_profile::{
    Builder, Function, Known, Label, LabelValue, Line, Location, LocationId, Mapping, MappingId,
    Profile, ValueType,
};
use temblor_symbols::{
    Debuginfod, DebuginfodSettings, FileId, Place, Symbolizer, Symbols, Unknown,
};

use crate::settings::Wanted;
use crate::spaces::Spaces;
use crate::stacks::{Frames, Seen, Stacks, UserFrame, Waker, Weight};

/// How the kernel calls its own image.
const KERNEL: &str = "[kernel.kallsyms]";
/// Where the kernel is interrupted: what it does from there on is not the thread's doing that
/// happened to be on the processor.
const INTERRUPTED: [&str; 4] =
    ["asm_sysvec_", "asm_common_interrupt", "asm_exc_nmi", "ret_from_intr"];

/// Through these the kernel came to our programs, from where a thread left its processor or was woken.
const OURS: [&str; 4] = ["bpf_prog_", "bpf_trace_run", "__traceiter_", "__bpf_trace_"];
/// And these say no more than that it left it.
const LEAVING: [&str; 2] = ["__schedule", "schedule"];

/// The names of the places that were seen.
#[derive(Debug, Default)]
pub(crate) struct Found {
    of_files: HashMap<(FileId, u64), Symbols>,
    of_kernel: HashMap<u64, Symbols>,
}

/// The profile of what was seen, by the names that were found.
pub(crate) fn name(
    stacks: &Stacks,
    found: &Found,
    spaces: &Spaces,
    targets: &[Target],
    wanted: Wanted,
) -> Profile {
    let types = wanted.types();
    let mut naming = Naming::new(found, spaces, types);
    // The same stacks are the same profile, in whatever order they are kept.
    let mut ordered: Vec<(&Seen, &Weight)> = stacks.weights.iter().collect();
    ordered.sort_unstable_by(|(left, left_weight), (right, right_weight)| {
        let heavier = right_weight.amount.cmp(&left_weight.amount);
        heavier.then_with(|| left.cmp(right))
    });
    // The first mapping is that of the program which the profile is of.
    let program = ordered.iter().find_map(|(seen, _)| spaces.program_of(seen.frames.process));
    if let Some(program) = program {
        naming.mapping(program);
    }
    for (seen, weight) in ordered {
        naming.add(seen, *weight, targets);
    }
    let mut profile = naming.builder.finish();
    if let Some(meant) = profile.types.last() {
        profile.default_type = meant.kind.clone();
    }
    profile
}

/// The frames of whoever was seen and of whoever woke it.
fn all_frames(seen: &Seen) -> impl Iterator<Item = &Frames> {
    let waker = seen.circumstances.waker.as_ref();
    [&seen.frames].into_iter().chain(waker.and_then(|waker| waker.frames.as_deref()))
}

fn text(key: &str, value: String) -> Label {
    Label { key: key.to_owned(), value: LabelValue::Text(value) }
}

/// The sizes that have so many bits.
fn sizes(bits: u32) -> String {
    let least = 1_u64.checked_shl(bits.saturating_sub(1)).unwrap_or(0);
    match bits {
        0 | 1 => format!("{bits} B"),
        _ => format!("{least} to {} B", least | (least - 1)),
    }
}

fn figure(key: &str, value: u64, unit: &str) -> Label {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    Label { key: key.to_owned(), value: LabelValue::Figure(value, unit.to_owned()) }
}

impl Found {
    /// All places of a file at once, of whichever profile they are: that is cheapest.
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a Stacks>, spaces: &Spaces) -> Self {
        let mut of_files: BTreeMap<FileId, BTreeSet<u64>> = BTreeMap::new();
        let mut of_kernel = BTreeSet::new();
        for frames in all.flat_map(|stacks| stacks.weights.keys()).flat_map(all_frames) {
            of_kernel.extend(frames.kernel.iter().copied());
            for frame in &frames.user {
                if let Some(Place::File { file, offset }) = frame.place {
                    of_files.entry(file).or_default().insert(offset);
                }
            }
        }
        let mut found = Self::default();
        // Only where the environment names servers.
        let debuginfod = DebuginfodSettings::from_env().map(Debuginfod::new);
        let mut symbolizer = Symbolizer::default().asking(debuginfod);
        for (file, offsets) in of_files {
            let offsets: Vec<u64> = offsets.into_iter().collect();
            let symbols = symbolizer.file(&spaces.files, file, &offsets);
            let places = offsets.into_iter().map(|offset| (file, offset));
            found.of_files.extend(places.zip(symbols));
        }
        for trouble in symbolizer.debuginfod().map(Debuginfod::troubles).unwrap_or_default() {
            tracing::warn!("{trouble}");
        }
        let addresses: Vec<u64> = of_kernel.into_iter().collect();
        let symbols = symbolizer.kernel(&addresses);
        found.of_kernel = addresses.into_iter().zip(symbols).collect();
        found
    }
}

struct Naming<'of> {
    spaces: &'of Spaces,
    found: &'of Found,
    builder: Builder,
    mappings: HashMap<FileId, MappingId>,
    kernel: Option<MappingId>,
}

impl<'of> Naming<'of> {
    fn new(found: &'of Found, spaces: &'of Spaces, types: Vec<ValueType>) -> Self {
        Self { spaces, found, builder: Builder::new(types), mappings: HashMap::new(), kernel: None }
    }

    fn add(&mut self, seen: &Seen, weight: Weight, targets: &[Target]) {
        let circumstances = &seen.circumstances;
        let mut stack = Vec::new();
        let waker = circumstances.waker.as_ref().map(|waker| self.add_waker(&mut stack, waker));
        self.add_frames(&mut stack, &seen.frames);
        let mut labels = vec![figure("pid", seen.pid.into(), "")];
        labels.push(text("thread", seen.thread.to_string()));
        if let Some(target) = seen.target.and_then(|at| targets.get(at)) {
            labels.push(text("service", target.service.clone()));
        }
        labels.extend(circumstances.state.map(|state| text("state", state.to_owned())));
        labels.extend(circumstances.age.map(|age| text("age", age.to_owned())));
        labels.extend(circumstances.size_bits.map(|bits| text("size", sizes(bits))));
        labels.extend(circumstances.lock.map(|lock| text("lock", format!("{lock:#x}"))));
        labels.extend(circumstances.time_ns.map(|time_ns| figure("time", time_ns, "nanoseconds")));
        labels.extend(waker.map(|waker| text("waker", waker)));
        let Weight { count, amount, live_count, live_amount, .. } = weight;
        let [count, live_count] = [count, live_count].map(|count| count.round() as i64);
        let values = [count, amount.cast_signed(), live_count, live_amount.cast_signed()];
        let types = self.builder.about().types.len();
        self.builder.sample(stack, &values[..types], labels);
    }

    fn add_frames(&mut self, stack: &mut Vec<LocationId>, frames: &Frames) {
        for address in self.without_ours(&frames.kernel) {
            stack.push(self.of_kernel(*address));
        }
        for frame in &frames.user {
            stack.push(self.of_user(frames.process, frame));
        }
        // Where the root is not there, it shows in the picture, with the reason.
        if let Some(why) = frames.end.reason() {
            stack.push(self.builder.named(&format!("[cut off: {why}]")));
        }
    }

    /// Frames of the kernel's, without those of the looking itself and of leaving the processor for it.
    fn without_ours<'frames>(&self, kernel: &'frames [u64]) -> &'frames [u64] {
        let starts = |address: &u64, with: &[&str]| {
            let name = self.outermost(*address);
            name.is_some_and(|name| with.iter().any(|start| name.starts_with(start)))
        };
        let ours = kernel.iter().take_while(|address| starts(address, &OURS)).count();
        if ours == 0 {
            return kernel;
        }
        let leaving =
            |address: &&u64| self.outermost(**address).is_some_and(|name| LEAVING.contains(&name));
        let after = &kernel[ours..];
        &after[after.iter().take_while(leaving).count()..]
    }

    /// The function of the kernel's that an address is in, whatever was inlined into it.
    fn outermost(&self, address: u64) -> Option<&str> {
        let symbols = self.found.of_kernel.get(&address)?;
        symbols.frames.last().map(|frame| &*frame.name)
    }

    /// Who woke the thread, on top of where the thread waited: the waker's root is the leaf, and
    /// where it woke the thread meets where the thread waited.
    /// Returns who it was.
    fn add_waker(&mut self, stack: &mut Vec<LocationId>, waker: &Waker) -> String {
        let thread = format!("{} ({})", waker.thread, waker.pid);
        let Some(frames) = &waker.frames else { return thread };
        let kernel = self.without_ours(&frames.kernel);
        let interrupted = kernel.iter().position(|address| {
            let name = self.outermost(*address);
            name.is_some_and(|name| INTERRUPTED.iter().any(|at| name.starts_with(at)))
        });
        let mut of_waker = Vec::new();
        let who = if let Some(last) = interrupted {
            for address in &kernel[..=last] {
                of_waker.push(self.of_kernel(*address));
            }
            of_waker.push(self.builder.named("[interrupt]"));
            "interrupt".to_owned()
        } else {
            self.add_frames(&mut of_waker, frames);
            of_waker.push(self.builder.named(&waker.thread));
            thread
        };
        stack.extend(of_waker.into_iter().rev());
        stack.push(self.builder.named("[woken by]"));
        who
    }

    fn of_kernel(&mut self, address: u64) -> LocationId {
        let mapping = *self.kernel.get_or_insert_with(|| {
            self.builder.mapping(Mapping {
                file: KERNEL.to_owned(),
                has: KNOWN,
                ..Mapping::default()
            })
        });
        let symbols = self.found.of_kernel.get(&address).cloned();
        let lines = self.lines(symbols.as_ref(), || format!("[kernel+{address:#x}]"));
        self.builder.location(Location { mapping: Some(mapping), address, lines, is_folded: false })
    }

    fn of_user(&mut self, process: u32, frame: &UserFrame) -> LocationId {
        match frame.place {
            Some(Place::File { file, offset }) => {
                let mapping = self.mapping(file);
                let symbols = self.found.of_files.get(&(file, offset)).cloned();
                let spaces = self.spaces;
                let lines = self.lines(symbols.as_ref(), || unnamed(spaces, file, offset));
                // As tools that read profiles expect it of a file that lies where it wants to.
                let held = spaces.files.get(file);
                let address = held.and_then(|held| held.address_of(offset)).unwrap_or(offset);
                self.builder.location(Location {
                    mapping: Some(mapping),
                    address,
                    lines,
                    is_folded: false,
                })
            }
            Some(Place::Jit) => {
                let map = self.spaces.perf_maps.get(&process);
                let name = map.and_then(|map| map.name(frame.address)).map(str::to_owned);
                self.builder.named(&name.unwrap_or_else(|| "[made at run time]".to_owned()))
            }
            Some(Place::Unknown(why)) => self.builder.named(match why {
                Unknown::Unmapped => "[no code]",
                Unknown::Uprobes => "[uprobes]",
                Unknown::Kernel => "[vsyscall]",
                Unknown::TooManyFiles => "[too many files]",
            }),
            None => self.builder.named("[unknown process]"),
        }
    }

    fn mapping(&mut self, file: FileId) -> MappingId {
        if let Some(mapping) = self.mappings.get(&file) {
            return *mapping;
        }
        let held = self.spaces.files.get(file);
        let path = held.map(|held| held.path().display().to_string()).unwrap_or_default();
        let build_id = held.and_then(|held| held.build_id()).map(ToString::to_string);
        // Whoever reads the profile need not look for more where everything was found.
        let is_named = |symbols: &Symbols| !symbols.frames.is_empty();
        let mut of_file = self.found.of_files.iter().filter(|((of, _), _)| *of == file);
        let has =
            if of_file.all(|(_, symbols)| is_named(symbols)) { KNOWN } else { Known::default() };
        let mapping = self.builder.mapping(Mapping {
            file: path,
            build_id: build_id.unwrap_or_default(),
            limit: u64::MAX,
            has,
            ..Mapping::default()
        });
        self.mappings.insert(file, mapping);
        mapping
    }

    fn lines(&mut self, symbols: Option<&Symbols>, unnamed: impl FnOnce() -> String) -> Vec<Line> {
        let frames = symbols.map_or(&[][..], |symbols| &symbols.frames);
        let mut lines: Vec<Line> = Vec::with_capacity(frames.len().max(1));
        for frame in frames {
            let function = self.builder.function(Function {
                name: frame.name.to_string(),
                system_name: frame.system_name.to_string(),
                file: frame.file.as_deref().unwrap_or_default().to_owned(),
                start_line: 0,
            });
            lines.push(Line {
                function: Some(function),
                line: frame.line.map_or(0, i64::from),
                column: frame.column.map_or(0, i64::from),
            });
        }
        if lines.is_empty() {
            let name = unnamed();
            let function = self.builder.function(Function {
                system_name: name.clone(),
                name,
                ..Function::default()
            });
            lines.push(Line { function: Some(function), line: 0, column: 0 });
        }
        lines
    }
}

/// All that can be known is.
const KNOWN: Known = Known { functions: true, filenames: true, lines: true, inlines: true };

/// The file, and where in it the function begins: who has its symbols can look further.
fn unnamed(spaces: &Spaces, file: FileId, offset: u64) -> String {
    let path = spaces.files.get(file).map(|held| held.path());
    let name = path.and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    let begins = spaces.function_at(file, offset).unwrap_or(offset);
    format!("[{}+{begins:#x}]", name.as_deref().unwrap_or("unknown file"))
}
