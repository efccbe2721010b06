//! What a stressor does, in a process of its own.

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use temblor_event::clock::now_ns;

use crate::disk::DiskWork;

/// A worker with a load below 1 works and rests within this time.
const SLICE_NS: u64 = 10_000_000;
/// How much memory is taken in one go.
const CHUNK_BYTES: usize = 1 << 20;
/// The smallest page there is; where they are larger some are written to more than once.
const PAGE_BYTES: usize = 4096;
const STACK_BYTES: usize = 64 << 10;
/// How often a memory stressor that has what it should have looks for a new level.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a stressor is told to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Job {
    /// Keep processors busy: so many workers, each for this share of the time.
    Cpu { workers: u32, load: f64 },
    /// Take memory: so many bytes, with this `oom_score_adj` where one is asked for.
    Memory { bytes: u64, oom_score_adj: Option<i32> },
    /// Keep a disk busy, in the file that is its output.
    Disk(DiskWork),
}

impl Job {
    pub(crate) fn args(&self) -> Vec<String> {
        match self {
            Self::Cpu { workers, load } => {
                vec!["cpu".into(), workers.to_string(), load.to_string()]
            }
            Self::Memory { bytes, oom_score_adj } => {
                let adj = oom_score_adj.map(|adj| adj.to_string());
                [vec!["memory".into(), bytes.to_string()], adj.into_iter().collect()].concat()
            }
            Self::Disk(work) => {
                let word = vec!["disk".into()];
                [word, work.args().into()].concat()
            }
        }
    }

    fn parse(args: &[String]) -> Option<Self> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Some(match args[..] {
            ["cpu", workers, load] => {
                Self::Cpu { workers: workers.parse().ok()?, load: load.parse().ok()? }
            }
            ["memory", bytes] => Self::Memory { bytes: bytes.parse().ok()?, oom_score_adj: None },
            ["memory", bytes, adj] => {
                Self::Memory { bytes: bytes.parse().ok()?, oom_score_adj: Some(adj.parse().ok()?) }
            }
            ["disk", ref work @ ..] => Self::Disk(DiskWork::parse(work)?),
            _ => return None,
        })
    }
}

/// The stressor: `args` are what follows the word that led here. It reads levels (eight bytes
/// each, a double in little-endian order) from its input, begins with the first, and ends where
/// the input does. It is meant for this crate alone.
pub fn main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let args: Vec<String> = args.into_iter().collect();
    let Some(job) = Job::parse(&args) else { return ExitCode::from(2) };
    let Some(level) = next_level() else { return ExitCode::SUCCESS };
    let shared = Arc::new(AtomicU64::new(level.to_bits()));
    let told = Arc::clone(&shared);
    let listener = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        while let Some(level) = next_level() {
            told.store(level.to_bits(), Ordering::Relaxed);
        }
        // Whoever started us is gone or wants an end: at once, whatever the others are at.
        let _ = kill_process(getpid(), Signal::KILL);
    });
    if listener.is_err() {
        return ExitCode::FAILURE;
    }
    let level = move || f64::from_bits(shared.load(Ordering::Relaxed)).clamp(0.0, 1.0);
    match job {
        Job::Cpu { workers, load } => {
            std::thread::scope(|scope| {
                for _ in 1..workers {
                    let busy = || keep_busy(load, &level);
                    let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
                    if worker.spawn_scoped(scope, busy).is_err() {
                        break;
                    }
                }
                keep_busy(load, &level);
            });
        }
        Job::Memory { bytes, oom_score_adj } => {
            if let Some(adj) = oom_score_adj {
                // Without the right to lower it the stressor may be the victim: that shows.
                let _ = std::fs::write("/proc/self/oom_score_adj", adj.to_string());
            }
            hold_memory(bytes, &level);
        }
        // A full filesystem ends it: there is nothing more to be written there.
        Job::Disk(work) => {
            if work.on_output().is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn next_level() -> Option<f64> {
    let mut bytes = [0; 8];
    std::io::stdin().read_exact(&mut bytes).ok()?;
    Some(f64::from_le_bytes(bytes))
}

/// Works for a share of each slice, for ever.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of ten million nanoseconds"
)]
fn keep_busy(load: f64, level: &impl Fn() -> f64) {
    loop {
        let began_ns = now_ns();
        let busy_ns = (SLICE_NS as f64 * load * level()) as u64;
        let mut work = began_ns;
        while now_ns() < began_ns + busy_ns {
            // Arithmetic between two looks at the clock, which the compiler may not leave out.
            for _ in 0..1_000 {
                work = std::hint::black_box(work.wrapping_mul(6_364_136_223_846_793_005) + 1);
            }
        }
        let left_ns = (began_ns + SLICE_NS).saturating_sub(now_ns());
        if left_ns > 0 && busy_ns < SLICE_NS {
            std::thread::park_timeout(Duration::from_nanos(left_ns));
        }
    }
}

/// Holds a share of so many bytes, each page of them written to, for ever.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of bytes"
)]
fn hold_memory(bytes: u64, level: &impl Fn() -> f64) {
    let mut held: Vec<Chunk> = Vec::new();
    loop {
        let wanted = ((bytes as f64 * level()) as u64).div_ceil(CHUNK_BYTES as u64);
        let has = held.len() as u64;
        if has > wanted {
            held.pop();
        } else if has < wanted
            && let Some(chunk) = Chunk::take()
        {
            held.push(chunk);
        } else {
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Memory that the kernel has given out, and that goes back to it.
struct Chunk(*mut libc::c_void);

impl Chunk {
    /// `None` when there is no address space left.
    fn take() -> Option<Self> {
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                CHUNK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return None;
        }
        // A page is charged when it is first written to; each holds another word, so that no two
        // are the same and could be merged.
        for page in (0..CHUNK_BYTES).step_by(PAGE_BYTES) {
            // SAFETY: within the mapping, which is aligned to pages and is nobody else's.
            unsafe { at.byte_add(page).cast::<u64>().write_volatile(now_ns()) };
        }
        Some(Self(at))
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing points into it any more.
        unsafe { libc::munmap(self.0, CHUNK_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_understood_as_it_was_given() {
        for job in [
            Job::Cpu { workers: 4, load: 0.25 },
            Job::Memory { bytes: 1 << 40, oom_score_adj: None },
            Job::Memory { bytes: 0, oom_score_adj: Some(-1000) },
            Job::Disk(DiskWork { block_bytes: 4096, file_bytes: 1 << 20, sync: true }),
        ] {
            assert_eq!(Job::parse(&job.args()), Some(job));
        }
        for args in [
            &["cpu", "4"][..],
            &["disk"],
            &[],
            &["memory", "x"],
            &["cpu", "-1", "1"],
            &["disk", "9", "8", "true"],
        ] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(Job::parse(&args), None, "{args:?}");
        }
    }
}
