//! `time.offset`: a target's wall clock is another one, and the machine's is not.
//!
//! Programs ask for the time in the vDSO, a library that the kernel maps into each process. In
//! the target's processes its functions `clock_gettime`, `gettimeofday` and `time` are made to
//! jump to a short routine in the zeros at the library's end, which makes the system call and
//! adds the offset. All threads of the process stand still for the change (`ptrace(2)`, some
//! milliseconds; see `stopped`), none of them in the bytes that change. The changed pages are the
//! process's own copies: no other process sees them.
//!
//! **What moves:** CLOCK_REALTIME and its coarse and alarm forms, CLOCK_TAI. **What does not:**
//! CLOCK_MONOTONIC and every duration measured by it; the times that the kernel writes by itself
//! (of files, for one); waits until a wall time, which the kernel ends by its own clock (a
//! deadline that the program computes from a clock that is an hour ahead is waited for an hour
//! longer, one from a clock behind is over at once). That is what a host with a wrong clock in the
//! midst of others looks like from inside, except for those waits.
//!
//! **Who is not reached:** programs that make the system call themselves or use the old vsyscall
//! page, 32-bit programs, and a program that a process becomes by exec: it gets a fresh vDSO. A
//! child by fork alone has the changed one, and is healed with its parent. A call costs a system
//! call (some 100 ns) while the fault is in place, instead of some 25 ns.
//!
//! The kernel keeps the change while the process lives: what was there is on record first.
//!
//! **What is seen:** the process's own vDSO, as it is read from its memory, is run here in a copy,
//! and what it tells is held against our clock: at the beginning, at the end, and every 10 s when
//! the effect is asked for. No thread of the process is made to do anything (see `copy`).
//!
//! Turned down: a time namespace, which cannot move CLOCK_REALTIME; a preloaded library, which
//! must be there when a program starts and misses static ones; moving the machine's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};
use temblor_host::target::Target;

use super::Refused;
use super::copy::wall_clock;
use super::readings::{Reading, Readings};
use super::routine::{Routine, offset_bytes, routine};
use super::stopped::while_stopped;
use super::vdso::{self, Look, Plan};
use crate::undo::{Entry, Guard, ProcessMemory, Undo, Undoing as _, is_gone};
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "time.offset";
const UNDONE_BY: &str = "this program, or its guardian when it dies";
/// The furthest a clock is moved: ten years.
pub const MAX_OFFSET_NS: i64 = 10 * 366 * 86_400 * 1_000_000_000;
/// Processes that are forked while others are changed are found by looking again.
const LOOKS_MAX: u32 = 8;
/// A thread that stands in the few bytes of a jump has left them a moment later.
const TRIES_MAX: u32 = 100;
/// How long a reading is good for.
const READ_EVERY_NS: u64 = 10_000_000_000;

/// A wall clock that is wrong, for one target.
#[derive(Debug, Clone)]
pub struct Offset {
    /// Whose clock.
    pub target: Target,
    /// By how much it is ahead of the true time, in nanoseconds; negative: behind.
    pub by_ns: i64,
}

impl Fault for Offset {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        let this_kernel = ThisKernel::look()?;
        self.check_dose()?;
        let pids = self.target.processes_now();
        if pids.is_empty() {
            return Err(Refused::NoProcess { service: self.target.service.clone() }.into());
        }
        pids.iter().try_for_each(|pid| match self.check_process(*pid, &this_kernel) {
            // It has ended since it was listed.
            Err(_) if !is_there(*pid) => Ok(()),
            other => other,
        })
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let pids = self.target.processes_now();
        let change = |pid: u32| PlannedChange {
            what: format!(
                "stop process {pid} of {} for a moment and make clock_gettime, gettimeofday and \
                 time in its vDSO tell a time {}",
                self.target.service,
                self.words()
            ),
            undo: format!("the vDSO made the kernel's own again by {UNDONE_BY}"),
        };
        pids.into_iter().map(change).collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let this_kernel = ThisKernel::look()?;
        let began_ns = now_ns();
        let mut in_place = InPlace {
            fault: self.clone(),
            this_kernel,
            by_ns: self.by_ns,
            entries: Vec::new(),
            readings: Readings::default(),
            unread: None,
            read_ns: began_ns,
            described: Described {
                name: NAME.into(),
                dose: BTreeMap::new(),
                mechanism: "the vDSO of each process, changed while its threads stand still".into(),
                undone_by: UNDONE_BY.into(),
                began_ns,
                ended_ns: began_ns,
            },
        };
        let mut known = BTreeSet::new();
        for _ in 0..LOOKS_MAX {
            // One that was forked before its parent was changed tells the true time.
            let new: Vec<u32> =
                self.target.processes_now().into_iter().filter(|pid| known.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            in_place.change(&new, guard)?;
        }
        if in_place.open()? == 0 {
            return Err(Refused::NoProcess { service: self.target.service.clone() }.into());
        }
        in_place.described.dose = BTreeMap::from([
            ("target".into(), self.target.service.clone()),
            ("by".into(), self.words()),
            ("processes".into(), known.len().to_string()),
        ]);
        in_place.described.ended_ns = now_ns();
        Ok(Box::new(in_place))
    }
}

