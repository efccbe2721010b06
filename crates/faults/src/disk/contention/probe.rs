//! How long a sync of our own takes, beside the target's files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;

/// A page.
const BYTES: usize = 4096;
/// How many are taken before the fault.
const BEFORE: usize = 8;
/// And for how long at most.
const BEFORE_NS: u64 = 40_000_000;
/// How often one is taken during it: seldom enough to be no load of its own.
const EVERY: Duration = Duration::from_millis(200);
/// How many are kept.
const KEPT: usize = 4096;

/// Syncs once; nanoseconds.
fn sync(file: &File, turn: usize) -> io::Result<u64> {
    let began_ns = now_ns();
    file.write_all_at(&[turn as u8; BYTES], 0)?;
    file.sync_data()?;
    Ok(now_ns().saturating_sub(began_ns))
}

/// Some syncs of a quiet disk, in nanoseconds; at least one.
pub(super) fn before(file: &File) -> io::Result<Vec<u64>> {
    // The first gives the file its block, which costs the filesystem more than what follows.
    sync(file, 0)?;
    let until_ns = now_ns().saturating_add(BEFORE_NS);
    let mut taken = Vec::new();
    while taken.is_empty() || (taken.len() < BEFORE && now_ns() < until_ns) {
        taken.push(sync(file, taken.len())?);
    }
    Ok(taken)
}

/// A thread that syncs now and then.
pub(super) struct Probe {
    taken: Arc<Mutex<Vec<u64>>>,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    pub(super) fn start(file: File) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        let thread = std::thread::Builder::new().name("temblor-sync".into()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // On a full filesystem there is nothing to be measured.
                let Ok(ns) = sync(&file, 1) else { continue };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < KEPT {
                    kept.push(ns);
                }
            }
        })?;
        Ok(Self { taken, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `4.14 ms (median of 8)`.
#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
pub(super) fn words(taken: &[u64]) -> String {
    let mut taken = taken.to_vec();
    taken.sort_unstable();
    match taken.get(taken.len() / 2) {
        Some(median) => format!("{:.2} ms (median of {})", *median as f64 / 1e6, taken.len()),
        None => "a time not known yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_shown_with_its_samples() {
        assert_eq!(words(&[]), "a time not known yet");
        assert_eq!(words(&[9_000_000, 1_000_000, 4_140_000]), "4.14 ms (median of 3)");
    }

    #[test]
    fn syncs_are_timed_before_and_now_and_then() {
        let file = tempfile::tempfile().unwrap();
        assert!(!before(&file).unwrap().is_empty());
        let probe = Probe::start(file).unwrap();
        let bound_ns = now_ns() + 10_000_000_000;
        while probe.taken().is_empty() {
            assert!(now_ns() < bound_ns, "no sync was timed");
            std::thread::park_timeout(EVERY / 10);
        }
    }
}
