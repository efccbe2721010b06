//! A server of the test's own, and the debug file of a program that is compiled here.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::agent;
use super::*;
use crate::elf::BuildId;
use crate::held::Contents;
use crate::resolver::Resolver;

const SOURCE: &str = "static int __attribute__((noinline)) quite_hidden(int n) { return 3 * n; }\n\
                      int main(int n, char **all) { return all ? quite_hidden(n) : 0; }\n";

/// What a server does with a request.
#[derive(Clone)]
enum Answer {
    Status(u16),
    File(Vec<u8>),
    /// Nothing comes.
    Silent,
    /// Some comes, and then nothing.
    SilentAfter(Vec<u8>),
    /// More comes than was said, or than anybody wants.
    Endless,
}

/// Answers until it is dropped, and tells what it was asked for.
struct Server {
    url: String,
    asked: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debug", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        let thread = std::thread::spawn(move || serve(&listener, &answer, &tell));
        Self { url, asked, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let address = self.url.trim_start_matches("http://").trim_end_matches("/debug");
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(b"END\r\n");
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(listener: &TcpListener, answer: &Answer, tell: &Sender<String>) {
    // Whoever is told nothing still has a connection.
    let mut silent = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else { continue };
        if first == "END" {
            return;
        }
        // The head ends with an empty line.
        lines.map_while(Result::ok).find(String::is_empty);
        let _ = tell.send(first.split(' ').nth(1).unwrap().to_owned());
        let head = |status: u16, length: usize| {
            format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
        };
        // A client that has gone away is none of the server's business.
        let _ = match answer {
            Answer::Status(status) => stream.write_all(head(*status, 0).as_bytes()),
            Answer::File(bytes) => {
                stream.write_all(&[head(200, bytes.len()).as_bytes(), bytes].concat())
            }
            Answer::Silent => {
                silent.push(stream);
                Ok(())
            }
            Answer::SilentAfter(bytes) => {
                let length = 2 * bytes.len();
                let written = stream.write_all(&[head(200, length).as_bytes(), bytes].concat());
                silent.push(stream);
                written
            }
            Answer::Endless => {
                let mut written = stream.write_all(b"HTTP/1.0 200 -\r\n\r\n");
                while written.is_ok() {
                    written = stream.write_all(&[0x7f; 1 << 14]);
                }
                written
            }
        };
    }
}

/// A program without names, and the file that has them.
struct Program {
    dir: tempfile::TempDir,
    contents: Contents,
    id: BuildId,
    /// Of its hidden function.
    address: u64,
}

impl Program {
    /// None where there is no compiler.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("source.c"), SOURCE).unwrap();
        let run = |line: &str| {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap());
            Some(command.args(words).current_dir(dir.path()).status().ok()?.success())
        };
        if run("cc -g -O1 -Wl,--build-id -o program source.c").is_none() {
            eprintln!("skipped: needs cc (apt-get install gcc)");
            return None;
        }
        assert_eq!(run("objcopy --only-keep-debug program debug"), Some(true));
        assert_eq!(run("objcopy --strip-all program stripped"), Some(true));
        let contents = Contents::new(File::open(dir.path().join("stripped")).unwrap()).unwrap();
        let id = contents.image.build_id.clone().unwrap();
        let symbols = Command::new("nm").arg("debug").current_dir(dir.path()).output().unwrap();
        let symbols = String::from_utf8(symbols.stdout).unwrap();
        let line = symbols.lines().find(|line| line.ends_with(" quite_hidden")).unwrap();
        let address = u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
        Some(Self { dir, contents, id, address })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn debug(&self) -> Vec<u8> {
        fs::read(self.path("debug")).unwrap()
    }

    fn settings(&self, servers: &[&str]) -> DebuginfodSettings {
        DebuginfodSettings {
            servers: servers.iter().map(|&server| server.to_owned()).collect(),
            cache: Some(self.path("cache")),
            silent_max: Duration::from_secs(20),
            fetching_max: Duration::from_secs(60),
            bytes_max: 1 << 20,
        }
    }

    fn kept(&self) -> PathBuf {
        self.path("cache").join(self.id.to_string()).join("debuginfo")
    }

