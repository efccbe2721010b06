//! Every fault that makes sense on a container, on one.

use std::time::Duration;

use temblor_faults::Fault as _;
use temblor_faults::cpu::{Amount, Quota};
use temblor_faults::disk::{DeviceAsked, Fsync, Throttle};
use temblor_faults::memory::Limit;
use temblor_faults::network::{Action, Direction, Dose, Partition, Peer, Reset, Shape};
use temblor_faults::process::{CrashLoop, Kill, Pause, Restart, Signo};
use temblor_faults::resource::{Connections, FileLimit, Files, Speak};
use temblor_faults::undo::Guard;
use temblor_host::target::Target;
use temblor_host::target::find::{again, by_container, by_label};
use temblor_tests::wait_for;

use crate::engine::{Docker, skipped};
use crate::world::{PATIENCE, PORT, SHORT, answers, command, connect, first_address, held, ping};

/// An API and its database, each in a container.
struct Shop {
    docker: Docker,
    api: Target,
    db: Target,
    guard: Guard,
    _dir: tempfile::TempDir,
}

impl Shop {
    fn open() -> Self {
        let docker = Docker::up();
        docker.run("api", &[], "no");
        docker.run("db", &[("role", "database")], "always");
        let api = by_container(&docker.engine, "api").unwrap().remove(0);
        let db = by_label(&docker.engine, "role=database").unwrap().remove(0);
        let dir = tempfile::tempdir().unwrap();
        let guard = Guard::without_guardian(dir.path()).unwrap();
        let shop = Self { docker, api, db, guard, _dir: dir };
        shop.works();
        shop
    }

    fn works(&self) {
        answers(&self.api.netns, &self.db);
    }

    fn peer(&self) -> Peer {
        Peer { name: "db".into(), address: first_address(&self.db).into() }
    }
}

#[test]
fn network_faults_stay_in_the_containers_namespace() {
    if skipped() {
        return;
    }
    let shop = Shop::open();
    let (api, db) = (&shop.api, &shop.db);
    let asks = |patience| ping(&api.netns, db, patience);
    let spared = || {
        // The other way: a connection that another namespace opens to the same server.
        ping(&db.netns, db, PATIENCE).unwrap();
    };

    for action in [Action::Drop, Action::Reject] {
        let partition = Partition {
            from: api.clone(),
            to: vec![shop.peer()],
            ports: vec![],
            direction: Direction::Both,
            action,
        };
        held(&partition, &shop.guard, || {
            let error = asks(SHORT).unwrap_err();
            let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
            assert_eq!(refused, action == Action::Reject, "{error}");
            spared();
        });
        shop.works();
    }

    let delay = Duration::from_millis(60);
    for dose in [Dose::Latency { delay, jitter: Duration::ZERO }, Dose::Loss { share: 1.0 }] {
        let shape = Shape {
            from: api.clone(),
            to: vec![shop.peer()],
            ports: vec![],
            direction: Direction::Out,
            dose,
            seed: Some(1),
        };
        held(&shape, &shop.guard, || {
            match dose {
                // A handshake and a question: two packets that wait.
                Dose::Latency { .. } => assert!(asks(PATIENCE).unwrap() >= delay * 2),
                _ => assert!(asks(SHORT).is_err()),
            }
            spared();
        });
        shop.works();
    }

    let connection = connect(&api.netns, db, PATIENCE).unwrap();
    assert_eq!(command(&connection, "PING").unwrap(), "+PONG\r\n");
    let reset =
        Reset { target: api.clone(), peers: vec![shop.peer()], ports: vec![PORT], every: None };
    held(&reset, &shop.guard, || {});
    command(&connection, "PING").unwrap_err();
    shop.works();
    shop.docker.down();
}

