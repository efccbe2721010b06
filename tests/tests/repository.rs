//! The repository's own rules, as tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files git knows, or would know if they were added now.
fn files() -> Vec<String> {
    let out = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is there");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let files: Vec<String> = String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .filter(|file| root().join(file).is_file())
        .collect();
    assert!(files.len() > 20, "git lists {} files", files.len());
    files
}

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn written_arrows(page: &str) -> Arrows {
    let block = page.split("```arrows\n").nth(1).expect("a block of arrows");
    let block = block.split("```").next().unwrap();
    block
        .lines()
        .map(|line| {
            let (from, to) = line.split_once(':').unwrap_or_else(|| panic!("no arrow: {line}"));
            (from.to_owned(), to.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn real_arrows() -> Arrows {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let members: BTreeSet<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    metadata
        .packages
        .iter()
        .map(|package| {
            // Tests may look across; what is shipped may not.
            let arrows = package
                .dependencies
                .iter()
                .filter(|d| d.kind != cargo_metadata::DependencyKind::Development)
                .map(|d| d.name.clone())
                .filter(|name| members.contains(name))
                .collect();
            (package.name.to_string(), arrows)
        })
        .collect()
}

#[test]
fn the_arrows_between_crates_are_those_that_are_written_down() {
    assert_eq!(written_arrows(&read("docs/architecture.md")), real_arrows());
}

/// It feeds the parsers of both, and is no part of either.
const BOTH_HALVES: &str = "temblor-fuzz";

#[test]
fn the_two_halves_do_not_know_each_other() {
    let half = |name: &str| name.starts_with("exchange-");
    for (from, to) in real_arrows() {
        assert!(!to.contains(BOTH_HALVES), "{from} depends on {BOTH_HALVES}");
        for to in to.into_iter().filter(|_| from != BOTH_HALVES) {
            assert_eq!(half(&from), half(&to), "{from} depends on {to}");
        }
    }
}

#[test]
fn an_arrow_that_is_not_written_down_would_be_noticed() {
    let mut written = written_arrows(&read("docs/architecture.md"));
    written.get_mut("temblor-judge").unwrap().insert("temblor-runs".into());
    assert_ne!(written, real_arrows());
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    for file in files() {
        let source = [".rs", ".c", ".h", ".sh"].iter().any(|ending| file.ends_with(ending));
        if source {
            let lines = read(&file).lines().count();
            assert!(lines <= 800, "{file} has {lines} lines: split it");
        }
    }
}

/// Words in backticks in our pages that look like a path in the repository must be one.
#[test]
fn paths_named_in_pages_exist() {
    let tops = ["crates/", "exchange/", "docs/", "experiments/", "scripts/", "tests/", ".ci/"];
    let mut seen = 0;
    for page in files().into_iter().filter(|f| f.ends_with(".md")) {
        for word in read(&page).split('`').skip(1).step_by(2) {
            let path = word.trim_end_matches('/');
            if tops.iter().any(|top| word.starts_with(top)) && !word.contains(['*', ' ', '<']) {
                assert!(root().join(path).exists(), "{page} names {word}, which is not there");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn make_targets_named_in_the_readme_exist_and_ci_calls_make_test() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    let readme = read("README.md");
    // In prose in backticks, in examples at the start of an indented line.
    let named: BTreeSet<&str> = ["`make ", "\n    make "]
        .iter()
        .flat_map(|before| readme.split(before).skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap())
        .collect();
    assert!(named.contains("demo") && named.contains("test"), "{named:?}");
    assert!(named.is_subset(&targets), "{named:?} are not all among {targets:?}");
    assert!(read(".ci/run").lines().any(|line| line == "exec make test"));
}

#[test]
fn no_test_is_switched_off() {
    let mark = concat!("#[", "ignore");
    for file in files().into_iter().filter(|f| f.ends_with(".rs")) {
        assert!(!read(&file).contains(mark), "{file} has a test that nobody runs");
    }
}

/// Exit codes are part of the interface: the page and the program agree.
#[test]
fn exit_codes_are_those_that_are_written_down() {
    let source = read("crates/cli/src/exit.rs");
    let page = read("docs/exit-codes.md");
    for (name, code) in [
        ("Pass", 0),
        ("Fail", 1),
        ("Input", 2),
        ("Invalid", 3),
        ("Aborted", 4),
        ("Leak", 5),
        ("Missing", 6),
    ] {
        assert!(source.contains(&format!("{name} = {code},")), "{name} is not {code}");
        assert!(page.contains(&format!("| {code} | ")), "{code} is not on the page");
    }
}

/// Pictures and pages that a page links to are there.
#[test]
fn links_between_pages_lead_somewhere() {
    for page in files().into_iter().filter(|f| f.ends_with(".md")) {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in read(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(folder.join(path).exists(), "{page} links to {link}, which is not there");
            }
        }
    }
}
