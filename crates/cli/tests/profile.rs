//! `temblor profile` on files: what it writes, and what it refuses.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where they stand, as tests do, and say why they skip"
)]

mod common;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use self::common::{Process, TEMBLOR, eventually, possible};

const BEFORE: &str = "main;accept 10\nmain;accept;parse 20\nmain;work 70\n";
const AFTER: &str = "main;accept 10\nmain;accept;parse 50\nmain;work 70\n";

fn temblor(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(TEMBLOR)
        .arg("profile")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it prints where it succeeds.
fn printed(args: &[&str], input: &str) -> String {
    let output = temblor(args, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_profile_goes_through_every_format_and_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (stacks, pprof, sum) = (path("stacks.folded"), path("stacks.pb.gz"), path("sum.pb.gz"));
    fs::write(&stacks, BEFORE).unwrap();
    printed(&["convert", &stacks, "-o", &pprof], "");
    assert_eq!(printed(&["convert", &pprof, "--to", "folded"], ""), BEFORE);
    printed(&["merge", &pprof, &stacks, "-o", &sum], "");
    let told = printed(&["top", &sum, "--all", "-n", "1"], "");
    assert!(told.contains("       140 70.00% 70.00%        140 70.00%  work"), "{told}");
    let told = printed(&["top", "-", "--cum"], BEFORE);
    assert!(told.lines().nth(3).unwrap().ends_with("100   100%  main"), "{told}");
    assert!(printed(&["convert", &pprof, "--to", "speedscope"], "").contains("speedscope.app"));
    let picture = printed(&["svg", &stacks, "--title", "before", "--icicle"], "");
    assert!(picture.contains("accept (30 samples, 30.00%)") && picture.contains(">before<"));
}

#[test]
fn two_profiles_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (before, after) = (path("before.folded", BEFORE), path("after.folded", AFTER));
    let told = printed(&["diff", &before, &after], "");
    assert!(told.contains("        30 30.00% 30.00%         30 30.00%  parse"), "{told}");
    let picture = printed(&["diff", &before, &after, "--svg"], "");
    assert!(picture.contains("after.folded compared with before.folded"));
    assert!(picture.contains("parse (50 samples, 38.46%; +23.08%)"));
}

#[test]
fn what_is_no_profile_is_refused_with_the_reason() {
    for (args, input, code, said) in [
        (&["top", "nosuch"][..], "", 2, "temblor: nosuch: No such file or directory"),
        (&["top", "-"], "main;work\n", 2, "temblor: standard input: line 1 is no folded stack"),
        (&["top", "-", "--type", "cpu"], BEFORE, 2, "no values of type \"cpu\"; it has samples"),
        (&["convert", "-"], BEFORE, 2, "temblor: say with --to what to write"),
        (&["svg", "-"], "", 3, "temblor: standard input: the profile is empty"),
        (&["svg", "-"], "\u{1}\u{2}", 2, "temblor: standard input: not a valid pprof profile"),
    ] {
        let output = temblor(args, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(said) && told.lines().count() == 1, "{args:?}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_running_process_is_profiled_into_any_format() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let dir = tempfile::tempdir().unwrap();
    for (name, begins) in
        [("shell.pb.gz", &b"\x1f\x8b"[..]), ("shell.svg", b"<?xml"), ("shell.folded", b"")]
    {
        let path = dir.path().join(name);
        let path = path.to_str().unwrap();
        let pid = busy.pid();
        let output =
            temblor(&["cpu", "--pid", &pid, "--for", "1s", "--rate", "499", "-o", path], "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(told.contains(" samples in ") && told.contains(" s, 0 lost;"), "{told}");
        assert!(fs::read(path).unwrap().starts_with(begins), "{name}");
    }
    let folded = fs::read_to_string(dir.path().join("shell.folded")).unwrap();
    assert!(folded.contains(";__libc_start_main"), "{folded}");
    let pprof = dir.path().join("shell.pb.gz");
    let told = printed(&["top", pprof.to_str().unwrap(), "--all"], "");
    // The shell has no names of its own but what its library needs of it.
    assert!(told.contains("Type: cpu") && told.contains("__libc_start_main"), "{told}");
}

#[test]
fn what_cannot_be_profiled_is_said_before_anything_is_attached() {
    for (args, said) in [
        (&["cpu"][..], "required arguments were not provided"),
        (&["cpu", "--all", "--for", "0s"], "--for 0s: give more than 0"),
        (&["cpu", "--all", "--rate", "0"], "0 is not in 1..=10000"),
        (&["cpu", "--all", "-o", "x.png"], "x.png: say with --format what to write"),
        (&["cpu", "--all", "-o", "/nosuch/x.svg"], "/nosuch/x.svg: No such file or directory"),
    ] {
        let output = temblor(args, "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
}

#[test]
fn an_empty_profile_is_said_to_be_empty() {
    let output = temblor(&["top", "-"], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(told.contains("put load on the program, or collect for longer"), "{told}");
}

/// A real Go program that hands its profiles out: Prometheus itself.
#[test]
fn a_go_programs_own_profiles_are_fetched() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        eprintln!("skipped: no prometheus here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("prometheus.yml"), "global: {scrape_interval: 1s}\n").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let _prometheus = Process(
        Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", path("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    // It answers a while after its start.
    let goroutines = eventually("its goroutines", || {
        let output = temblor(&["fetch", "goroutine", &url], "");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert!(goroutines.contains("Type: goroutine") && goroutines.contains("runtime.gopark"));

    let heap = path("heap.pb.gz");
    let output = temblor(&["fetch", "heap", &url, "-o", &heap], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = printed(&["top", &heap, "--type", "alloc_space", "--all"], "");
    assert!(told.contains("Type: alloc_space") && told.contains("runtime.main"), "{told}");

    // It has never switched this on.
    let output = temblor(&["fetch", "block", &url], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("runtime.SetBlockProfileRate"), "{told}");

    let output = temblor(&["fetch", "heap", &format!("{url}/nowhere")], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("imports net/http/pprof"), "{told}");
}

/// Go's own tool reads what is written, and tells it in the same words.
#[test]
fn go_tool_pprof_tells_the_same_of_a_profile() {
    let pprof =
        |args: &[&str]| Command::new("go").args(["tool", "pprof", "-top"]).args(args).output();
    if !pprof(&["-help"])
        .is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("-top"))
    {
        eprintln!("skipped: there is no Go here (go tool pprof)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (path("before.pb.gz"), path("after.pb.gz"));
    for (text, to) in [(BEFORE, &before), (AFTER, &after)] {
        let output = temblor(&["convert", "-", "--to", "pprof", "-o", to], text);
        assert!(output.status.success(), "{output:?}");
    }
    let told = |args: &[&str]| String::from_utf8(pprof(args).unwrap().stdout).unwrap();
    assert_eq!(printed(&["top", &before], ""), told(&[&before]));
    assert_eq!(
        printed(&["top", &before, "--cum", "-n", "2"], ""),
        told(&["-cum", "-nodecount=2", &before])
    );
    assert_eq!(printed(&["diff", &before, &after], ""), told(&["-diff_base", &before, &after]));
    let sum = path("sum.pb.gz");
    printed(&["merge", &before, &after, "-o", &sum], "");
    assert_eq!(printed(&["top", &sum], ""), told(&[&before, &after]));
}

#[test]
fn who_does_not_answer_is_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = temblor(&["fetch", "heap", &format!("http://127.0.0.1:{port}")], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("onnection refused"), "{told}");
    let output = temblor(&["fetch", "heap", "127.0.0.1:1"], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
}

/// Of a service: what belongs to encoding, to the database, and to nobody.
const SERVICE: &str = "main;encoding/json.Marshal;runtime.mallocgc 101\n\
                       main;encoding/json.Marshal 120\nmain;database/sql.(*DB).Exec 300\nmain;work 479\n";
const SLOWER: &str = "main;encoding/json.Marshal;runtime.mallocgc 101\n\
                      main;encoding/json.Marshal 420\nmain;database/sql.(*DB).Exec 300\nmain;work 479\n";

#[test]
fn a_profile_is_explained_and_its_budgets_decide_how_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (base, slower) = (path("base.folded", SERVICE), path("slower.folded", SLOWER));
    let few = path("few.folded", "main;encoding/json.Marshal 23\nmain;work 1\n");
    let told = printed(&["analyze", &base], "");
    assert!(
        told.contains("1. Database with all it calls: 30.0 % (27.2 to 32.9 %), over 20 %"),
        "{told}"
    );
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    let told = printed(&["analyze", &slower, &base], "");
    assert!(told.contains("What changed (in shares of each whole)"), "{told}");
    assert!(told.contains("Serialization: 32.3 % instead of 12.0 %, +20.3 points"), "{told}");
    let told = printed(&["analyze", "-", "--json"], SERVICE);
    assert!(told.contains("\"samples\": 1000") && told.contains("\"low_percent\""), "{told}");

    let budget = |profile: &str, more: &[&str]| {
        let output = temblor(&[&["analyze", profile], more].concat(), "");
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        // As if its lines were not broken.
        let told = told.concat().split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code(), told)
    };
    for (profile, args, code, said) in [
        (&base, &["--budget", "serialization<=30%"][..], Some(0), "kept"),
        (&base, &["--budget", "serialization<=22%"], Some(0), "the limit is within the noise"),
        (&base, &["--budget", "serialization<=15%"], Some(1), "22.1 % (19.1 to 25.3 %): over"),
        (&base, &["--budget", "own:serialization<=15%"], Some(0), "kept"),
        (&base, &["--budget", "function:^main$<=99%"], Some(1), "functions that are meant: 1"),
        (&few, &["--budget", "serialization<=1%"], Some(3), "too few samples to say"),
        (&base, &["--budget", "serialisation<=1%"], Some(2), "\"serialisation\" is no category"),
        (&base, &["--budget", "serialization"], Some(2), "write WHAT<=SHARE%"),
        (&base, &["--budget-against", &base], Some(0), "Nothing surely takes more"),
        (&slower, &["--budget-against", &base], Some(1), "json.Marshal: 32.3 % instead of 12.0 %"),
        (&slower, &["--budget-against", &base, "--allow", "30%"], Some(0), "beyond the 30.0 %"),
        (&slower, &["--budget-against", &few], Some(3), "Too few samples to say anything: 24"),
        (&slower, &["--budget-against", &base, "--compare", "rates"], Some(2), "compare shares"),
        (&base, &["--allow", "5%"], Some(2), "--budget-against"),
    ] {
        let (ended, told) = budget(profile, args);
        assert_eq!(ended, code, "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
    let output = temblor(&["analyze", "-"], "");
    assert_eq!(output.status.code(), Some(3));
}

/// Answers one request with this, and gives what it was asked.
fn model(answer: String) -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(common::BOUND)).unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        let is_whole = |asked: &[u8]| {
            let text = String::from_utf8_lossy(asked);
            let length =
                text.to_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok();
            Some(text.split_once("\r\n\r\n")?.1.len() >= length?)
        };
        while !asked.ends_with(b"}") || is_whole(&asked) != Some(true) {
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            asked.push(byte[0]);
        }
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
        String::from_utf8(asked).unwrap()
    };
    (url, std::thread::spawn(serve))
}

#[test]
fn a_models_words_are_marked_and_its_figures_are_checked() {
    let said = "Database takes 30.0 %. Caching saves 80 %.";
    let answer = format!("{{\"choices\": [{{\"message\": {{\"content\": \"{said}\"}}}}]}}");
    let (url, asked) = model(answer);
    let told = printed(&["analyze", "-", "--explain-with", &url, "--model", "m1"], SERVICE);
    assert!(told.contains("What m1 says: a language model, not Temblor"), "{told}");
    let marked = "Database takes 30.0 %. Caching saves 80 % [not in the profile].";
    assert!(
        told.contains(marked) && told.contains("Not among the profile's figures: 80 %."),
        "{told}"
    );
    let asked = asked.join().unwrap();
    assert!(
        asked.contains("\"model\":\"m1\"") && asked.contains("main;database/sql.(*DB).Exec 30.0 %")
    );

    let answered = |input: &str, url: &str| {
        let output = temblor(&["analyze", "-", "--explain-with", url, "--model", "m1"], input);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = answered(SERVICE, "https://127.0.0.1:1/v1");
    assert_eq!(code, Some(2));
    assert!(told.contains("https is not spoken here"), "{told}");
    let (url, asked) = model("{}".to_owned());
    let (code, told) = answered(SERVICE, &url);
    assert_eq!(code, Some(4));
    assert!(told.contains("the answer is no chat completion"), "{told}");
    asked.join().unwrap();
    // Nothing is asked where nothing can be said.
    let (code, told) = answered("main 3\nmain;work 4\n", "http://127.0.0.1:1/");
    assert_eq!(code, Some(0));
    assert!(told.contains("the model is not asked"), "{told}");
}
