//! How many bytes pass in a second while there are always some that wait.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use temblor_event::DoseSeen;
use temblor_event::clock::now_ns;
use temblor_host::netns::Netns;

use crate::network::Dose;
use crate::nft::enter_alone;
use crate::{Error, Result};

/// How often the kernel's counters are read.
const EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// What has been seen in less time than this says nothing.
const SEEN_NS_MIN: u64 = 500_000_000;
/// How near the observed rate is to be: this share of what was asked.
const WITHIN_SHARE: f64 = 0.05;

/// A thread that reads counters. Dropping it ends that.
#[derive(Debug)]
pub(in crate::network) struct Flow {
    bell: OwnedFd,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: bool,
    ways: Vec<(&'static str, Way)>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One direction. Pure: readings in, a rate out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Way {
    /// When it was read last, and what.
    last: Option<(u64, u64)>,
    bytes: u64,
    ns: u64,
    readings: u64,
}

impl Way {
    /// Takes a reading. What has passed since the last one counts if bytes have waited all the
    /// while.
    fn take(&mut self, now_ns: u64, bytes: u64, busy_since_ns: Option<u64>) {
        if let Some((last_ns, last_bytes)) = self.last
            && busy_since_ns.is_some_and(|since_ns| since_ns <= last_ns)
        {
            self.bytes += bytes.saturating_sub(last_bytes);
            self.ns += now_ns.saturating_sub(last_ns);
            self.readings += 1;
        }
        self.last = Some((now_ns, bytes));
    }

    fn bytes_per_second(&self) -> Option<f64> {
        (self.ns >= SEEN_NS_MIN).then(|| self.bytes as f64 * 1e9 / self.ns as f64)
    }
}

impl Flow {
    /// Begins to read. In the namespace, `read` gives the kernel's count of bytes of each
    /// direction, and `busy` says since when some have been waiting all the time.
    pub(in crate::network) fn start(
        netns: &Netns,
        ways: Vec<&'static str>,
        read: impl Fn() -> Result<Vec<u64>> + Send + 'static,
        busy: impl Fn() -> Vec<Option<u64>> + Send + 'static,
    ) -> Result<Self> {
        let system = |e| Error::system("start a thread to measure a bandwidth", e);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| system(e.into()))?;
        let ways = ways.into_iter().map(|way| (way, Way::default())).collect();
        let shared = Arc::new(Mutex::new(Shared { stop: false, ways }));
        let (theirs, netns, bell_number) = (Arc::clone(&shared), netns.clone(), bell.as_raw_fd());
        let (done, ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("flow".into())
            .spawn(move || {
                let entered = enter_alone(netns, Some(bell_number));
                let is_in = entered.is_ok();
                let _ = done.send(entered);
                if is_in {
                    // SAFETY: this thread's file table has its own copy under the same number,
                    // kept open for exactly this owner.
                    let bell = unsafe { OwnedFd::from_raw_fd(bell_number) };
                    watch(&bell, &theirs, &read, &busy);
                }
            })
            .map_err(system)?;
        // From here on `Drop` clears up, on every way out.
        let flow = Self { bell, shared, thread: Some(thread) };
        let ended = || system(std::io::Error::other("it ended at once"));
        ready.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(flow)
    }

    /// Forgets what has been seen: from now on another dose is in place.
    pub(in crate::network) fn begin(&self) {
        for (_, way) in &mut lock(&self.shared).ways {
            *way = Way::default();
        }
    }

    /// What has been seen of the dose that is in place.
    pub(in crate::network) fn doses(&self, dose: &Dose) -> Vec<DoseSeen> {
        let Dose::Bandwidth { bytes_per_second } = *dose else { return Vec::new() };
        let asked = bytes_per_second as f64;
        lock(&self.shared)
            .ways
            .iter()
            .map(|(word, way)| DoseSeen {
                what: format!("bytes that pass {word}, while some wait"),
                unit: "bytes/s".into(),
                asked,
                observed: way.bytes_per_second(),
                within: asked * WITHIN_SHARE,
                samples: way.readings,
                source: "nftables counters behind the queue, read four times a second".into(),
            })
            .collect()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        // It only fails when it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(
    bell: &OwnedFd,
    shared: &Mutex<Shared>,
    read: &impl Fn() -> Result<Vec<u64>>,
    busy: &impl Fn() -> Vec<Option<u64>>,
) {
    loop {
        let before_ns = now_ns();
        // A reading that fails is left out; the next one spans its time too.
        if let Ok(bytes) = read() {
            // The counters were read at some time between the two.
            let now_ns = before_ns.midpoint(now_ns());
            let busy = busy();
            let mut shared = lock(shared);
            for ((_, way), (bytes, since_ns)) in
                shared.ways.iter_mut().zip(bytes.into_iter().zip(busy))
            {
                way.take(now_ns, bytes, since_ns);
            }
        }
        let mut files = [PollFd::new(bell, PollFlags::IN)];
        let waited = poll(&mut files, Some(&EVERY));
        let failed = !matches!(waited, Ok(_) | Err(rustix::io::Errno::INTR));
        if failed || lock(shared).stop {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_while_bytes_wait_is_a_rate() {
        const MS: u64 = 1_000_000;
        let mut way = Way::default();
        for (at_ms, bytes, since_ms) in [
            (0, 1000, None),
            (250, 1500, None),
            (500, 26_000, Some(260)),
            (750, 51_000, Some(260)),
            (1000, 76_000, Some(260)),
            (1250, 76_100, Some(1240)),
        ] {
            assert_eq!(way.bytes_per_second().is_some(), at_ms > 1000);
            way.take(at_ms * MS, bytes, since_ms.map(|ms: u64| ms * MS));
        }
        assert_eq!(way.bytes_per_second(), Some(100_000.0));
        assert_eq!(way.readings, 2);
    }
}