#[test]
fn limits_are_the_containers_own_and_given_back() {
    if skipped() {
        return;
    }
    let shop = Shop::open();
    let (api, db) = (&shop.api, &shop.db);
    let patient = || connect(&api.netns, db, PATIENCE).unwrap();

    // A server that would use a whole processor for a while.
    let quota = Quota { target: db.clone(), to: Amount::Cpus(0.2) };
    let busy = patient();
    held(&quota, &shop.guard, || {
        let script = "EVAL \"for i=1,30000000 do end\" 0\r\n";
        std::io::Write::write_all(&mut &busy, script.as_bytes()).unwrap();
    });
    drop(busy);
    shop.works();

    let connections = Connections {
        target: db.clone(),
        port: PORT,
        hold: None,
        speak: Speak::Redis,
        from: Some(api.clone()),
    };
    held(&connections, &shop.guard, || {
        let refused = || ping(&api.netns, db, SHORT).err();
        wait_for("a server without connections", PATIENCE, refused);
    });
    shop.works();

    let files = Files { target: db.clone(), limit: FileLimit::Spare(0) };
    held(&files, &shop.guard, || {
        ping(&api.netns, db, SHORT).unwrap_err();
    });
    shop.works();

    // Syncs that take longer, and writes that pass slowly: what a SAVE does both of.
    let fill = "EVAL \"for i=1,2000 do redis.call('SET', i, string.rep('x', 1000)) end\" 0";
    assert!(command(&patient(), fill).unwrap().starts_with('$'));
    let save = || assert_eq!(command(&patient(), "SAVE").unwrap(), "+OK\r\n");
    let delay = Some(Duration::from_millis(50));
    let fsync = Fsync { target: db.clone(), delay, fail: None, share: 1.0 };
    held(&fsync, &shop.guard, save);
    shop.works();
    let throttle = Throttle {
        target: db.clone(),
        read_bytes_per_second: None,
        write_bytes_per_second: Some(4 << 20),
        read_iops: None,
        write_iops: None,
        device: None::<DeviceAsked>,
    };
    held(&throttle, &shop.guard, save);
    shop.works();
    shop.docker.down();
}

#[test]
fn processes_of_a_container_stand_still_die_and_come_back() {
    if skipped() {
        return;
    }
    let mut shop = Shop::open();
    // The engine starts it again by its restart policy, with another process.
    let comes_back = |db: &Target| {
        let back = || again(db).ok().filter(|now| now.pids[0] != db.pids[0]);
        wait_for("another life of db", PATIENCE, back)
    };

    held(&Pause { target: shop.db.clone() }, &shop.guard, || {
        let error = ping(&shop.api.netns, &shop.db, SHORT).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        ping(&shop.api.netns, &shop.api, PATIENCE).unwrap();
    });
    shop.works();

    let kill = Kill { target: shop.db.clone(), signal: Signo::KILL, all: true };
    held(&kill, &shop.guard, || {});
    shop.db = comes_back(&shop.db);
    shop.works();

    // An engine whose container dies while it is still being started gives up for good; on a busy
    // machine that takes a while from when the program runs.
    let crashing = CrashLoop { target: shop.db.clone(), alive: Duration::from_secs(1) };
    held(&crashing, &shop.guard, || {
        let inspect = || shop.docker.engine.inspect("db").unwrap();
        let before = inspect().restarts;
        let again_and_again = || (inspect().restarts >= before + 2).then_some(());
        wait_for("two more lives of db", PATIENCE, again_and_again);
    });
    shop.db = comes_back(&shop.db);
    shop.works();

    // What does not fit gets the server killed, and with it goes the cgroup that is limited.
    let limit = Limit { target: shop.db.clone(), to: 32 << 20 };
    held(&limit, &shop.guard, || {
        let greedy = connect(&shop.api.netns, &shop.db, PATIENCE).unwrap();
        let fill = "EVAL \"for i=1,100 do redis.call('SET', i, string.rep('x', 1000000)) end\" 0";
        let answer = command(&greedy, fill).unwrap_or_default();
        assert_eq!(answer, "", "it lives");
    });
    shop.db = comes_back(&shop.db);
    shop.works();

    let restart = Restart::of(shop.db.clone());
    restart.check().unwrap();
    let mut injected = restart.inject(&shop.guard).unwrap();
    wait_for("the end of the restart", PATIENCE, || injected.is_over().then_some(()));
    let effect = injected.effect().unwrap();
    assert_eq!(effect.count, 1, "{effect:?}");
    assert!(injected.revert().unwrap().verified);
    shop.db = comes_back(&shop.db);
    shop.works();
    shop.docker.down();
}
