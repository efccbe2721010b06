//! A profile in memory: which stacks were seen, and what each of them weighs.
//!
//! Its shape is that of the pprof format, whose words are used as well, because that format says the
//! most: whatever is read or collected becomes this, and everything that is shown is made from it.
//! Ids are places in the profile's own tables.

use crate::error::Error;

/// What a value counts, such as `cpu` in `nanoseconds`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ValueType {
    /// What is counted: `samples`, `cpu`, `inuse_space`.
    pub kind: String,
    /// In which unit: `count`, `nanoseconds`, `bytes`.
    pub unit: String,
}

impl ValueType {
    /// Of these words.
    pub fn new(kind: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { kind: kind.into(), unit: unit.into() }
    }
}

/// The place of a function in [`Profile::functions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub(crate) u32);

/// The place of a location in [`Profile::locations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocationId(pub(crate) u32);

/// The place of a mapping in [`Profile::mappings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingId(pub(crate) u32);

/// A part of a file as it lies in a process' memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The first address after it.
    pub limit: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file's path, or a name such as `[vdso]`.
    pub file: String,
    /// What tells this build of the file from every other; empty where it has none.
    pub build_id: String,
    /// Which of a location's figures are known already for what lies in here.
    pub has: Known,
}

/// What is known of the locations of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Known {
    /// The names of functions.
    pub functions: bool,
    /// The names of source files.
    pub filenames: bool,
    /// Lines of source files.
    pub lines: bool,
    /// Which functions were inlined into which.
    pub inlines: bool,
}

/// A function, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Function {
    /// As people read it.
    pub name: String,
    /// As the linker knows it.
    pub system_name: String,
    /// The source file; empty where it is not known.
    pub file: String,
    /// Its first line; 0 where it is not known.
    pub start_line: i64,
}

/// One line of a function's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function; none where nothing is known.
    pub function: Option<FunctionId>,
    /// 0 where it is not known.
    pub line: i64,
    /// 0 where it is not known.
    pub column: i64,
}

/// An address at which a program was, or was to return to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Location {
    /// Of which file it is.
    pub mapping: Option<MappingId>,
    /// For callers that of the call, not of what follows it; 0 where there is none.
    pub address: u64,
    /// What is there, innermost first: the last one is the function that the linker knows, those
    /// before it were inlined. Empty where nothing is known.
    pub lines: Vec<Line>,
    /// Whether several places of the same machine code share it.
    pub is_folded: bool,
}

/// Something that is known of a sample besides its stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Such as `thread`.
    pub key: String,
    /// What it is.
    pub value: LabelValue,
}

/// A text or a figure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LabelValue {
    /// A text.
    Text(String),
    /// A figure with its unit, which may be empty.
    Figure(i64, String),
}

/// A stack and what it weighs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sample {
    /// The leaf first, the thread's root last.
    pub stack: Vec<LocationId>,
    /// As many as the profile has types; negative in differences.
    pub values: Vec<i64>,
    /// What else is known of it.
    pub labels: Vec<Label>,
}

/// The label of samples that stand in a difference for what it is compared with.
pub(crate) const BASE_LABEL: &str = "pprof::base";

/// The label of samples of which it is known when they were taken, and its unit.
const TIME_LABEL: (&str, &str) = ("time", "nanoseconds");

impl Label {
    /// The time, where that is what it says.
    pub(crate) fn time_ns(&self) -> Option<i64> {
        let (key, of) = TIME_LABEL;
        match &self.value {
            LabelValue::Figure(time_ns, unit) if self.key == key && unit == of => Some(*time_ns),
            _ => None,
        }
    }
}

impl Sample {
    /// When it was taken, in nanoseconds since the profile was begun, where that is known.
    #[must_use]
    pub fn time_ns(&self) -> Option<i64> {
        self.labels.iter().find_map(Label::time_ns)
    }

    /// Whether it is of what a difference is compared with.
    pub(crate) fn is_of_base(&self) -> bool {
        let yes = LabelValue::Text("true".to_owned());
        self.labels.iter().any(|label| label.key == BASE_LABEL && label.value == yes)
    }
}

