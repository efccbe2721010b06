//! What the tests share: real profiles, which lie beside the project and are no part of it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test program uses some of it; what is skipped is said"
)]
#![allow(clippy::allow_attributes, reason = "what is dead differs from program to program")]

use std::path::PathBuf;

use temblor_profile::{Profile, pprof};

/// One of them, where they are.
pub fn real(name: &str) -> Option<Profile> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/pprof");
    let Ok(bytes) = std::fs::read(dir.join(format!("{name}.pb.gz"))) else {
        eprintln!("skipped: there is no {name} in {}", dir.display());
        return None;
    };
    Some(pprof::read(&bytes).unwrap())
}
