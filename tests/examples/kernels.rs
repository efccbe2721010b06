//! The parts of `make test-kernels` that are not a shell's: `scripts/test-kernels.sh` calls them.
//!
//!     kernels targets                  what cargo is to build: --test NAME, again and again
//!     kernels programs [CRATE/PROGRAM…]
//!                                      cargo's messages on stdin, the test programs (or these
//!                                      alone) as JSON on stdout
//!     kernels guest PROGRAMS RESULTS   in the guest: runs everything, tells it in RESULTS
//!     kernels guest-tests PROGRAMS RESULTS
//!                                      the same without putting each fault in place
//!     kernels page RESULTS…            the page of all kernels on stdout
//!     kernels summary RESULTS…         a line a kernel; fails when anything has failed

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what it is for")]

use std::path::Path;
use std::process::ExitCode;

use temblor_tests::kernels::{Programs, Told, page, run};
use temblor_tests::torture::act_as_target;

/// What depends on the kernel.
const CRATES: [&str; 2] = ["faults", "probes"];
/// Not what a kernel's version could change, nor network or cgroups: `make test` has them, and
/// each of these faults is put in place once in a guest, too.
const ELSEWHERE: [&str; 5] = [
    "faults/clock",
    "faults/disk_contention",
    "faults/disk_fill",
    "faults/disk_fsync",
    "faults/resource",
];
/// How a world starts its parts: as a test of this name, and this program is none.
const WORLD_PART: &str = "as_target";

fn main() -> ExitCode {
    if act_as_target() {
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match work(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(args: &[&str]) -> std::io::Result<ExitCode> {
    match args {
        ["targets"] => {
            let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec();
            for package in metadata.map_err(std::io::Error::other)?.packages {
                let of = package.name.trim_start_matches("temblor-");
                for target in package.targets.iter().filter(|target| target.is_test()) {
                    if is_wanted(&format!("{of}/{}", target.name)) {
                        println!("--test {}", target.name);
                    }
                }
            }
        }
        ["programs", only @ ..] => {
            let mut programs = Programs::read(std::io::stdin().lock())?;
            programs.0.retain(|program| {
                let name = format!("{}/{}", program.of, program.name);
                is_wanted(&name) && (only.is_empty() || only.contains(&name.as_str()))
            });
            println!("{}", serde_json::to_string_pretty(&programs)?);
        }
        ["guest", programs, results] => {
            let programs = serde_json::from_slice(&std::fs::read(programs)?)?;
            run(&programs, Path::new(results), Some(WORLD_PART))?;
        }
        ["guest-tests", programs, results] => {
            let programs = serde_json::from_slice(&std::fs::read(programs)?)?;
            run(&programs, Path::new(results), None)?;
        }
        ["page", results @ ..] => print!("{}", page(&read(results)?)),
        ["summary", results @ ..] => {
            let mut all_failed = 0;
            for told in read(results)? {
                let [passed, skipped, failed] = told.counts();
                println!("{}: {passed} passed, {skipped} skipped, {failed} failed", told.release);
                if let Some(died_at) = &told.died_at {
                    println!("  the guest ended during {died_at}");
                }
                all_failed += failed;
            }
            return Ok(ExitCode::from(u8::from(all_failed > 0)));
        }
        _ => return Err(std::io::Error::other("see the first lines of its source")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a test program is run, as "crate/program".
fn is_wanted(name: &str) -> bool {
    let of_these = name.split_once('/').is_some_and(|(of, _)| CRATES.contains(&of));
    of_these && !ELSEWHERE.contains(&name)
}

fn read(results: &[&str]) -> std::io::Result<Vec<Told>> {
    results.iter().map(|path| Told::read(Path::new(path))).collect()
}
