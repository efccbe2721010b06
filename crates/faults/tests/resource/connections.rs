//! `resource.connections`: what is held, what others meet with, and what is left.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use temblor_event::Effect;
use temblor_faults::resource::{Connections, MAX_CONNECTIONS, Speak};
use temblor_faults::{Fault as _, Injected, Kind};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use crate::world::*;

fn fault(server: Target, port: u16, hold: Option<u32>, speak: Speak) -> Connections {
    Connections { from: Some(server.clone()), target: server, port, hold, speak }
}

fn part(effect: &Effect, beginning: &str) -> u64 {
    effect.parts.iter().find(|part| part.name.starts_with(beginning)).unwrap().count
}

/// A server that takes so many connections and closes the others at once, as nginx does.
struct Small {
    netns: Netns,
    port: u16,
    taken: Arc<Mutex<Vec<TcpStream>>>,
    accepted: Arc<AtomicUsize>,
}

impl Small {
    fn start(room: usize) -> Self {
        let netns = new_netns();
        let listener = netns.run(|| TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, accepted) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let small = Self { netns, port, taken, accepted };
        let (taken, accepted) = (Arc::clone(&small.taken), Arc::clone(&small.accepted));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                accepted.fetch_add(1, Ordering::SeqCst);
                let mut taken = taken.lock().unwrap();
                // Those that have been closed by the other side have left their place.
                taken.retain(|stream| {
                    stream.set_nonblocking(true).unwrap();
                    match (&*stream).read(&mut [0; 64]) {
                        Ok(bytes) => bytes > 0,
                        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                    }
                });
                if taken.len() < room {
                    taken.push(stream);
                }
            }
        });
        small
    }

    fn target(&self) -> Target {
        target("small", &self.netns, &[])
    }
}

#[test]
fn a_number_is_held_and_opened_again_when_closed() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = Small::start(1000);
    let connections = fault(small.target(), small.port, Some(40), Speak::Tcp);
    connections.check().unwrap();
    assert!(connections.plan()[0].what.contains("40 connections"));
    let mut injected = connections.inject(&guard(dir.path())).unwrap();
    let effect = injected.effect().unwrap();
    assert_eq!(effect.count, 40);
    assert_eq!(effect.doses[0].asked, 40.0);
    assert_eq!(effect.doses[0].observed, Some(40.0));
    assert_eq!(effect.doses[0].holds(), Some(true));
    // The server throws ten out; they come back.
    let before = small.accepted.load(Ordering::SeqCst);
    small.taken.lock().unwrap().truncate(30);
    assert!(within(BOUND, || small.accepted.load(Ordering::SeqCst) >= before + 10));
    assert!(within(BOUND, || part(&injected.effect().unwrap(), "held at the server now") == 40));
    // Half the dose, and the whole again.
    for (level, held) in [(0.5, 20), (1.0, 40), (0.0, 0), (0.25, 10)] {
        injected.set_level(level).unwrap();
        assert!(within(BOUND, || {
            let effect = injected.effect().unwrap();
            part(&effect, "held at the server now") == held && effect.doses[0].holds() == Some(true)
        }));
    }
    assert!(injected.set_level(1.5).unwrap_err().to_string().contains("level of 1.5"));
    let reverted = injected.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!((reverted.effect.count, reverted.effect_unread), (40, None));
}

