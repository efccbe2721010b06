//! What is said of a fault once, for everybody who reads or writes experiments.

use std::time::Duration;

/// A kind of fault.
#[derive(Debug)]
pub struct FaultSpec {
    /// `network.partition`.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// Who undoes it when this program dies, in a few words.
    pub undone_by: &'static str,
    /// What proves its effect.
    pub effect: &'static str,
    /// Its values.
    pub params: &'static [Param],
    /// Values of which at least one must be given, or exactly one.
    pub choices: &'static [Choice],
    /// Its dose can be changed while it is in place: ramps and steps.
    pub levels: bool,
    /// It is over as soon as it is done.
    pub instant: bool,
}

impl PartialEq for FaultSpec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// One value that a fault takes.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// It must be given.
    pub required: bool,
    /// What it is when it is left out, as it would be written.
    pub default: Option<&'static str>,
    /// What it says, in a sentence.
    pub what: &'static str,
}

/// What a value may be. Bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A target that is acted on.
    Target,
    /// A target that is only named.
    Other,
    /// Targets and addresses.
    Peers,
    /// One port.
    Port,
    /// One port or several.
    Ports,
    /// A length of time.
    Duration {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// A length of time with a sign.
    Offset {
        /// At most, either way.
        max: Duration,
    },
    /// A share, as a percentage.
    Share {
        /// At least, 0 to 1.
        min: f64,
        /// At most, 0 to 1.
        max: f64,
    },
    /// A number with a fraction.
    Number {
        /// At least.
        min: f64,
        /// At most.
        max: f64,
    },
    /// A whole number.
    Count {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// An amount of memory or disk.
    Bytes {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// Bytes in a second.
    BytesPerSecond {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// Operations in a second.
    PerSecond {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A signal, by name or number.
    Signal,
    /// Any text.
    Text,
    /// Texts.
    Texts,
    /// An absolute path.
    Path,
    /// Yes or no.
    Flag,
}

/// Values that are alternatives.
#[derive(Debug)]
pub enum Choice {
    /// Exactly one of them.
    ExactlyOne(&'static [&'static str]),
    /// One of them or more.
    AtLeastOne(&'static [&'static str]),
}

impl Param {
    pub(super) const fn new(name: &'static str, kind: Kind, what: &'static str) -> Self {
        Self { name, kind, required: false, default: None, what }
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}