/// Stacks, their values, and what is needed to name them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// What each sample's values count.
    pub types: Vec<ValueType>,
    /// The type that is meant where none is named, as the profile itself says it.
    pub default_type: String,
    /// The stacks.
    pub samples: Vec<Sample>,
    /// The first is that of the program itself.
    pub mappings: Vec<Mapping>,
    /// Addresses.
    pub locations: Vec<Location>,
    /// Names.
    pub functions: Vec<Function>,
    /// When it was begun, in nanoseconds since 1970; 0 where it is not known.
    pub time_ns: i64,
    /// For how long it was collected; 0 where it has no duration.
    pub duration_ns: i64,
    /// What lies between two samples: information, never a factor.
    pub period: i64,
    /// What the period is counted in.
    pub period_type: Option<ValueType>,
    /// Free text.
    pub comments: Vec<String>,
    /// Where to read more.
    pub doc_url: String,
    /// What matches this, and everything beneath it, is the profiler's own doing. An RE2 expression.
    pub drop_frames: String,
    /// What is to be kept nevertheless.
    pub keep_frames: String,
}

impl Profile {
    /// The place of the type that is meant: the one that is named, or the profile's own choice, or
    /// the last one.
    ///
    /// # Errors
    ///
    /// Where there is none of that name, or no type at all.
    pub fn type_index(&self, named: Option<&str>) -> Result<usize, Error> {
        let place = |kind: &str| self.types.iter().position(|one| one.kind == kind);
        let last = || self.types.len().checked_sub(1).ok_or(Error::NoTypes);
        match named {
            Some(kind) => place(kind).ok_or_else(|| Error::UnknownType {
                named: kind.to_owned(),
                known: self.types.iter().map(|one| one.kind.clone()).collect(),
            }),
            None => place(&self.default_type).map_or_else(last, Ok),
        }
    }

    /// Why a profile of one of its types may have no samples, and what to do, where that is known.
    #[must_use]
    pub fn remedy_if_empty(&self, index: usize) -> Option<&'static str> {
        if self.samples.iter().any(|sample| sample.values[index] != 0) {
            return None;
        }
        match self.types.get(index)?.kind.as_str() {
            "contentions" | "delay" => Some(
                "a Go program counts what waits only once it has called \
                 runtime.SetBlockProfileRate or, for locks, runtime.SetMutexProfileFraction",
            ),
            "cpu" | "samples" => Some(
                "nothing of it was on a processor: put load on the program, or collect for longer",
            ),
            "inuse_objects" | "inuse_space" if !self.samples.is_empty() => Some(
                "nothing that was sampled is still in use; what was allocated is there with --type \
                 alloc_space",
            ),
            "alloc_objects" | "alloc_space" | "inuse_objects" | "inuse_space" => Some(
                "nothing large enough to be sampled was allocated: collect for longer, or let the \
                 program sample more often (in Go: runtime.MemProfileRate)",
            ),
            _ => None,
        }
    }

    /// A function of this profile.
    #[must_use]
    pub fn function(&self, id: FunctionId) -> &Function {
        &self.functions[id.0 as usize]
    }

    /// A location of this profile.
    #[must_use]
    pub fn location(&self, id: LocationId) -> &Location {
        &self.locations[id.0 as usize]
    }

    /// A mapping of this profile.
    #[must_use]
    pub fn mapping(&self, id: MappingId) -> &Mapping {
        &self.mappings[id.0 as usize]
    }

    /// The name of what a location's line is, as it is shown: the function's, or that of the file in
    /// brackets where no more is known.
    #[must_use]
    pub fn name_of(&self, location: &Location, line: Option<&Line>) -> String {
        let function = line.and_then(|line| line.function).map(|id| self.function(id));
        match function.map(|function| function.name.as_str()) {
            Some(name) if !name.is_empty() => shown(name),
            _ => match location.mapping.map(|id| self.mapping(id).file.as_str()) {
                Some(file) if !file.is_empty() => format!("[{}]", shown(base_name(file))),
                _ => "<unknown>".to_owned(),
            },
        }
    }
}

/// Without what a terminal would take for a command: names are whoever's the program is.
fn shown(name: &str) -> String {
    name.replace(char::is_control, " ")
}

/// What follows the last slash that has something behind it.
pub(crate) fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}
