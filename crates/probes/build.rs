//! Compiles the kernel halves of the probes and generates the Rust types they share. Everything
//! lands in `OUT_DIR`; the kernel of the machine that builds is not looked at.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let source =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("src");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-changed={}", source.join("include").display());
    let clang = clang();
    for probe in [
        "block", "edges", "floor", "memory", "process", "reader", "roster", "sched", "stacks",
        "syscall", "tcp",
    ] {
        build(probe, &clang, &source, &out);
    }
}

fn build(probe: &str, clang: &Path, source: &Path, out: &Path) {
    let folder = source.join(probe);
    for file in std::fs::read_dir(&folder).expect("the probe's folder").flatten() {
        if file.path().extension().is_some_and(|kind| kind == "c" || kind == "h") {
            println!("cargo:rerun-if-changed={}", file.path().display());
        }
    }
    let result = SkeletonBuilder::new()
        .source(folder.join(format!("{probe}.bpf.c")))
        .obj(out.join(format!("{probe}.bpf.o")))
        .clang(clang)
        .clang_args([
            "-Wall".into(),
            "-Wextra".into(),
            "-Werror".into(),
            // With comparing exchanges. What only old kernels need has no use for them.
            format!("-mcpu={}", if probe == "stacks" { "v3" } else { "v1" }),
            format!("-I{}", source.join("include").display()),
            format!("-I{}", folder.display()),
        ])
        .build_and_generate(out.join(format!("{probe}.skel.rs")));
    if let Err(error) = result {
        panic!(
            "the kernel half of the `{probe}` probe does not build with {}: {error:#}",
            clang.display()
        );
    }
}

/// `$CLANG`, or the newest clang that answers. Distributions differ in the name: Debian's plain
/// `clang` may be too old while a numbered one stands beside it.
fn clang() -> PathBuf {
    if let Some(clang) = env::var_os("CLANG").filter(|name| !name.is_empty()) {
        return clang.into();
    }
    let numbered = (15..=22).rev().map(|version| format!("clang-{version}"));
    numbered.chain(["clang".to_owned()]).find(|name| answers(name)).map_or_else(
        || {
            panic!(
                "no clang found (tried clang-22 down to clang-15, then clang): install it \
                 (Debian, Ubuntu: `apt install clang`), or name one in $CLANG"
            )
        },
        PathBuf::from,
    )
}

fn answers(name: &str) -> bool {
    Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
