//! `temblor`: arguments, terminal, exit codes.

fn main() {}
