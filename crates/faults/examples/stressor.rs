//! The stressor as a program of its own, for tests: what a hidden word of the command line leads
//! to elsewhere.

fn main() -> std::process::ExitCode {
    temblor_faults::stressor::main(std::env::args().skip(1))
}