#[test]
fn a_server_that_closes_what_it_has_no_room_for_is_exhausted() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = Small::start(25);
    let connections = fault(small.target(), small.port, None, Speak::Http);
    let mut injected = connections.inject(&guard(dir.path())).unwrap();
    assert!(within(BOUND, || part(&injected.effect().unwrap(), "fresh connections refused") >= 2));
    let effect = injected.effect().unwrap();
    assert!(effect.count >= 25, "{effect:?}");
    assert_eq!(part(&effect, "fresh connections taken"), 0);
    assert_eq!(effect.doses[0].observed, Some(100.0));
    assert!(injected.revert().unwrap().verified);
    let taken = small.netns.run(|| {
        let stream = TcpStream::connect(("127.0.0.1", small.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        (&stream).read(&mut [0]).unwrap_err().kind()
    });
    assert_eq!(taken.unwrap(), io::ErrorKind::WouldBlock, "it has room again");
}

#[test]
fn redis_has_none_left_for_others() {
    let Some(server) = is_root().then(|| redis(60)).flatten() else { return };
    let ask = || {
        server
            .netns
            .run(|| -> io::Result<String> {
                let mut stream = TcpStream::connect("127.0.0.1:6379")?;
                stream.write_all(b"PING\r\n")?;
                let mut line = String::new();
                io::BufReader::new(stream).read_line(&mut line)?;
                Ok(line.trim().into())
            })
            .unwrap()
    };
    assert!(within(BOUND, || ask().is_ok_and(|said| said == "+PONG")));
    let target = target("redis", &server.netns, &[server.child.id()]);
    let mut injected =
        fault(target, 6379, None, Speak::Redis).inject(&guard(server.dir.path())).unwrap();
    assert_eq!(injected.effect().unwrap().count, 60);
    assert_ne!(ask().unwrap_or_default(), "+PONG");
    let refused = "fresh connections refused (-ERR max number of clients reached)";
    assert!(within(BOUND, || part(&injected.effect().unwrap(), refused) >= 1));
    assert!(injected.revert().unwrap().verified);
    assert!(within(BOUND, || ask().is_ok_and(|said| said == "+PONG")));
}

#[test]
fn postgres_has_none_left_for_others() {
    let Some(server) = is_root().then(|| postgres(15)).flatten() else { return };
    let speak = Speak::Postgres { user: "boss".into(), database: "postgres".into() };
    let port = 5432;
    let target = target("postgres", &server.netns, &[server.child.id()]);
    let connections = fault(target, port, None, speak);
    assert!(within(BOUND, || connections.check().is_ok()));
    let inject = || connections.inject(&guard(server.dir.path())).ok();
    let mut injected: Option<Box<dyn Injected>> = None;
    // It listens a moment before it takes anybody.
    assert!(within(BOUND, || {
        injected = inject();
        injected.is_some()
    }));
    let mut injected = injected.unwrap();
    let said = "fresh connections refused (FATAL: sorry, too many clients already (53300))";
    assert!(within(BOUND, || {
        let effect = injected.effect().unwrap();
        effect.parts.iter().any(|part| part.name == said && part.count >= 2)
    }));
    let effect = injected.effect().unwrap();
    assert!((14..=15).contains(&effect.count), "{effect:?}");
    let reverted = injected.revert().unwrap();
    assert!(reverted.verified);
    let mut again = None;
    assert!(within(BOUND, || {
        again = inject();
        again.is_some()
    }));
    drop(again);
    let nobody = Connections {
        speak: Speak::Postgres { user: "nobody".into(), database: "postgres".into() },
        ..connections
    };
    let error = nobody.inject(&guard(server.dir.path())).err().unwrap();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("role \"nobody\" does not exist"), "{error}: {source}");
}

#[test]
fn what_cannot_be_held_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let (small, dir) = (Small::start(1), tempfile::tempdir().unwrap());
    let good = fault(small.target(), small.port, Some(1), Speak::Tcp);
    let of = |user: &str| Speak::Postgres { user: user.into(), database: "x".into() };
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let other = target("other", &small.netns, &[child.id()]);
    for (fault, says) in [
        (Connections { port: 0, ..good.clone() }, "port 0 is not a port"),
        (Connections { hold: Some(0), ..good.clone() }, "0 connections held are no fault"),
        (
            Connections { hold: Some(MAX_CONNECTIONS + 1), ..good.clone() },
            "65001 connections are more than the 65000",
        ),
        (Connections { speak: of(""), ..good.clone() }, "the user `` cannot be said"),
        (Connections { speak: of("a\0b"), ..good.clone() }, "cannot be said to PostgreSQL"),
        (Connections { port: 1, ..good.clone() }, "nothing of small listens on TCP port 1"),
        // From outside its namespace it has no address.
        (Connections { from: None, ..good.clone() }, "that this process can reach"),
        (Connections { target: other, ..good.clone() }, "is no process of other"),
    ] {
        let error = fault.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(says), "{error}");
        assert!(fault.inject(&guard(dir.path())).is_err());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    good.check().unwrap();
    assert_eq!(small.accepted.load(Ordering::SeqCst), 0, "a check opens nothing");
}

const CHILD_ADDRESS: &str = "TEMBLOR_TEST_CONNECTIONS";

/// Not a test of its own: what [`sigkill_heals`] runs in another process, and kills there.
#[test]
fn child_that_holds_connections() {
    let Ok(address) = std::env::var(CHILD_ADDRESS) else { return };
    let address: SocketAddr = address.parse().unwrap();
    let target = target("small", &Netns::of_this_thread().unwrap(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let _injected =
        fault(target, address.port(), Some(30), Speak::Tcp).inject(&guard(dir.path())).unwrap();
    println!("\nin place");
    io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn sigkill_heals() {
    if !is_root() {
        return;
    }
    let small = Small::start(1000);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "connections::child_that_holds_connections", "--nocapture"])
        .env(CHILD_ADDRESS, format!("127.0.0.1:{}", small.port))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = small.netns.run(|| command.spawn()).unwrap().unwrap();
    let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "in place"));
    let held = || {
        let text = small.netns.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp"));
        let server_side = format!("0100007F:{:04X} 0100007F:", small.port);
        let text = text.unwrap().unwrap();
        text.lines().filter(|l| l.contains(&server_side) && l.contains(" 01 ")).count()
    };
    // The fresh connection may be there as well, and for a moment the one before it, too.
    let all = || (30..=31).contains(&held());
    assert!(within(Duration::from_secs(2), all), "{}", held());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(within(Duration::from_secs(2), || held() == 0), "{} are left", held());
}
