//! Renders a sample run of the tests into a directory, to look at:
//! `cargo run -p temblor-report --example sample -- DIRECTORY [cascade]`.

use std::error::Error;
use std::path::PathBuf;

use temblor_report::{Beside, render};

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("name a directory to write to")?);
    let beside = Beside {
        experiment: Some(sample::EXPERIMENT),
        notices: Vec::new(),
        scripts: sample::outputs(),
        profiles: sample::files(),
    };
    let cascade = std::env::args().nth(2).is_some_and(|which| which == "cascade");
    let judged = if cascade { sample::cascade() } else { sample::judged() };
    let rendered = render(&judged, &beside)?;
    let texts = [rendered.json, rendered.html, rendered.markdown, rendered.junit];
    for (name, text) in temblor_report::FILES.iter().zip(texts) {
        std::fs::write(dir.join(name), text)?;
    }
    Ok(())
}
