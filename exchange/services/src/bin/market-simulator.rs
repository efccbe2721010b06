//! Makes prices up.

use std::process::ExitCode;

use clap::Parser;
use exchange_services::{common, market_simulator};

fn main() -> ExitCode {
    let args = market_simulator::Args::parse();
    common::run_to_exit("market-simulator", market_simulator::main(args))
}