impl Offset {
    fn words(&self) -> String {
        let s = self.by_ns.unsigned_abs() / 1_000_000_000;
        let ms = self.by_ns.unsigned_abs() % 1_000_000_000 / 1_000_000;
        let way = if self.by_ns < 0 { "behind" } else { "ahead" };
        format!("{s}.{ms:03} s {way}")
    }

    fn check_dose(&self) -> Result<()> {
        let service = || self.target.service.clone();
        if self.by_ns == 0 {
            return Err(Refused::Nothing { service: service() }.into());
        }
        if self.by_ns.unsigned_abs() > MAX_OFFSET_NS.unsigned_abs() {
            let by_s = self.by_ns / 1_000_000_000;
            return Err(Refused::TooFar { service: service(), by_s }.into());
        }
        Ok(())
    }

    fn check_process(&self, pid: u32, this_kernel: &ThisKernel) -> Result<()> {
        let service = || self.target.service.clone();
        if pid == std::process::id() {
            return Err(Refused::Itself { service: service(), pid }.into());
        }
        let looked = |e: io::Error| Error::system(format!("look at process {pid}"), e);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(looked)?;
        let field = |key: &str| -> u32 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        match field("TracerPid:") {
            0 => {}
            tracer => return Err(Refused::Traced { service: service(), pid, tracer }.into()),
        }
        if field("Seccomp:") == 1 {
            return Err(Refused::Strict { service: service(), pid }.into());
        }
        if !is_64_bit(pid).map_err(may_not(pid))? {
            return Err(Refused::Not64Bit { service: service(), pid }.into());
        }
        let mapping = vdso::mapping(pid).map_err(may_not(pid))?;
        let Some(mapping) = mapping else {
            return Err(Refused::NoVdso { service: service(), pid }.into());
        };
        if vdso::image(pid, &mapping).map_err(may_not(pid))? != this_kernel.pristine {
            return Err(Refused::ChangedAlready { service: service(), pid }.into());
        }
        Ok(())
    }
}

fn is_there(pid: u32) -> bool {
    temblor_host::process::Identity::of(pid).is_ok_and(|process| process.is_alive())
}

/// A kernel thread has no program at all; it has no vDSO either.
fn is_64_bit(pid: u32) -> io::Result<bool> {
    let mut head = [0; 5];
    match fs::File::open(format!("/proc/{pid}/exe")) {
        Ok(mut program) => program.read_exact(&mut head)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    // The fifth byte of an ELF file is its class.
    Ok(head[4] == 2)
}

/// What it means that a process's memory may not be read or written.
fn may_not(pid: u32) -> impl Fn(io::Error) -> Error {
    move |error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Error::Missing {
            what: format!("the right to trace process {pid} (CAP_SYS_PTRACE)"),
            how: "run as root; and sysctl kernel.yama.ptrace_scope must not be 3".into(),
        },
        _ => Error::system(format!("change the clock of process {pid}"), error),
    }
}

/// The vDSO that this kernel gives to every process, and what is changed in it.
struct ThisKernel {
    pristine: Vec<u8>,
    plan: Plan,
}

