//! The client against a server that says what engines have said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;

use super::*;

/// Answers requests one after the other, each with the next answer, and tells what was asked.
struct Server {
    engine: Engine,
    asked: mpsc::Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn new(answers: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                assert!(lines.any(|line| line.unwrap().is_empty()), "the head ends");
                // The test may have ended by now, and with it the interest.
                let _ = tell.send(first);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { engine: Engine::at(socket), asked, _dir: dir }
    }

    fn asked(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn containers_are_listed_by_label_and_read_as_engines_write_them() {
    let docker = r#"[{"Id":"b2","Names":["/web/db","/db"],"State":"exited","Labels":{"a":"b"}},
                     {"Id":"a1","Names":["/api"],"State":"running","Labels":null}]"#;
    let server = Server::new(vec![http("200 OK", docker), http("200 OK", r#"[{"Id":"c3"}]"#)]);
    let listed = server.engine.list(&["a=b c", "k"]).unwrap();
    assert_eq!(
        server.asked(),
        "GET /containers/json?all=1&filters=%7B%22label%22%3A%5B%22a%3Db%20c%22%2C%22k%22%5D%7D \
         HTTP/1.1"
    );
    let names: Vec<_> = listed.iter().map(|c| (c.name.as_str(), c.state.as_str())).collect();
    assert_eq!(names, [("api", "running"), ("db", "exited")]);
    assert_eq!(listed[1].labels["a"], "b");
    assert_eq!(server.engine.list(&[]).unwrap()[0].name, "c3", "one without any name");
}

#[test]
fn a_container_is_inspected_and_given_orders() {
    let body = r#"{"Id":"a1","Name":"/api","RestartCount":2,
        "State":{"Status":"running","Pid":77,"StartedAt":"2026-01-01T00:00:00Z","Dead":false},
        "HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":0}}}"#;
    let ended = r#"{"Id":"a1","Name":"api","State":{"Status":"exited","Pid":0}}"#;
    let server = Server::new(vec![
        http("200 OK", body),
        http("200 OK", ended),
        http("204 No Content", ""),
        http("304 Not Modified", ""),
        http("204 No Content", ""),
        http("200 OK", body),
        http("204 No Content", ""),
        http("200 OK", ended),
    ]);
    let engine = &server.engine;
    let read = engine.inspect("a1").unwrap();
    assert_eq!((read.name.as_str(), read.pid, read.restarts), ("api", Some(77), 2));
    assert_eq!(read.restart_policy, "always");
    assert_eq!(server.asked(), "GET /containers/a1/json HTTP/1.1");
    assert_eq!(engine.inspect("a/../b").unwrap().pid, None);
    assert_eq!(server.asked(), "GET /containers/a%2F%2E%2E%2Fb/json HTTP/1.1");
    engine.kill("a1", "SIGTERM").unwrap();
    assert_eq!(server.asked(), "POST /containers/a1/kill?signal=SIGTERM HTTP/1.1");
    engine.start("a1").unwrap();
    assert_eq!(server.asked(), "POST /containers/a1/start HTTP/1.1");

    let origin = Origin::Container { socket: engine.socket().to_path_buf(), id: "a1".into() };
    assert_eq!(restart(&origin, Duration::from_millis(1_500)).unwrap(), 77);
    assert_eq!(server.asked(), "POST /containers/a1/restart?t=2 HTTP/1.1");
    let error = restart(&origin, Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "the container api is exited, not running: start it first");
    let error = restart(&Origin::Processes, Duration::ZERO).unwrap_err();
    assert!(matches!(error, EngineError::NotAContainer));
}

#[test]
fn a_refusal_is_given_in_the_engines_words() {
    let server = Server::new(vec![
        http("404 Not Found", r#"{"message":"No such container: x"}"#),
        http("500 Internal Server Error", "the disk is full\n"),
        http("200 OK", "<html>"),
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".into(),
    ]);
    let said = |result: Result<Inspected, EngineError>| result.unwrap_err().to_string();
    assert_eq!(
        said(server.engine.inspect("x")),
        "the container engine would not inspect the container x: No such container: x (HTTP 404)"
    );
    assert!(said(server.engine.inspect("x")).ends_with("the disk is full (HTTP 500)"));
    for what in ["no JSON", "half an answer"] {
        let error = server.engine.inspect("x").unwrap_err();
        assert!(matches!(error, EngineError::BrokeOff { .. }), "{what}: {error}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let engine = Engine::at(&socket);
    assert!(matches!(engine.list(&[]), Err(EngineError::NoEngine { .. })));
    drop(UnixListener::bind(&socket).unwrap());
    let error = engine.list(&[]).unwrap_err();
    assert!(matches!(error, EngineError::NoAnswer { .. }), "{error}");
    let _listener = {
        std::fs::remove_file(&socket).unwrap();
        UnixListener::bind(&socket).unwrap()
    };
    let question =
        Question { method: Method::GET, path: "/".into(), doing: "wait", bound: Duration::ZERO };
    let error = engine.ask(&question).unwrap_err().to_string();
    assert!(error.ends_with("did not wait within 0 s"), "{error}");
}

#[test]
fn it_can_be_asked_from_within_an_asynchronous_program() {
    let server = Server::new(vec![http("200 OK", "[]")]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let listed = runtime.block_on(async { server.engine.list(&[]) });
    assert_eq!(listed.unwrap(), []);
}
