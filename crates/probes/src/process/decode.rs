//! From the kernel's bytes to events: pure, so that it can be tested without a kernel.

use temblor_event::{Event, ExitCause, ProcessExec, ProcessExit, ProcessSignal, SignalSender};

use super::generated::types::{
    process_exec, process_record, process_record_kind, process_sender, process_sender_kind,
};
use crate::plain::from_bytes;

const SIGKILL: u8 = 9;
/// In what wait(2) calls the status.
const CORE_DUMPED: u32 = 0x80;

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// And whether its parent is not of its target.
    Exec(u64, ProcessExec, bool),
    Exit(u64, ProcessExit),
    Signal(u64, ProcessSignal),
    /// The kernel has chosen a process to make room.
    Victim {
        pid: u32,
    },
}

impl From<Told> for Option<Event> {
    fn from(told: Told) -> Self {
        Some(match told {
            Told::Exec(t_ns, body, _) => Event::at(t_ns, body),
            Told::Exit(t_ns, body) => Event::at(t_ns, body),
            Told::Signal(t_ns, body) => Event::at(t_ns, body),
            Told::Victim { .. } => return None,
        })
    }
}

/// A record that makes no sense: the kernel half and this one disagree, which is our bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a record of {0} bytes")]
    Length(usize),
    #[error("a record of unknown kind {0}")]
    Kind(u32),
    #[error("a target of unknown number {0}")]
    Target(u32),
    #[error("an unknown kind of sender, {0}")]
    Sender(u32),
    #[error("a signal {0}")]
    Signal(u32),
}

/// One record. The targets' names are in the order of their numbers.
pub(super) fn decode(bytes: &[u8], services: &[String]) -> Result<Told, Malformed> {
    let length = Malformed::Length(bytes.len());
    if let Some(exec) = from_bytes::<process_exec>(bytes) {
        let record = &exec.record;
        if record.kind != process_record_kind::PROCESS_RECORD_EXEC {
            return Err(length);
        }
        let told = ProcessExec {
            service: service(record.target, services)?,
            pid: record.pid,
            parent: (record.parent != 0).then_some(record.parent),
            file: text(&exec.file),
        };
        return Ok(Told::Exec(record.t_ns, told, record.is_first != 0));
    }
    let record: process_record = from_bytes(bytes).ok_or(length)?;
    Ok(match record.kind {
        process_record_kind::PROCESS_RECORD_EXIT => {
            Told::Exit(record.t_ns, exit(&record, services)?)
        }
        process_record_kind::PROCESS_RECORD_SIGNAL => {
            let told = ProcessSignal {
                service: service(record.target, services)?,
                pid: record.pid,
                name: text(&record.name),
                signal: signal(record.signal)?,
                handled: record.handled != 0,
                sender: sender(&record.sender, services)?
                    .ok_or(Malformed::Sender(record.sender.kind.0))?,
            };
            Told::Signal(record.t_ns, told)
        }
        process_record_kind::PROCESS_RECORD_VICTIM => Told::Victim { pid: record.pid },
        process_record_kind::PROCESS_RECORD_EXEC => return Err(length),
        process_record_kind(other) => return Err(Malformed::Kind(other)),
    })
}

fn exit(record: &process_record, services: &[String]) -> Result<ProcessExit, Malformed> {
    Ok(ProcessExit {
        service: service(record.target, services)?,
        pid: record.pid,
        name: text(&record.name),
        lived_ns: record.lived_ns,
        cause: cause(record, services)?,
        core_dumped: record.exit_code & CORE_DUMPED != 0,
    })
}

fn cause(record: &process_record, services: &[String]) -> Result<ExitCause, Malformed> {
    let number = record.exit_code & 0x7f;
    if number == 0 {
        return Ok(ExitCause::Code { code: record.exit_code.to_le_bytes()[1] });
    }
    let signal = signal(number)?;
    let sender = sender(&record.sender, services)?;
    let by_process = matches!(sender, Some(SignalSender::Process { .. }));
    let wanted_memory = record.out_of_memory != 0 || record.cgroup_limit != 0;
    Ok(match sender {
        // A process that is dying already may be marked as a victim, too.
        _ if signal == SIGKILL && wanted_memory && !by_process => {
            ExitCause::OutOfMemory { cgroup_limit: (record.cgroup_limit != 0).then_some(true) }
        }
        Some(SignalSender::Fault) => ExitCause::Fault { signal },
        sender => ExitCause::Signal { signal, sender },
    })
}

fn sender(sender: &process_sender, services: &[String]) -> Result<Option<SignalSender>, Malformed> {
    Ok(Some(match sender.kind {
        process_sender_kind::PROCESS_SENDER_UNSEEN => return Ok(None),
        process_sender_kind::PROCESS_SENDER_KERNEL => SignalSender::Kernel,
        process_sender_kind::PROCESS_SENDER_FAULT => SignalSender::Fault,
        process_sender_kind::PROCESS_SENDER_PROCESS => SignalSender::Process {
            pid: (sender.pid != 0).then_some(sender.pid),
            name: text(&sender.name),
            service: service(sender.target, services).ok(),
        },
        process_sender_kind(other) => return Err(Malformed::Sender(other)),
    }))
}

fn service(target: u32, services: &[String]) -> Result<String, Malformed> {
    let at = usize::try_from(target).ok();
    at.and_then(|at| services.get(at)).cloned().ok_or(Malformed::Target(target))
}

fn signal(number: u32) -> Result<u8, Malformed> {
    u8::try_from(number)
        .ok()
        .filter(|number| (1..=64).contains(number))
        .ok_or(Malformed::Signal(number))
}

