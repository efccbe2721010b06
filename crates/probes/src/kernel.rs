//! What all probes ask of the kernel: its types, and what our programs cost.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use libbpf_rs::btf::BtfKind;
use libbpf_rs::btf::types::{Composite, FuncProto, Struct};
use libbpf_rs::{Btf, PrintLevel, ReferencesType, libbpf_sys};
use temblor_event::ProgramCost;

use crate::Error;

/// What the verifier said last: the errno alone never tells why a program was refused.
static VERDICT: Mutex<Option<String>> = Mutex::new(None);

/// libbpf writes to stderr unless told otherwise; its words belong in the log, and the one line
/// of them that gives the reason belongs in the error.
pub(crate) fn log_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Info, |_level, message| {
            tracing::debug!(target: "libbpf", "{}", message.trim_end());
            if let Some(reason) = verdict(&message) {
                *VERDICT.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            }
        })));
    });
}

/// The verifier's reason for refusing the program that was loaded last, if it gave one.
pub(crate) fn take_verdict() -> Option<String> {
    VERDICT.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The line of the verifier's log that says what is wrong: the last one that is neither an
/// instruction's listing nor the closing statistics.
fn verdict(message: &str) -> Option<String> {
    let (head, log) = message.split_once("BEGIN PROG LOAD LOG --")?;
    let program = head.split('\'').nth(1).unwrap_or("a program");
    let log = log.split("-- END PROG LOAD LOG").next()?;
    let statistics = |line: &&str| {
        line.starts_with("processed ")
            || ["verification time", "stack depth"].iter().any(|start| line.starts_with(start))
    };
    let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    let reason = lines.rev().find(|line| !statistics(line))?;
    Some(format!("{program}: {reason}"))
}

/// Nameless parts of nameless parts: the kernel's own go three deep.
const PARTS_DEEP: u32 = 8;

/// The running kernel's own types.
pub(crate) struct KernelTypes(Btf<'static>);

impl KernelTypes {
    pub(crate) fn read() -> Result<Self, Error> {
        log_libbpf();
        Btf::from_vmlinux().map(Self).map_err(|_| Error::Missing {
            what: "this kernel does not carry its own types (/sys/kernel/btf/vmlinux)".into(),
            how: "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; those of Debian from 11 and \
                  Ubuntu from 20.10 are"
                .into(),
        })
    }

    /// How many arguments a tracepoint hands to a program. None: there is no such tracepoint.
    pub(crate) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef: libbpf_rs::btf::types::Typedef<'_> =
            self.0.type_by_name(&format!("btf_trace_{name}"))?;
        let prototype = typedef.referenced_type().next_type()?;
        let prototype = FuncProto::try_from(prototype).ok()?;
        // The first parameter is the tracepoint's private data; programs do not get it.
        Some(prototype.len().saturating_sub(1))
    }

    /// Whether a module that is loaded brings this tracepoint. The kernel tells of modules' types
    /// from 5.11 on.
    pub(crate) fn module_has_tracepoint(&self, module: &str, name: &str) -> bool {
        let (Ok(module), Ok(name)) =
            (CString::new(module), CString::new(format!("btf_trace_{name}")))
        else {
            return false;
        };
        // SAFETY: the names end in a zero; both sets of types are asked for nothing after they are
        // freed, and freeing what could not be loaded (null, or an error's number) does nothing.
        unsafe {
            let kernel = libbpf_sys::btf__load_vmlinux_btf();
            if libbpf_sys::libbpf_get_error(kernel.cast()) != 0 {
                return false;
            }
            let types = libbpf_sys::btf__load_module_btf(module.as_ptr(), kernel);
            let found = libbpf_sys::libbpf_get_error(types.cast()) == 0
                && libbpf_sys::btf__find_by_name_kind(
                    types,
                    name.as_ptr(),
                    libbpf_sys::BTF_KIND_TYPEDEF,
                ) > 0;
            libbpf_sys::btf__free(types);
            libbpf_sys::btf__free(kernel);
            found
        }
    }

    /// Whether the kernel has a function of this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.0
            .type_by_name::<libbpf_rs::btf::BtfType<'_>>(name)
            .is_some_and(|found| found.kind() == BtfKind::Func)
    }

    /// Whether a struct of the kernel's has this field, itself or in a nameless part.
    pub(crate) fn has_field(&self, name: &str, field: &str) -> bool {
        self.0
            .type_by_name::<Struct<'_>>(name)
            .is_some_and(|found| self.has_member(found.into(), field, PARTS_DEEP))
    }

    fn has_member(&self, of: Composite<'_>, field: &str, deep: u32) -> bool {
        of.iter().any(|member| match member.name {
            Some(name) => name == field,
            None => {
                let part = self.0.type_by_id::<Composite<'_>>(member.ty);
                part.is_some_and(|part| deep > 0 && self.has_member(part, field, deep - 1))
            }
        })
    }

    /// Whether tracepoints may keep notes with a thread. The helper came for security modules
    /// alone; with this field it came for tracepoints as well.
    pub(crate) fn has_task_storage(&self) -> bool {
        self.has_field("task_struct", "bpf_storage")
    }

    /// Whether the victim of want of memory is handed over itself, not its number (since Linux
    /// 6.8).
    pub(crate) fn hands_over_victims(&self) -> bool {
        self.tracepoint_arguments("mark_victim").is_some_and(|arguments| arguments > 1)
    }

    /// Whether the kernel has a struct of this name.
    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.0
            .type_by_name::<libbpf_rs::btf::BtfType<'_>>(name)
            .is_some_and(|found| found.kind() == BtfKind::Struct)
    }
}

