//! Requests to real servers, by protocol and kind: as many as their clients made.

use std::collections::BTreeMap;
use std::process::Command;

use temblor_probes::edges::{EdgesProbe, Settings};

use crate::common::{Child, Watch, possible, target};
use crate::server::{Server, installed, run};
use crate::told::{Told, attach};

fn counts<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
}

fn errors<const N: usize>(of: [(&str, &str, u64); N]) -> BTreeMap<(String, String), u64> {
    let key = |kind: &str, error: &str| (kind.to_owned(), error.to_owned());
    of.into_iter().map(|(kind, error, count)| (key(kind, error), count)).collect()
}

#[test]
fn statements_of_postgresql_are_counted_by_their_first_word() {
    if !possible() {
        return;
    }
    let Some(server) = Server::postgres() else { return };
    let watch = Watch::start(&[target("db", &[server.pid()])], attach);
    let script = [
        "CREATE TABLE t (a int PRIMARY KEY, b text);\n".to_owned(),
        (0..40).map(|n| format!("INSERT INTO t VALUES ({n}, repeat('x', 2000));\n")).collect(),
        "SELECT count(*) FROM t;\n".repeat(30),
        // Ten answers of 80 kB and more.
        "SELECT * FROM t;\n".repeat(10),
        // Two do not parse, three break a rule, four fail on the way.
        "SELEKT 1;\n".repeat(2),
        "INSERT INTO t VALUES (1, 'again');\n".repeat(3),
        "SELECT 1 / (a - a) FROM t;\n".repeat(4),
        "-- a comment\nUPDATE t SET b = 'y' WHERE a = 1;\n".to_owned(),
    ];
    assert!(server.client("psql", &["-q"], &script.concat()));
    let (events, lost) = watch.stop();
    let (told, failed) = Told::of(&events).requests("db", ("serves", "psql"), "PostgreSQL");
    let expected = [("CREATE", 1), ("INSERT", 43), ("SELECT", 44), ("other", 2), ("UPDATE", 1)];
    assert_eq!(told, counts(expected));
    let expected =
        [("other", "ERROR 42601", 2), ("INSERT", "ERROR 23505", 3), ("SELECT", "ERROR 22012", 4)];
    assert_eq!(failed, errors(expected));
    assert_eq!(lost, 0);
}

#[test]
fn prepared_statements_go_by_the_word_that_they_were_prepared_with() {
    if !possible() {
        return;
    }
    let Some(server) = Server::postgres() else { return };
    assert!(server.client("psql", &["-c", "CREATE TABLE t (a int)"], ""));
    for (mode, prepares) in [("prepared", 2), ("extended", 0)] {
        let file = server.dir.path().join("script");
        std::fs::write(&file, "INSERT INTO t VALUES (1);\nSELECT count(*) FROM t;\n").unwrap();
        let watch = Watch::start(&[target("db", &[server.pid()])], attach);
        let file = file.to_str().unwrap();
        assert!(server.client("pgbench", &["-n", "-M", mode, "-t", "50", "-f", file], ""));
        let (events, lost) = watch.stop();
        let (mut told, failed) =
            Told::of(&events).requests("db", ("serves", "pgbench"), "PostgreSQL");
        assert_eq!(told.remove("INSERT"), Some(50), "{mode}: {told:?}");
        // It asks a question or two of its own first.
        let selects = told.remove("SELECT").unwrap();
        assert!((50..=53).contains(&selects), "{mode}: {selects}");
        assert_eq!(told.remove("prepare").unwrap_or(0), prepares, "{mode}");
        assert_eq!(told, counts([]), "{mode}");
        assert_eq!((failed, lost), (errors([]), 0));
    }
}

