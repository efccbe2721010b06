//! How much a probe may cost, and what happens when it costs more.

use std::time::Duration;

use temblor_event::{Event, ProbeShed, clock};

use crate::object::Loaded;
use crate::{Error, Probe};

/// How often it is looked.
const LOOK_EVERY_NS: u64 = 1_000_000_000;
/// So many looks in a row must find it too dear: a moment's flood is no reason to see less.
const LOOKS: u32 = 3;
const OFF: &str = "nothing: it is off";

/// What a probe's programs may cost, as a share of all the machine's processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    share: f64,
}

impl Default for Budget {
    /// One per cent: what one gives for a tool that watches and does not notice.
    fn default() -> Self {
        Self { share: 0.01 }
    }
}

impl Budget {
    /// So much of all the machine's processors, 0 to 1.
    #[must_use]
    pub fn share(share: f64) -> Self {
        Self { share }
    }
}

/// Holds a probe to its budget: over it the probe sees a sample, then nothing.
#[derive(Debug)]
pub(crate) struct Keeper {
    budget: Budget,
    processors: f64,
    looked_ns: u64,
    spent_ns: u64,
    too_dear: u32,
    off: bool,
}

impl Keeper {
    pub(crate) fn new(budget: Budget) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            budget,
            #[expect(clippy::cast_precision_loss, reason = "a machine's processors")]
            processors: processors as f64,
            looked_ns: clock::now_ns(),
            spent_ns: 0,
            too_dear: 0,
            off: false,
        }
    }

    /// Looks, if it is time to, and has the probe do less if it must.
    pub(crate) fn look(
        &mut self,
        probe: &mut dyn Probe,
        sink: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let now_ns = clock::now_ns();
        let wall_ns = now_ns.saturating_sub(self.looked_ns);
        if self.off || wall_ns < LOOK_EVERY_NS {
            return Ok(());
        }
        let spent_ns = probe.spent_ns()?;
        let grown_ns = spent_ns.saturating_sub(self.spent_ns);
        (self.looked_ns, self.spent_ns) = (now_ns, spent_ns);
        let share = seconds(grown_ns) / (seconds(wall_ns) * self.processors);
        self.too_dear = if share > self.budget.share { self.too_dear + 1 } else { 0 };
        if self.too_dear < LOOKS {
            return Ok(());
        }
        self.too_dear = 0;
        let less = probe.shed()?;
        self.off = less.is_none();
        if self.off {
            probe.take_off();
        }
        sink(Event::now(ProbeShed {
            probe: probe.status().probe,
            cost_share: share,
            budget_share: self.budget.share,
            now: less.unwrap_or_else(|| OFF.to_owned()),
            off: self.off,
        }));
        Ok(())
    }
}

/// What a probe that can do with a sample looks at: one in so many.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// In words, with a place for the number: `waits of one thread in`.
    of: &'static str,
    one_in: u32,
}

/// The kernel halves' mask: what is numbered (or drawn) at random is looked at if it has none of
/// its bits.
const SECTION: &str = ".data.sampling";
/// By so much coarser at a time, and never coarser than one in this many.
const COARSER: u32 = 8;
const ONE_IN_MAX: u32 = 64;

impl Sampling {
    /// One in this many to begin with; a power of two.
    pub(crate) fn begin(loaded: &Loaded, of: &'static str, one_in: u32) -> Result<Self, Error> {
        let one_in = one_in.max(1).next_power_of_two();
        loaded.set_global(SECTION, one_in - 1)?;
        Ok(Self { of, one_in })
    }

    /// Fewer from now on, in words. None: it would be too few.
    pub(crate) fn coarser(&mut self, loaded: &Loaded) -> Result<Option<String>, Error> {
        let one_in = self.one_in.saturating_mul(COARSER);
        if one_in > ONE_IN_MAX {
            return Ok(None);
        }
        *self = Self::begin(loaded, self.of, one_in)?;
        Ok(Some(format!("{} {one_in}", self.of)))
    }
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
