//! Waits: their stacks come when they begin, and how long they were when they end.

use std::collections::HashMap;
use std::sync::Arc;

use temblor_probes::stacks::{Kind, Record, Sampler, Waited};

use crate::collecting::Collecting;
use crate::error::Error;
use crate::stacks::{Seen, Waker, Weight};

/// Threads that wait at the same time.
const UNDER_WAY_MAX: usize = 1 << 17;

#[derive(Debug)]
struct UnderWay {
    since_ns: u64,
    seen: Seen,
    waker: Option<Arc<crate::stacks::Frames>>,
}

/// The waits that have begun and not ended, by their threads.
#[derive(Debug, Default)]
pub(crate) struct WaitsUnderWay {
    by_thread: HashMap<u32, UnderWay>,
    /// Who ended them is wanted.
    wakers: bool,
    /// Waits that have ended of which there is no stack.
    pub(crate) without_stack: u64,
}

impl WaitsUnderWay {
    pub(crate) fn new(wakers: bool) -> Self {
        Self { wakers, ..Self::default() }
    }

    pub(crate) fn take(
        &mut self,
        record: Record,
        sampler: &mut Sampler,
        into: &mut Collecting,
    ) -> Result<(), Error> {
        match record {
            Record::Waited(waited) => self.end(&waited, into),
            Record::Stack(stack) => match stack.kind {
                Kind::Waker { of } => {
                    let frames = into.locate(sampler, stack)?.frames;
                    if let Some(under_way) = self.by_thread.get_mut(&of) {
                        under_way.waker = Some(Arc::new(frames));
                    }
                }
                Kind::Blocked { lock } => {
                    let (thread, since_ns) = (stack.thread, stack.t_ns);
                    let mut seen = into.locate(sampler, stack)?;
                    seen.circumstances.lock = lock;
                    self.begin(thread, UnderWay { since_ns, seen, waker: None });
                }
                Kind::OnCpu | Kind::Thread { .. } | Kind::Allocated { .. } => {}
            },
            Record::Freed(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, thread: u32, under_way: UnderWay) {
        // While a thread was looked at that waited already, it may have begun another wait.
        let has_newer = |known: &UnderWay| known.since_ns > under_way.since_ns;
        match self.by_thread.get(&thread) {
            Some(known) if has_newer(known) => {}
            None if self.by_thread.len() >= UNDER_WAY_MAX => {}
            _ => drop(self.by_thread.insert(thread, under_way)),
        }
    }

    fn end(&mut self, waited: &Waited, into: &mut Collecting) {
        let begun = self.by_thread.remove(&waited.thread);
        let Some(UnderWay { mut seen, waker, .. }) =
            begun.filter(|begun| begun.since_ns == waited.since_ns)
        else {
            self.without_stack += 1;
            return;
        };
        if self.wakers && (waited.waker.is_some() || waker.is_some()) {
            // Nobody has a number where nobody was on the processor.
            let (pid, name) = waited.waker.as_ref().map_or((0, "idle"), |(pid, name)| (*pid, name));
            let thread = into.names.name(name);
            seen.circumstances.waker = Some(Waker { pid, thread, frames: waker });
        }
        let count = f64::from(waited.weight);
        let amount = waited.lasted_ns.saturating_mul(waited.weight.into());
        // What the looking itself took is no part of it.
        let ended_ns = waited.since_ns.saturating_add(waited.lasted_ns);
        into.keep(
            waited.since_ns..ended_ns,
            seen,
            match waited.is_long {
                true => Weight::seen(count, amount),
                false => Weight { count, estimated: amount, ..Weight::default() },
            },
        );
    }
}
