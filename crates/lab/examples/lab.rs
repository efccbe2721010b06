//! Keeps a lab without the rest of Temblor: `lab up|down|status [LAB.yaml]`.

use std::process::ExitCode;

use temblor_lab::{Options, Result, SupervisorCommand};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lab: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String> {
    let mut options = Options::from_env()?;
    options.supervisor = SupervisorCommand { program: None, args: vec!["supervise".into()] };
    options.lab = args.get(1).map(Into::into);
    match args.first().map(String::as_str) {
        Some("up") => Ok(format!("{:#?}", temblor_lab::up(&options)?)),
        Some("down") => Ok(format!("{:#?}", temblor_lab::down(&options)?)),
        Some("status") => Ok(format!("{:#?}", temblor_lab::status(&options)?)),
        Some("supervise") => {
            temblor_lab::supervise(&Options::handed_over()?)?;
            Ok(String::new())
        }
        _ => Ok("lab up|down|status [LAB.yaml]".to_owned()),
    }
}