    /// Whether its hidden function has its name and its place.
    fn is_named(&self, debuginfod: Option<&mut Debuginfod>) -> bool {
        let mut resolver = Resolver::new(&self.contents, &[], debuginfod);
        let found = resolver.look_up(&[self.address]);
        let mut all = found.iter().flatten().flatten();
        all.any(|found| found.name == "quite_hidden" && found.line == Some(1))
    }
}

/// One that asks no proxy.
fn asking(settings: DebuginfodSettings) -> Debuginfod {
    let agent = agent(&settings, None);
    let mut new = Debuginfod::new(settings);
    new.agent = agent;
    new
}

#[test]
fn what_is_fetched_gives_names_and_is_kept() {
    let Some(program) = Program::new() else { return };
    assert!(!program.is_named(None));
    let server = Server::start(Answer::File(program.debug()));
    let mut fetching = asking(program.settings(&[&server.url]));
    assert!(program.is_named(Some(&mut fetching)));
    assert_eq!(fetching.troubles(), [""; 0]);
    assert_eq!(server.asked(), [format!("/debug/buildid/{}/debuginfo", program.id)]);
    assert_eq!(fs::read(program.kept()).unwrap(), program.debug());
    // Nothing else is left there, and the server is wanted no more.
    assert_eq!(fs::read_dir(program.kept().parent().unwrap()).unwrap().count(), 1);
    assert!(program.is_named(Some(&mut fetching)));
    assert_eq!(server.asked(), [""; 0]);
    let url = server.url.clone();
    drop(server);
    let mut later = asking(program.settings(&[&url]));
    assert!(program.is_named(Some(&mut later)));
    assert_eq!(later.troubles(), [""; 0]);
}