#[test]
fn commands_of_redis_are_counted_by_name() {
    if !possible() {
        return;
    }
    let Some(server) = Server::redis() else { return };
    let watch = Watch::start(&[target("cache", &[server.pid()])], attach);
    let long = "v".repeat(3000);
    let script = [
        format!("SET key {long}\n").repeat(20),
        "GET key\n".repeat(30),
        "lpush key 1\n".repeat(5),
        "FROBNICATE key\n".repeat(3),
    ];
    let mut client = Command::new(installed("/usr/bin/redis-cli").unwrap());
    client.args(["-p", &server.port.to_string()]);
    assert!(run(client, &script.concat()));
    // Five at once: one turn.
    let mut client = Command::new("/usr/bin/redis-cli");
    client.args(["-p", &server.port.to_string(), "--pipe"]);
    assert!(run(client, &"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".repeat(5)));
    let (events, lost) = watch.stop();
    let (told, failed) = Told::of(&events).requests("cache", ("serves", "redis-cli"), "Redis");
    for (kind, count) in [("SET", 20), ("GET", 30), ("LPUSH", 5), ("FROBNICATE", 3)] {
        assert_eq!(told.get(kind), Some(&count), "{kind}: {told:?}");
    }
    assert!(told.contains_key("pipeline"), "{told:?}");
    let expected = [("LPUSH", "-WRONGTYPE", 5), ("FROBNICATE", "-ERR", 3)];
    assert_eq!(failed, errors(expected));
    assert_eq!(lost, 0);
}

#[test]
fn http_requests_are_counted_by_method_and_class_of_status() {
    if !possible() {
        return;
    }
    let Some(server) = Server::nginx() else { return };
    let Some(curl) = installed("/usr/bin/curl") else { return };
    let watch = Watch::start(&[target("web", &[server.pid()])], attach);
    let ask = |path: &str, times: usize, more: &[&str]| {
        // All over one connection.
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let mut client = Command::new(curl);
        client.args(["-s"]).args(more).args(vec![url; times]);
        assert!(run(client, ""));
    };
    ask("/good", 25, &[]);
    ask("/missing", 7, &[]);
    ask("/bad", 4, &[]);
    ask("/good", 6, &["-X", "DELETE"]);
    // The server says first that it may go on.
    ask("/good", 1, &["-d", &"x".repeat(2000), "-H", "Expect: 100-continue"]);
    let (events, lost) = watch.stop();
    let told = Told::of(&events);
    let (counted, failed) = told.requests("web", ("serves", "curl"), "HTTP");
    let expected =
        [("GET 2xx", 25), ("GET 4xx", 7), ("GET 5xx", 4), ("DELETE 2xx", 6), ("POST 2xx", 1)];
    assert_eq!(counted, counts(expected));
    assert_eq!(failed, errors([("GET 5xx", "5xx", 4)]));
    assert_eq!(told.turns("web", ("serves", "curl")).samples(), 43);
    assert_eq!(lost, 0);
}

#[test]
fn requests_beyond_what_is_read_in_a_second_are_said_to_be_skipped() {
    if !possible() {
        return;
    }
    let Some(server) = Server::redis() else { return };
    let settings = Settings { requests_max: 10, ..Settings::default() };
    let targets = [target("cache", &[server.pid()])];
    let watch = Watch::start(&targets, |roster| EdgesProbe::attach_with(roster, &[], &settings));
    let mut client = Command::new(installed("/usr/bin/redis-cli").unwrap());
    client.args(["-p", &server.port.to_string()]);
    assert!(run(client, &"GET key\n".repeat(500)));
    let (events, skipped) = watch.stop();
    let told = Told::of(&events);
    let (counted, _) = told.requests("cache", ("serves", "redis-cli"), "Redis");
    let read: u64 = counted.values().sum();
    let turns = told.turns("cache", ("serves", "redis-cli")).samples();
    assert!(skipped > 0 && read < 500, "{read} read, {skipped} skipped");
    assert_eq!(read + skipped, turns, "every turn is one or the other");
}

#[test]
fn what_is_no_known_protocol_has_turns_and_no_requests() {
    if !possible() {
        return;
    }
    let (mut server, mut client) = (Child::start(), Child::start());
    let port = server.serve("127.0.0.1", std::time::Duration::ZERO);
    let targets = [target("server", &[server.pid()]), target("client", &[client.pid()])];
    let watch = Watch::start(&targets, attach);
    client.ask(&format!("connect 127.0.0.1:{port}"));
    client.talk(10);
    let (events, _) = watch.stop();
    let told = Told::of(&events);
    assert_eq!(told.turns("client", ("calls", "server")).samples(), 10);
    for protocol in ["HTTP", "PostgreSQL", "Redis"] {
        let (counted, _) = told.requests("client", ("calls", "server"), protocol);
        assert!(counted.is_empty(), "{protocol}: {counted:?}");
    }
}
