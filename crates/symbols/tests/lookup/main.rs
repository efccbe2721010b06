//! Names of programs that run: of this one, of ones that are compiled here, and of ones that have
//! ended and whose files are gone.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod compiled;
mod ended;
mod go;
mod jit;
mod kernel;
mod own;
mod world;