/// Up to the 0 that ends it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plain::as_bytes;

    fn record(kind: process_record_kind) -> process_record {
        let mut record = process_record { t_ns: 5, kind, pid: 42, ..process_record::default() };
        record.name[..8].copy_from_slice(b"postgres");
        record
    }

    fn sender(kind: process_sender_kind) -> process_sender {
        let mut sender = process_sender { kind, pid: 99, target: 7, ..process_sender::default() };
        sender.name[..7].copy_from_slice(b"temblor");
        sender
    }

    fn decoded(record: &process_record) -> Result<Told, Malformed> {
        decode(as_bytes(record), &["db".to_owned()])
    }

    #[test]
    fn every_end_has_its_cause() {
        let temblor =
            || SignalSender::Process { pid: Some(99), name: "temblor".into(), service: None };
        let kernel = process_sender_kind::PROCESS_SENDER_KERNEL;
        let process = process_sender_kind::PROCESS_SENDER_PROCESS;
        let fault = process_sender_kind::PROCESS_SENDER_FAULT;
        let unseen = process_sender_kind::PROCESS_SENDER_UNSEEN;
        let by = |signal, sender| ExitCause::Signal { signal, sender };
        let memory = |cgroup_limit| ExitCause::OutOfMemory { cgroup_limit };
        // The status as wait(2) has it, the sender, want of memory, a cgroup's limit.
        for (exit_code, from, wanted, limit, expected) in [
            (0, unseen, 0, 0, ExitCause::Code { code: 0 }),
            (0xff00, unseen, 0, 0, ExitCause::Code { code: 255 }),
            (9, process, 0, 0, by(9, Some(temblor()))),
            (9, process, 1, 0, by(9, Some(temblor()))),
            (9, kernel, 0, 0, by(9, Some(SignalSender::Kernel))),
            (9, kernel, 1, 1, memory(Some(true))),
            (9, kernel, 1, 0, memory(None)),
            (9, kernel, 0, 1, memory(Some(true))),
            (9, unseen, 1, 0, memory(None)),
            (9, unseen, 0, 0, by(9, None)),
            (15, unseen, 1, 0, by(15, None)),
            (11, fault, 0, 0, ExitCause::Fault { signal: 11 }),
            (64, kernel, 0, 0, by(64, Some(SignalSender::Kernel))),
        ] {
            let mut exit = record(process_record_kind::PROCESS_RECORD_EXIT);
            (exit.exit_code, exit.sender) = (exit_code, sender(from));
            (exit.out_of_memory, exit.cgroup_limit) = (wanted, limit);
            let Told::Exit(5, told) = decoded(&exit).unwrap() else { panic!() };
            assert_eq!(told.cause, expected, "status {exit_code}");
            assert_eq!((told.pid, &told.name[..], &told.service[..]), (42, "postgres", "db"));
        }
        let mut dumped = record(process_record_kind::PROCESS_RECORD_EXIT);
        dumped.exit_code = 0x86;
        let Told::Exit(5, told) = decoded(&dumped).unwrap() else { panic!() };
        assert_eq!((told.core_dumped, told.cause), (true, by(6, None)));
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |change: &dyn Fn(&mut process_record), expected: Malformed| {
            let mut bad = record(process_record_kind::PROCESS_RECORD_SIGNAL);
            bad.signal = 9;
            bad.sender = sender(process_sender_kind::PROCESS_SENDER_KERNEL);
            assert!(decoded(&bad).is_ok());
            change(&mut bad);
            assert_eq!(decoded(&bad), Err(expected));
        };
        check(&|r| r.kind = process_record_kind(9), Malformed::Kind(9));
        check(&|r| r.target = 1, Malformed::Target(1));
        check(&|r| r.signal = 0, Malformed::Signal(0));
        check(&|r| r.signal = 65, Malformed::Signal(65));
        check(&|r| r.sender.kind = process_sender_kind(4), Malformed::Sender(4));
        check(&|r| r.sender.kind = process_sender_kind(0), Malformed::Sender(0));
        let length = size_of::<process_record>();
        let exec = process_record_kind::PROCESS_RECORD_EXEC;
        check(&|r| r.kind = exec, Malformed::Length(length));
        assert_eq!(decode(&[0; 3], &[]), Err(Malformed::Length(3)));
    }

    #[test]
    fn a_program_is_told_with_its_file() {
        let mut exec = process_exec {
            record: record(process_record_kind::PROCESS_RECORD_EXEC),
            file: [b'x'; 256],
        };
        let file = |exec: &process_exec| {
            let told = decode(as_bytes(exec), &["db".to_owned()]).unwrap();
            let Told::Exec(5, told, is_first) = told else { panic!("{told:?}") };
            (told.file, told.parent, is_first)
        };
        assert_eq!(file(&exec), ("x".repeat(256), None, false));
        (exec.record.parent, exec.record.is_first) = (3, 1);
        exec.file[..9].copy_from_slice(b"/bin/sh\0y");
        assert_eq!(file(&exec), ("/bin/sh".to_owned(), Some(3), true));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes, &["db".to_owned()]);
        }

        #[test]
        fn random_records_never_panic(
            kind in 0_u32..6,
            bytes in prop::collection::vec(any::<u8>(), size_of::<process_exec>()),
        ) {
            let mut exec: process_exec = from_bytes(&bytes).unwrap();
            exec.record.kind = process_record_kind(kind);
            let _ = decode(as_bytes(&exec), &["db".to_owned()]);
            let _ = decode(as_bytes(&exec.record), &["db".to_owned()]);
        }
    }
}
