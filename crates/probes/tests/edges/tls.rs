//! Turns of a conversation that nobody else can read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};

use crate::common::{Watch, possible, target};
use crate::told::{Told, attach};

/// A program of OpenSSL's that is ended with the test.
struct Openssl(Process);

impl Drop for Openssl {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn certificate(dir: &Path) -> (String, String) {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (key, cert) = (path("key"), path("cert"));
    let made = openssl(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=localhost", "-keyout", &key, "-out", &cert])
        .status()
        .unwrap();
    assert!(made.success());
    (key, cert)
}

#[test]
fn turns_under_tls_are_turns() {
    if !possible() {
        return;
    }
    if !Path::new("/usr/bin/openssl").exists() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, cert) = certificate(dir.path());
    // It sends each line back, the last letter first.
    let server = ["s_server", "-rev", "-accept", "127.0.0.1:0", "-key", &key, "-cert", &cert];
    let mut server = Openssl(openssl(&server).spawn().unwrap());
    let said = BufReader::new(server.0.stdout.take().unwrap());
    let mut said = said.lines().map_while(Result::ok);
    let address = said.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();

    let targets = [target("server", &[server.0.id()])];
    let watch = Watch::start(&targets, attach);
    let client = ["s_client", "-quiet", "-connect", &address, "-CAfile", &cert];
    let mut client = Openssl(openssl(&client).spawn().unwrap());
    let mut asks = client.0.stdin.take().unwrap();
    let mut answers = BufReader::new(client.0.stdout.take().unwrap()).lines();
    for _ in 0..25 {
        writeln!(asks, "drawer").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "reward");
    }
    let (events, lost) = watch.stop();
    let turns = Told::of(&events).turns("server", ("serves", "openssl"));
    // The handshake takes one to three turns of its own.
    assert!((26..=28).contains(&turns.samples()), "{} turns", turns.samples());
    assert_eq!(lost, 0);
}
