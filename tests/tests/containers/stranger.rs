//! A program that knows nothing of a lab or a container: a process with a namespace and a cgroup,
//! found by its name.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use temblor_faults::network::{Action, Direction, Partition, Peer};
use temblor_faults::process::{Kill, Pause, Signo};
use temblor_faults::undo::Guard;
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::protected;
use temblor_host::target::Origin;
use temblor_host::target::find::{by_cgroup, by_process_name};
use temblor_tests::skipped;

use crate::world::{SHORT, answers, first_address, held, join, new_netns, ping};

const SERVER: &str = "/usr/bin/redis-server";

/// The program, taken away with its cgroup when the test ends.
struct Program {
    child: Child,
    group: Group,
}

impl Program {
    fn start(name: &str, dir: &tempfile::TempDir, netns: &Netns) -> Self {
        // A name that nothing else on this machine has.
        let program = dir.path().join(name);
        std::fs::copy(SERVER, &program).unwrap();
        let group = Group::create(&Cgroups::detect().unwrap(), name).unwrap();
        let mut command = Command::new(program);
        command
            .args(["--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: setsid is a system call and nothing else.
        unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        let started = Self { child: netns.run(|| command.spawn()).unwrap().unwrap(), group };
        started.group.attach(started.child.id()).unwrap();
        started
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.group.kill_all(5_000);
        let _ = self.child.wait();
        let _ = self.group.remove_within(5_000);
    }
}

#[test]
fn a_program_that_knows_nothing_of_the_lab() {
    if skipped() {
        return;
    }
    if !std::path::Path::new(SERVER).is_file() {
        eprintln!("skipped: needs redis-server, which plays the stranger");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = (new_netns(), new_netns());
    join(&theirs, "10.213.1.1", &ours, "10.213.1.2");
    let name = format!("rds-{}", std::process::id());
    let program = Program::start(&name, &dir, &theirs);

    let found = by_process_name(&name).unwrap();
    let [target] = &found[..] else { panic!("{found:?}") };
    assert_eq!(target.pids, [program.child.id()]);
    assert_eq!(target.service, format!("{name}-{}", program.child.id()));
    assert_eq!(target.netns, theirs);
    assert_eq!(target.addresses, ["10.213.1.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(target.origin, Origin::Processes);
    program.group.dirs().iter().for_each(|dir| target.owns(dir).unwrap());
    protected::check(&found, &[]).unwrap();
    let same = by_cgroup(&name).unwrap().remove(0);
    assert_eq!((&same.pids, &same.netns), (&target.pids, &target.netns));
    answers(&ours, target);

    let guard = Guard::without_guardian(dir.path()).unwrap();
    let partition = Partition {
        from: target.clone(),
        to: vec![Peer { name: "us".into(), address: "10.213.1.2".parse().unwrap() }],
        ports: vec![],
        direction: Direction::Both,
        action: Action::Drop,
    };
    held(&partition, &guard, || drop(ping(&ours, target, SHORT).unwrap_err()));
    answers(&ours, target);
    // By its processes, with SIGSTOP, and by its cgroup, which may be frozen.
    for target in [target, &same] {
        held(&Pause { target: target.clone() }, &guard, || {
            drop(ping(&ours, target, SHORT).unwrap_err());
        });
        answers(&ours, target);
    }
    assert_eq!(first_address(&same), first_address(target));
    held(&Kill { target: target.clone(), signal: Signo::KILL, all: false }, &guard, || {});
    let error = by_process_name(&name).unwrap_err().to_string();
    assert!(error.starts_with(&format!("there is no process named `{name}`")), "{error}");

    let dirs = program.group.dirs().to_vec();
    drop(program);
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
}
