//! What is known while it is collected: the processes, and the stacks so far.

use std::collections::HashSet;
use std::ops::Range;

use temblor_event::clock;
use temblor_probes::stacks::{End, Sampler, Stack};
use temblor_symbols::Place;

use crate::error::Error;
use crate::parts::Cutting;
use crate::spaces::Spaces;
use crate::stacks::{Names, Seen, Weight};

#[derive(Debug)]
pub(crate) struct Collecting {
    pub(crate) spaces: Spaces,
    pub(crate) names: Names,
    pub(crate) cutting: Cutting,
    /// Processes that have code which they made.
    pub(crate) made_code: HashSet<u32>,
    /// Processes that came and were looked at.
    pub(crate) looked: u64,
}

impl Collecting {
    pub(crate) fn new(parts: usize) -> Self {
        Self {
            spaces: Spaces::new(),
            names: Names::default(),
            cutting: Cutting::new(parts),
            made_code: HashSet::new(),
            looked: 0,
        }
    }

    /// Where the stack's thread was. Its process is looked at if it is new.
    pub(crate) fn locate(&mut self, sampler: &mut Sampler, stack: Stack) -> Result<Seen, Error> {
        let process = stack.process;
        let has_user = stack.end != End::NoUser;
        let is_new = has_user && stack.known_as != Some(process);
        if is_new || stack.end == End::NoMapping {
            self.spaces.look(sampler, process, stack.pid, clock::now_ns())?;
            self.looked += 1;
        }
        // A copy may run another program by now.
        let known_as = stack.known_as.unwrap_or(process);
        let space = self.spaces.of(known_as);
        let is_made =
            |address: &u64| space.is_some_and(|space| space.locate(*address) == Place::Jit);
        if stack.user.iter().any(is_made) && self.made_code.insert(process) {
            // Once at its beginning: it may end before we do.
            self.spaces.read_perf_maps(&HashSet::from([process]));
        }
        Ok(self.names.seen(stack, self.spaces.of(known_as)))
    }

    /// Begins anew with the stacks; what is known of the processes stays.
    pub(crate) fn forget_stacks(&mut self) {
        self.cutting.forget();
    }

    /// Keeps what was seen from a moment to another, if there is room.
    pub(crate) fn keep(&mut self, when: Range<u64>, seen: Seen, weight: Weight) {
        self.cutting.push(when, seen, weight);
    }
}
