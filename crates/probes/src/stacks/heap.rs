//! The programs that follow allocations: where in a process they run, and which bytes they sample.

use std::path::Path;

use libbpf_rs::{Link, UprobeMultiOpts};

use super::generated::types::stacks_call;
use crate::Error;
use crate::object::Loaded;

pub(super) const ALLOCATES: &str = "heap_allocates";
pub(super) const FREES: &str = "heap_frees";
/// The maps whose size is that of what they may once hold. Whoever follows no allocations needs none.
pub(super) const SIZED: [&str; 2] = ["heap_live", "heap_results"];
/// As `heap.bpf.h` has it.
const INTERVALS: u32 = 4096;

/// Which of its arguments say how much memory a function allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allocates {
    /// The first: `malloc`.
    Size,
    /// The first times the second: `calloc`.
    Product,
    /// The second, and what the first points to is freed: `realloc`.
    Anew,
    /// The second: `aligned_alloc`.
    Aligned,
    /// As [`Allocates::Anew`]; but where nothing is to be freed it goes on in `malloc`, which is
    /// counted there.
    AnewByMalloc,
    /// The third, and the first says where the address is put: `posix_memalign`.
    AlignedTo,
    /// As [`Allocates::Aligned`]; but where no more than malloc's own alignment of 16 bytes is asked for
    /// it goes on in `malloc`, which is counted there.
    AlignedByMalloc,
    /// The same of [`Allocates::AlignedTo`].
    AlignedToByMalloc,
}

impl Allocates {
    fn call(self) -> u64 {
        let call = match self {
            Self::Size => stacks_call::STACKS_MALLOC,
            Self::Product => stacks_call::STACKS_CALLOC,
            Self::Anew => stacks_call::STACKS_REALLOC,
            Self::Aligned => stacks_call::STACKS_ALIGNED,
            Self::AnewByMalloc => stacks_call::STACKS_REALLOC_BY_MALLOC,
            Self::AlignedTo => stacks_call::STACKS_ALIGNED_TO,
            Self::AlignedByMalloc => stacks_call::STACKS_ALIGNED_BY_MALLOC,
            Self::AlignedToByMalloc => stacks_call::STACKS_ALIGNED_TO_BY_MALLOC,
        };
        call.0.into()
    }
}

/// The functions of an allocator, by where in their file their code lies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocator {
    /// Where those begin that allocate.
    pub allocates: Vec<(u64, Allocates)>,
    /// Where those can be watched that free what their first argument points to: at an instruction
    /// that is run at each call, before that argument is lost.
    pub frees: Vec<u64>,
}

/// Watches an allocator in a process for as long as the links are kept.
pub(super) fn watch(
    loaded: &Loaded,
    pid: u32,
    file: &Path,
    allocator: &Allocator,
) -> Result<Vec<Link>, Error> {
    let (places, cookies) = allocator
        .allocates
        .iter()
        .map(|(place, allocates)| (*place as usize, allocates.call()))
        .unzip();
    let allocates =
        UprobeMultiOpts { offsets: places, cookies, session: true, ..Default::default() };
    let offsets = allocator.frees.iter().map(|place| *place as usize).collect();
    let frees = UprobeMultiOpts { offsets, ..Default::default() };
    // What is freed before its allocation is followed was never known.
    [(FREES, frees), (ALLOCATES, allocates)]
        .into_iter()
        .filter(|(_, options)| !options.offsets.is_empty())
        .map(|(program, options)| {
            let at = loaded.program(program)?;
            at.attach_uprobe_multi_with_opts(pid.cast_signed(), file, "", options).map_err(
                |source| {
                    let doing = format!("watch {} in process {pid}", file.display());
                    Error::kernel(doing, source)
                },
            )
        })
        .collect()
}

/// Draws how many bytes lie between those that are sampled, so many on average.
pub(super) fn draw_intervals(loaded: &Loaded, every_bytes: u64) -> Result<(), Error> {
    for at in 0..INTERVALS {
        loaded.put::<u32, u64>("heap_intervals", &at, &interval(at, every_bytes))?;
    }
    Ok(())
}

/// One of as many intervals as there are, which together are spread like the exponential
/// distribution: the middle of each of so many equal parts of it. The kernel half takes one of them at
/// random.
fn interval(at: u32, every_bytes: u64) -> u64 {
    let middle = (f64::from(at) + 0.5) / f64::from(INTERVALS);
    let drawn = -(1.0 - middle).ln() * every_bytes as f64;
    drawn.max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_spread_like_the_exponential_distribution() {
        let every = 128 << 10;
        let drawn: Vec<f64> = (0..INTERVALS).map(|at| interval(at, every) as f64).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((mean / every as f64 - 1.0).abs() < 0.01, "{mean}");
        // Of its median and of what is beyond three times the mean.
        let below = |bound: f64| {
            drawn.iter().filter(|one| **one < bound).count() as f64 / drawn.len() as f64
        };
        assert!((below(every as f64 * 2_f64.ln()) - 0.5).abs() < 0.01);
        assert!((below(every as f64 * 3.0) - (1.0 - (-3_f64).exp())).abs() < 0.01);
    }
}