#[test]
fn what_has_names_is_not_asked_for() {
    let Some(program) = Program::new() else { return };
    let server = Server::start(Answer::Status(500));
    let mut fetching = asking(program.settings(&[&server.url]));
    let whole = Contents::new(File::open(program.path("program")).unwrap()).unwrap();
    drop(Resolver::new(&whole, &[], Some(&mut fetching)));
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn the_next_server_is_asked_for_what_one_has_not() {
    let Some(program) = Program::new() else { return };
    let first = Server::start(Answer::Status(404));
    let second = Server::start(Answer::File(program.debug()));
    let mut fetching = asking(program.settings(&[&first.url, &second.url]));
    assert!(program.is_named(Some(&mut fetching)));
    assert_eq!(fetching.troubles(), [""; 0]);
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
}

#[test]
fn what_nobody_has_is_asked_for_once_and_leaves_nothing() {
    let Some(program) = Program::new() else { return };
    let server = Server::start(Answer::Status(404));
    let mut fetching = asking(program.settings(&[&server.url]));
    assert!(!program.is_named(Some(&mut fetching)));
    assert!(!program.is_named(Some(&mut fetching)));
    assert_eq!(fetching.troubles(), [""; 0]);
    assert_eq!(server.asked().len(), 1);
    assert!(!program.path("cache").exists());
}

/// What a server did is told, and it is asked no more.
fn check_failing(answer: &Answer, change: impl Fn(&mut DebuginfodSettings), said: &str) {
    let Some(program) = Program::new() else { return };
    let failing = Server::start(answer.clone());
    let mut settings = program.settings(&[&failing.url]);
    change(&mut settings);
    let mut fetching = asking(settings.clone());
    assert!(!program.is_named(Some(&mut fetching)), "{said}");
    let [trouble] = fetching.troubles() else { panic!("{said}: {:?}", fetching.troubles()) };
    assert!(trouble.contains(&failing.url) && trouble.contains(said), "{trouble}");
    let left = fs::read_dir(program.path("cache")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{said}");
    assert!(fetching.debug_file(&BuildId::of(&[1])).is_none());
    assert_eq!(failing.asked().len(), 1, "{said}");
    // Another one is asked all the same.
    drop(failing);
    let other = Server::start(Answer::File(program.debug()));
    settings = program.settings(&[&settings.servers[0], &other.url]);
    assert!(program.is_named(Some(&mut asking(settings))), "{said}");
    assert_eq!(other.asked().len(), 1, "{said}");
}

#[test]
fn a_file_of_another_build_is_not_used() {
    let other = fs::read("/proc/self/exe").unwrap();
    let sleep = fs::read("/bin/sleep").unwrap();
    for bytes in [&other[..other.len().min(1 << 19)], &sleep, b"<html>", b""] {
        check_failing(&Answer::File(bytes.to_vec()), |_| {}, "another build");
    }
}

#[test]
fn a_server_that_fails_is_asked_no_more() {
    check_failing(&Answer::Status(503), |_| {}, "it answers 503");
    let low = |settings: &mut DebuginfodSettings| settings.silent_max = Duration::from_millis(200);
    check_failing(&Answer::Silent, low, "timeout");
    check_failing(&Answer::SilentAfter(vec![0x7f; 1000]), low, "timeout");
}

#[test]
fn a_server_that_is_not_there_is_asked_once() {
    let Some(program) = Program::new() else { return };
    let server = Server::start(Answer::Status(404));
    let url = server.url.clone();
    drop(server);
    let mut fetching = asking(program.settings(&[&url]));
    assert!(!program.is_named(Some(&mut fetching)));
    let [trouble] = fetching.troubles() else { panic!("{:?}", fetching.troubles()) };
    assert!(trouble.contains(&url) && trouble.contains("refused"), "{trouble}");
    assert!(fetching.debug_file(&BuildId::of(&[1])).is_none());
    assert_eq!(fetching.troubles().len(), 1);
}

#[test]
fn bytes_and_time_have_bounds() {
    let Some(program) = Program::new() else { return };
    for answer in [Answer::Endless, Answer::File(vec![0; 4097])] {
        let server = Server::start(answer);
        let mut settings = program.settings(&[&server.url]);
        settings.bytes_max = 4096;
        let mut fetching = asking(settings);
        assert!(!program.is_named(Some(&mut fetching)));
        let [trouble] = fetching.troubles() else { panic!("{:?}", fetching.troubles()) };
        assert!(trouble.contains("more than 4096 bytes"), "{trouble}");
    }
    let server = Server::start(Answer::Silent);
    let mut settings = program.settings(&[&server.url]);
    settings.fetching_max = Duration::from_millis(200);
    let mut fetching = asking(settings);
    assert!(!program.is_named(Some(&mut fetching)));
    assert!(fetching.troubles()[0].contains("timeout"), "{:?}", fetching.troubles());
}

#[test]
fn what_is_kept_is_used_only_if_it_is_of_the_build() {
    let Some(program) = Program::new() else { return };
    fs::create_dir_all(program.kept().parent().unwrap()).unwrap();
    // Others note with an empty file that nobody had it.
    for wrong in [&b""[..], &fs::read("/bin/sleep").unwrap()] {
        fs::write(program.kept(), wrong).unwrap();
        let server = Server::start(Answer::File(program.debug()));
        let mut fetching = asking(program.settings(&[&server.url]));
        assert!(program.is_named(Some(&mut fetching)));
        assert_eq!(server.asked().len(), 1);
        assert_eq!(fs::read(program.kept()).unwrap(), program.debug());
    }
}

#[test]
fn where_nothing_can_be_kept_nobody_is_asked_again() {
    let Some(program) = Program::new() else { return };
    let server = Server::start(Answer::File(program.debug()));
    fs::write(program.path("file"), "").unwrap();
    let cache = Some(Path::new(&program.path("file")).join("below"));
    let settings = DebuginfodSettings { cache, ..program.settings(&[&server.url]) };
    let mut fetching = asking(settings);
    assert!(!program.is_named(Some(&mut fetching)));
    let [trouble] = fetching.troubles() else { panic!("{:?}", fetching.troubles()) };
    assert!(trouble.contains("DEBUGINFOD_CACHE_PATH"), "{trouble}");
    assert_eq!(server.asked().len(), 1);
    let settings = DebuginfodSettings { cache: None, ..program.settings(&[&server.url]) };
    let mut fetching = asking(settings);
    assert!(!program.is_named(Some(&mut fetching)));
    assert!(fetching.troubles()[0].contains("DEBUGINFOD_CACHE_PATH"));
    assert_eq!(server.asked(), [""; 0]);
}
