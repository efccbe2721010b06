//! Takes orders.

use std::process::ExitCode;

use clap::Parser;
use exchange_services::{common, trading_api};

fn main() -> ExitCode {
    let args = trading_api::Args::parse();
    common::run_to_exit("trading-api", trading_api::main(args))
}