impl ThisKernel {
    fn look() -> Result<Self> {
        let missing = |what: &str, how: &str| Error::Missing { what: what.into(), how: how.into() };
        let routine: Routine = routine().ok_or_else(|| {
            missing("a way to move a process's clock", "it is there for x86-64 processors only")
        })?;
        let pristine = vdso::pristine()
            .map_err(|error| Error::system("read the vDSO of this process", error))?
            .ok_or_else(|| missing("a vDSO", "boot without vdso=0"))?;
        let plan = vdso::plan(&pristine, &routine).ok_or_else(|| {
            missing(
                "a vDSO with the functions that tell the time and room for others",
                "the kernel's is laid out in a way that is not known here",
            )
        })?;
        Ok(Self { pristine, plan })
    }
}

struct InPlace {
    fault: Offset,
    this_kernel: ThisKernel,
    /// What is in place now.
    by_ns: i64,
    entries: Vec<Entry>,
    readings: Readings,
    /// Why a clock could not be read.
    unread: Option<String>,
    /// When the last reading was taken.
    read_ns: u64,
    described: Described,
}

impl InPlace {
    /// Changes processes that are not changed yet.
    fn change(&mut self, pids: &[u32], guard: &Guard) -> Result<()> {
        let plan = &self.this_kernel.plan;
        let changes = plan.jumps.iter().chain([&plan.routine]).cloned().collect();
        let target = &self.fault.target;
        let undo = ProcessMemory::about_to_change(target, pids, changes, plan.routine.at)?;
        self.entries.push(guard.record(Undo::ProcessMemory(undo.clone()))?);
        for found in undo.processes() {
            let pid = found.process.pid;
            match self.change_one(&undo, pid, found.vdso) {
                Ok(()) => self.read_clock(pid, found.vdso),
                Err(error) if is_gone(&error) || !found.process.is_alive() => {}
                Err(error) => return Err(may_not(pid)(error)),
            }
        }
        self.read_ns = now_ns();
        Ok(())
    }

    fn change_one(&self, undo: &ProcessMemory, pid: u32, vdso: u64) -> io::Result<()> {
        let plan = &self.this_kernel.plan;
        let at = |offset: usize| vdso + offset as u64;
        // One that stands at the first byte of a function takes the jump, as a whole.
        let inside: Vec<_> =
            plan.jumps.iter().map(|jump| at(jump.at + 1)..at(jump.range().end)).collect();
        for _ in 0..TRIES_MAX {
            let done = while_stopped(pid, |stopped| {
                match undo.look_at(stopped, vdso)? {
                    Look::Pristine => {}
                    // It was forked from one that is changed already, and is healed with it.
                    Look::Ours => return Ok(true),
                    Look::Foreign => return Err(io::Error::other("somebody else is at it")),
                }
                if stopped.is_anybody_in(&inside)? {
                    return Ok(false);
                }
                let mut routine = plan.routine.ours.clone();
                let offset = offset_bytes(self.by_ns);
                routine[..offset.len()].copy_from_slice(&offset);
                // First where the jumps lead to, then the jumps.
                stopped.write(at(plan.routine.at), &routine)?;
                for jump in &plan.jumps {
                    stopped.write(at(jump.at), &jump.ours)?;
                }
                Ok(true)
            })?;
            if done {
                return Ok(());
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "a thread of it does not leave its clock"))
    }

    fn undos(&self) -> impl Iterator<Item = &ProcessMemory> {
        self.entries.iter().filter_map(|entry| match entry.recorded() {
            Some(Undo::ProcessMemory(undo)) => Some(undo),
            _ => None,
        })
    }

    /// Every process that tells another time now.
    fn changed_now(&self) -> Result<BTreeMap<u32, u64>> {
        let mut changed = BTreeMap::new();
        for undo in self.undos() {
            let open =
                undo.open().map_err(|error| Error::system("look for changed clocks", error))?;
            changed.extend(open.into_iter().map(|found| (found.process.pid, found.vdso)));
        }
        Ok(changed)
    }

    fn open(&self) -> Result<usize> {
        Ok(self.changed_now()?.len())
    }

    /// Reads the main process's clock, as far as it is changed.
    fn read_main_clock(&mut self, changed: &BTreeMap<u32, u64>) {
        let first = self.fault.target.pids.first().filter(|pid| changed.contains_key(pid));
        let Some(pid) = first.or_else(|| changed.keys().next()).copied() else { return };
        let Some(vdso) = changed.get(&pid) else { return };
        self.read_clock(pid, *vdso);
        self.read_ns = now_ns();
    }

