//! `temblor`: arguments, terminal, exit codes.
//!
//! Results go to standard output, progress and messages to standard error; a reader that hangs
//! up is not an error.

mod agent;
mod args;
mod doctor;
mod exit;
mod experiments;
mod guardian;
mod heal;
mod inject;
mod lab;
mod profile;
mod progress;
mod report;
mod run;
mod summary;
mod terminal;
mod trace;
mod watched;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("TEMBLOR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match args.command {
        Command::Run(run) => run::run(&run),
        Command::Inject(inject) => inject::inject(&inject),
        Command::Trace(trace) => trace::trace(&trace),
        Command::Agent(agent) => agent::agent(&agent),
        Command::Profile(args) => profile::profile(&args),
        Command::Report(report) => report::report(&report),
        Command::Check(check) => experiments::check(&check),
        Command::Lab(lab) => lab::lab(lab.command),
        Command::Heal(heal) => heal::heal(&heal),
        Command::Guardian(guardian) => guardian::guardian(&guardian),
        Command::Stressor(worker) => return temblor_faults::stressor::main(worker.words),
        Command::Doctor(doctor) => doctor::doctor(&doctor),
    };
    done.unwrap_or_else(Failure::tell).into()
}
