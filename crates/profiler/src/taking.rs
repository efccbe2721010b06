//! What becomes of each record.

use std::time::Duration;

use temblor_probes::stacks::{Kind, Record, Sampler};

use crate::collecting::Collecting;
use crate::error::Error;
use crate::heap::Allocations;
use crate::settings::{Settings, Wanted, period_ns};
use crate::stacks::Weight;
use crate::threads;
use crate::waits::WaitsUnderWay;

#[derive(Debug)]
enum Way {
    OnCpu {
        period_ns: u64,
        /// When it began, where samples are told apart by when they were.
        timeline_ns: Option<u64>,
    },
    Waits(WaitsUnderWay),
    Threads,
    Allocations(Allocations),
}

/// Takes records in the way of what is wanted.
#[derive(Debug)]
pub(crate) struct Taking {
    way: Way,
    /// Why a process could not be watched. That of others is worth having all the same.
    pub(crate) refused: Option<Error>,
}

impl Taking {
    pub(crate) fn new(settings: &Settings, began_ns: u64) -> Self {
        let way = match settings.wanted {
            Wanted::Cpu { rate_hz } => Way::OnCpu {
                period_ns: period_ns(rate_hz),
                timeline_ns: settings.timeline.then_some(began_ns),
            },
            Wanted::OffCpu | Wanted::Lock => Way::Waits(WaitsUnderWay::new(settings.wakers)),
            Wanted::Threads => Way::Threads,
            Wanted::Heap { every_bytes } => Way::Allocations(Allocations::new(every_bytes)),
        };
        Self { way, refused: None }
    }

    /// Watches the processes that have come, where that has to be done with each.
    pub(crate) fn watch(
        &mut self,
        present: impl FnOnce() -> Result<Vec<u32>, Error>,
        sampler: &mut Sampler,
        collecting: &mut Collecting,
    ) -> Result<(), Error> {
        if let Way::Allocations(allocations) = &mut self.way {
            let refused = allocations.watch(&present()?, sampler, collecting);
            self.refused = refused.or(self.refused.take());
        }
        Ok(())
    }

    /// Takes what there is, or what comes within the time.
    pub(crate) fn take(
        &mut self,
        sampler: &mut Sampler,
        timeout: Duration,
        collecting: &mut Collecting,
    ) -> Result<(), Error> {
        let mut taken: Vec<Record> = Vec::new();
        sampler.take(timeout, |record| taken.push(record))?;
        for record in taken {
            match &mut self.way {
                Way::OnCpu { period_ns, timeline_ns } => {
                    sample(record, *period_ns, *timeline_ns, sampler, collecting)?;
                }
                Way::Waits(waits) => waits.take(record, sampler, collecting)?,
                Way::Threads => threads::take(record, sampler, collecting)?,
                Way::Allocations(allocations) => allocations.take(record, sampler, collecting)?,
            }
        }
        Ok(())
    }

    /// Adds what is told at the end. Returns how many records could not be followed.
    pub(crate) fn end(self, now_ns: u64, collecting: &mut Collecting) -> u64 {
        match self.way {
            Way::OnCpu { .. } | Way::Threads => 0,
            Way::Waits(waits) => waits.without_stack,
            Way::Allocations(allocations) => allocations.end(now_ns, collecting),
        }
    }
}

fn sample(
    record: Record,
    period_ns: u64,
    timeline_ns: Option<u64>,
    sampler: &mut Sampler,
    collecting: &mut Collecting,
) -> Result<(), Error> {
    let Record::Stack(stack) = record else { return Ok(()) };
    debug_assert_eq!(stack.kind, Kind::OnCpu, "nothing else was asked for");
    let t_ns = stack.t_ns;
    let mut seen = collecting.locate(sampler, stack)?;
    seen.circumstances.time_ns = timeline_ns.map(|began_ns| t_ns.saturating_sub(began_ns));
    collecting.keep(t_ns..t_ns, seen, Weight::seen(1.0, period_ns));
    Ok(())
}
