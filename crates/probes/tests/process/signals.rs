//! Who sends what to whom.

use std::process::Command;

use temblor_event::clock::now_ns;
use temblor_event::{ExitCause, ProcessSignal, SignalSender};

use crate::common::{Child, possible, target};
use crate::told::{ended, exits, signals, status, us, watch};

/// Has the child fork one that waits for a signal.
fn victim(child: &mut Child) -> u32 {
    let said = child.ask("pause");
    said.iter().find_map(|line| line.strip_prefix("forked ")?.parse().ok()).unwrap()
}

fn send(pid: u32, signal: i32) {
    // SAFETY: it takes two numbers.
    assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) }, 0);
}

#[test]
fn a_killed_process_names_its_killer() {
    if !possible() {
        return;
    }
    let (mut child, mut colleague) = (Child::start(), Child::start());
    let watch =
        watch(&[target("victims", &[child.pid()]), target("colleague", &[colleague.pid()])]);
    let name = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    let other = SignalSender::Process {
        pid: Some(colleague.pid()),
        name,
        service: Some("colleague".into()),
    };
    let mut truth = Vec::new();
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, libc::SIGQUIT, 40] {
        for sender in [us(), other.clone()] {
            let pid = victim(&mut child);
            if sender == other {
                colleague.ask(&format!("kill {pid} {signal}"));
            } else {
                send(pid, signal);
            }
            let ended = ended(&child.ask(&format!("wait {pid}")));
            truth.push((ended[0], u8::try_from(signal).unwrap(), sender));
        }
    }
    let (events, lost) = watch.stop();
    let (exits, signals) = (exits(&events), signals(&events));
    assert_eq!((exits.len(), signals.len()), (truth.len(), truth.len()), "{events:#?}");
    for ((exit, sent), (ended, signal, sender)) in exits.iter().zip(&signals).zip(truth) {
        assert_eq!(status(exit), ended);
        assert_eq!(exit.cause, ExitCause::Signal { signal, sender: Some(sender.clone()) });
        assert_eq!((sent.pid, sent.signal, sent.handled), (exit.pid, signal, false));
        assert_eq!((&sent.service[..], &sent.sender), ("victims", &sender));
    }
    assert_eq!(lost, 0);
}

#[test]
fn a_fault_is_nobodys_doing() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = watch(&[target("faulty", &[child.pid()])]);
    let fault = ended(&child.ask("fault"))[0];
    let abort = ended(&child.ask("abort"))[0];
    let (events, _) = watch.stop();
    let exits = exits(&events);
    assert_eq!(exits.iter().map(status).collect::<Vec<_>>(), [fault, abort]);
    assert_eq!(exits[0].cause, ExitCause::Fault { signal: 11 });
    // What a process does to itself by a system call it has sent.
    let name = exits[1].name.clone();
    let itself = SignalSender::Process { pid: Some(abort.0), name, service: Some("faulty".into()) };
    assert_eq!(exits[1].cause, ExitCause::Signal { signal: 6, sender: Some(itself) });
}

#[test]
fn stops_and_requests_are_told_and_chatter_is_not() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    child.ask("handle 15");
    child.ask("handle 10");
    let watch = watch(&[target("talker", &[child.pid()])]);
    for signal in [libc::SIGUSR1, libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH] {
        (0..20).for_each(|_| send(child.pid(), signal));
    }
    for signal in [libc::SIGSTOP, libc::SIGCONT, libc::SIGTERM] {
        send(child.pid(), signal);
    }
    // Its own child's end tells it, too.
    child.ask("exits 0 0");
    let (events, _) = watch.stop();
    let told: Vec<_> = signals(&events);
    let expected = |(signal, handled)| ProcessSignal {
        service: "talker".into(),
        pid: child.pid(),
        name: told[0].name.clone(),
        signal,
        handled,
        sender: us(),
    };
    assert_eq!(told, [(19, false), (18, false), (15, true)].map(expected));
}

#[test]
fn what_was_sent_before_has_no_known_sender() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let pid = victim(&mut child);
    // A process that is stopped takes SIGTERM once it goes on.
    send(pid, libc::SIGSTOP);
    let until_ns = now_ns() + 10_000_000_000;
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
        assert!(now_ns() < until_ns, "it does not stop");
        std::thread::yield_now();
    }
    send(pid, libc::SIGTERM);
    let watch = watch(&[target("late", &[child.pid(), pid])]);
    send(pid, libc::SIGCONT);
    let truth = ended(&child.ask(&format!("wait {pid}")));
    let (events, _) = watch.stop();
    let exits = exits(&events);
    assert_eq!(exits.iter().map(status).collect::<Vec<_>>(), truth);
    assert_eq!(exits[0].cause, ExitCause::Signal { signal: 15, sender: None });
}

#[test]
fn a_sender_without_a_handle_on_the_child_is_found_too() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = watch(&[target("victims", &[child.pid()])]);
    let pid = victim(&mut child);
    let mut shell = Command::new("/bin/sh");
    let mut shell = shell.args(["-c", "kill -9 \"$0\"", &pid.to_string()]).spawn().unwrap();
    let killer = shell.id();
    assert!(shell.wait().unwrap().success());
    child.ask(&format!("wait {pid}"));
    let (events, _) = watch.stop();
    let sender = SignalSender::Process { pid: Some(killer), name: "sh".into(), service: None };
    let exits = exits(&events);
    assert_eq!(exits[0].cause, ExitCause::Signal { signal: 9, sender: Some(sender) });
}
