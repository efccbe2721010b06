//! The beats at which processors are looked at: events of the kernel's clock for each of them.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use perf_event_open_sys::bindings::{
    PERF_COUNT_SW_CPU_CLOCK, PERF_FLAG_FD_CLOEXEC, PERF_TYPE_SOFTWARE, perf_event_attr,
};

/// An event on a processor that beats so often a second while anything runs there.
pub(super) fn beat(processor: u32, rate_hz: u32) -> io::Result<OwnedFd> {
    let mut attributes = perf_event_attr {
        type_: PERF_TYPE_SOFTWARE,
        size: size_of::<perf_event_attr>() as u32,
        config: PERF_COUNT_SW_CPU_CLOCK.into(),
        ..perf_event_attr::default()
    };
    attributes.set_freq(1);
    attributes.set_exclude_idle(1);
    attributes.__bindgen_anon_1.sample_freq = rate_hz.into();
    let (everybody, no_group) = (-1, -1);
    // SAFETY: the attributes are valid for the call, and it returns a descriptor or an error.
    let fd = unsafe {
        perf_event_open_sys::perf_event_open(
            &raw mut attributes,
            everybody,
            processor.cast_signed(),
            no_group,
            PERF_FLAG_FD_CLOEXEC.into(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just returned to us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The processors that are there now.
pub(super) fn processors() -> io::Result<Vec<u32>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    let mut all = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |word: &str| word.parse::<u32>().map_err(io::Error::other);
        all.extend(number(first)?..=number(last)?);
    }
    Ok(all)
}