    fn read_clock(&mut self, pid: u32, vdso: u64) {
        match self.told_by(pid, vdso) {
            Ok(Some(reading)) => self.readings.add(pid, reading, self.by_ns),
            // It is another program by now.
            Ok(None) => {}
            Err(_) if !is_there(pid) => {}
            Err(error) => self.unread = Some(format!("process {pid}: {error}")),
        }
    }

    fn told_by(&self, pid: u32, vdso: u64) -> io::Result<Option<Reading>> {
        let Some(mapping) = vdso::mapping(pid)?.filter(|now| now.start == vdso) else {
            return Ok(None);
        };
        let ThisKernel { pristine, plan } = &self.this_kernel;
        wall_clock(&vdso::image(pid, &mapping)?, pristine, plan)
    }

    fn effect_of(&self, changed: &BTreeMap<u32, u64>) -> Effect {
        let source = "the process's own clock_gettime, read from its memory and run in a copy, \
                      against this machine's clock";
        let now = self.fault.target.processes_now();
        let true_time = now.iter().filter(|pid| !changed.contains_key(pid)).count();
        let part = |name: &str, count: usize| EffectPart {
            name: name.into(),
            count: count as u64,
            bytes: 0,
        };
        let unread = self.unread.iter().map(|why| part(&format!("clock not read: {why}"), 0));
        Effect {
            measure: "readings of a moved clock".into(),
            count: self.readings.moved(),
            source: source.into(),
            parts: [
                part("processes whose vDSO reads as changed", changed.len()),
                part("processes of the target that tell the true time", true_time),
            ]
            .into_iter()
            .chain(unread)
            .collect(),
            doses: self.readings.doses(self.by_ns, source),
        }
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let changed = self.changed_now()?;
        if now_ns().saturating_sub(self.read_ns) > READ_EVERY_NS {
            self.read_main_clock(&changed);
        }
        Ok(self.effect_of(&changed))
    }

    fn set_level(&mut self, level: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&level) {
            return Err(Refused::BadLevel { level }.into());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "ten years are known to the microsecond"
        )]
        let by_ns =
            if level < 1.0 { (self.fault.by_ns as f64 * level) as i64 } else { self.fault.by_ns };
        let changed = self.changed_now()?;
        for (pid, vdso) in &changed {
            let at = vdso + self.this_kernel.plan.routine.at as u64;
            let set = while_stopped(*pid, |stopped| stopped.write(at, &offset_bytes(by_ns)));
            match set {
                Err(error) if is_there(*pid) => return Err(may_not(*pid)(error)),
                _ => {}
            }
        }
        self.by_ns = by_ns;
        self.readings.begin_again();
        self.read_main_clock(&changed);
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let looked = self.changed_now();
        let (effect, effect_unread) = match looked {
            Ok(changed) => {
                self.read_main_clock(&changed);
                (self.effect_of(&changed), None)
            }
            Err(error) => (self.effect_of(&BTreeMap::new()), Some(error.to_string())),
        };
        let undos: Vec<ProcessMemory> = self.undos().cloned().collect();
        let entries = std::mem::take(&mut self.entries);
        let began_ns = now_ns();
        // The last one first: they do not depend on each other, but it is the order of the journal.
        let undone: Vec<Result<_>> = entries.into_iter().rev().map(Entry::undo).collect();
        let ended_ns = now_ns();
        undone.into_iter().try_for_each(|undone| undone.map(|_| ()))?;
        let mut verified = true;
        for undo in &undos {
            verified &= !undo.is_open()? && self.is_pristine(undo);
        }
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}

impl InPlace {
    /// Whether every process that was changed and still is what it was has the kernel's vDSO, to
    /// the last byte.
    fn is_pristine(&self, undo: &ProcessMemory) -> bool {
        undo.processes().all(|found| {
            let pid = found.process.pid;
            let mapping = vdso::mapping(pid).ok().flatten();
            let Some(mapping) = mapping.filter(|now| now.start == found.vdso) else { return true };
            match vdso::image(pid, &mapping) {
                Ok(image) => image == self.this_kernel.pristine,
                Err(_) => !found.process.is_alive(),
            }
        })
    }
}
