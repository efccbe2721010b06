//! Makes orders up.

use std::process::ExitCode;

use clap::Parser;
use exchange_services::{common, order_flow};

fn main() -> ExitCode {
    let args = order_flow::Args::parse();
    common::run_to_exit("order-flow-simulator", order_flow::main(args))
}
