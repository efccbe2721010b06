//! The stacks that were seen, each once, with how often.

use std::collections::HashMap;
use std::sync::Arc;

use temblor_probes::cpu::{End, Stack};
use temblor_symbols::{Place, Space};

/// Different stacks. A program that has more has hardly two alike.
const DIFFERENT_MAX: usize = 1 << 18;
/// Their frames together: 96 MiB.
const FRAMES_MAX: usize = 1 << 22;

/// A frame of a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UserFrame {
    /// As the process had it. Of what is in a file it is left out: it is another one in each process.
    pub(crate) address: u64,
    /// None: where the process' code lies was not known.
    pub(crate) place: Option<Place>,
}

/// What tells one stack from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) target: Option<usize>,
    /// The process in the first pid namespace, and as we know it.
    pub(crate) process: u32,
    pub(crate) pid: u32,
    /// The thread's name.
    pub(crate) thread: Arc<str>,
    /// Innermost first.
    pub(crate) kernel: Box<[u64]>,
    /// Innermost first.
    pub(crate) user: Box<[UserFrame]>,
    pub(crate) end: End,
}

/// The threads' names. Few have names of their own.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, Arc<str>>);

impl Seen {
    /// A stack of a process whose code lies there.
    pub(crate) fn of(stack: Stack, space: Option<&Space>, names: &mut Names) -> Self {
        let frame = |address: u64| match space.map(|space| space.locate(address)) {
            place @ Some(Place::File { .. }) => UserFrame { address: 0, place },
            place => UserFrame { address, place },
        };
        let thread = match names.0.get(&stack.name) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = stack.name.as_str().into();
                if names.0.len() < DIFFERENT_MAX {
                    names.0.insert(stack.name, Arc::clone(&name));
                }
                name
            }
        };
        Self {
            target: stack.target,
            process: stack.process,
            pid: stack.pid,
            thread,
            kernel: stack.kernel.into(),
            user: stack.user.into_iter().map(frame).collect(),
            end: stack.end,
        }
    }
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    pub(crate) times: HashMap<Seen, u64>,
    /// Samples that were not kept, as there were too many different stacks.
    pub(crate) not_kept: u64,
    /// Of all different stacks.
    frames: usize,
}

impl Stacks {
    /// Counts a stack, unless there are too many.
    pub(crate) fn count(&mut self, seen: Seen) -> bool {
        if let Some(times) = self.times.get_mut(&seen) {
            *times += 1;
            return true;
        }
        let frames = self.frames + seen.kernel.len() + seen.user.len();
        if self.times.len() >= DIFFERENT_MAX || frames > FRAMES_MAX {
            self.not_kept += 1;
            return false;
        }
        self.frames = frames;
        self.times.insert(seen, 1);
        true
    }
}