/// The length of one tick of the kernel's timers (its jiffy). The coarse clocks advance once a tick,
/// and say so.
pub(crate) fn tick_ns() -> u32 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    // At the slowest there are 24 ticks a second.
    u32::try_from(tick.tv_nsec).unwrap_or(0)
}

/// Switches the kernel's accounting of program run time on for as long as this is held. The
/// descriptor does it rather than the sysctl: it ends with us, however we end.
///
/// # Errors
/// The kernel cannot, or does not let this process.
pub fn count_run_time() -> Result<OwnedFd, Error> {
    // SAFETY: the call takes a plain number and returns a new descriptor or a negative error.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    if fd < 0 {
        return Err(Error::System {
            doing: "switch on the kernel's run statistics of BPF programs".into(),
            source: io::Error::from_raw_os_error(-fd),
        });
    }
    // SAFETY: the descriptor was just returned to us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel counted of a program.
pub(crate) struct Run {
    pub(crate) cost: ProgramCost,
    /// Runs that the kernel left out because the program was running on that processor already.
    pub(crate) skipped: u64,
}

pub(crate) fn program_run(name: &str, program: BorrowedFd<'_>) -> io::Result<Run> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of::<libbpf_sys::bpf_prog_info>()).unwrap_or(u32::MAX);
    // SAFETY: the kernel writes at most `length` bytes into `info`, which is that long; all its
    // pointers are null with zero lengths, so it writes nowhere else.
    let status = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut length)
    };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(-status));
    }
    Ok(Run {
        cost: ProgramCost {
            program: name.to_owned(),
            runs: info.run_cnt,
            run_ns: info.run_time_ns,
        },
        skipped: info.recursion_misses,
    })
}

/// Memory that a map holds, bytes, by the kernel's own account (exact since Linux 6.4, the values'
/// size before).
pub(crate) fn map_bytes(map: BorrowedFd<'_>) -> io::Result<u64> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let bytes = told.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = bytes.and_then(|bytes| bytes.trim().parse().ok());
    bytes.ok_or_else(|| io::Error::other("the kernel does not say what the map holds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_of_those_a_kernel_can_be_built_with() {
        let ticks_per_second = 1_000_000_000_f64 / f64::from(tick_ns());
        let built_with = [24, 32, 48, 64, 100, 128, 200, 250, 256, 300, 500, 512, 1000, 1024, 1200];
        assert!(
            built_with.iter().any(|hz| (ticks_per_second - f64::from(*hz)).abs() < 0.01),
            "{ticks_per_second} a second"
        );
    }

    #[test]
    fn the_reason_is_picked_out_of_the_verifiers_log() {
        let log = "libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n\
                   0: R1=ctx() R10=fp0\n\
                   R1 type=scalar expected=fp\n\
                   processed 10 insns (limit 1000000) max_states_per_insn 0\n\
                   -- END PROG LOAD LOG --\n";
        assert_eq!(verdict(log).as_deref(), Some("p: R1 type=scalar expected=fp"));
        assert_eq!(verdict("libbpf: failed to load object\n"), None);
    }
}
