//! Programs that run at each beat of the processors' clocks.

use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd as _};

use libbpf_rs::Link;

use super::events;
use crate::Error;
use crate::object::Loaded;

const NO_SUCH_PROCESSOR: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// Has a program run so often a second on each processor on which anything runs, for as long as the
/// links are kept.
pub(super) fn start(
    loaded: &Loaded,
    program: &'static str,
    rate_hz: u32,
) -> Result<Vec<Link>, Error> {
    let mut links = Vec::new();
    for processor in processors()? {
        let beat = match events::beat(processor, rate_hz) {
            Ok(beat) => beat,
            // It was taken away since they were counted.
            Err(gone) if gone.raw_os_error() == Some(NO_SUCH_PROCESSOR) => continue,
            Err(source) => return Err(not_looked_at(processor, rate_hz, source)),
        };
        let link = loaded.program(program)?.attach_perf_event(beat.as_raw_fd());
        links.push(link.map_err(|source| {
            Error::kernel(format!("attach {program} to processor {processor}"), source)
        })?);
        // It is the link's from now on.
        let _ = beat.into_raw_fd();
    }
    Ok(links)
}

fn not_looked_at(processor: u32, rate_hz: u32, source: io::Error) -> Error {
    let (what, how) = match source.kind() {
        io::ErrorKind::InvalidInput => (
            format!("the kernel does not look {rate_hz} times a second"),
            "ask for less, or raise kernel.perf_event_max_sample_rate",
        ),
        io::ErrorKind::PermissionDenied => (
            "the kernel refuses to have processors looked at (perf_event_open)".to_owned(),
            "run with the capability CAP_PERFMON, and in a container with a seccomp profile that \
             allows the call",
        ),
        _ => {
            let doing = format!("have processor {processor} looked at");
            return Error::System { doing, source };
        }
    };
    Error::Missing { what, how: how.into() }
}

/// The processors that there are now.
pub(super) fn processors() -> Result<Vec<u32>, Error> {
    events::processors().map_err(|source| Error::System {
        doing: "find out which processors there are".into(),
        source,
    })
}
