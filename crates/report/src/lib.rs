//! A run directory as HTML, Markdown, JSON and JUnit.
//!
//! [`render`] is a pure function: the same run gives the same bytes, on another machine, years
//! later. This crate adds no figure of its own but what profiles say when they are held against each
//! other; what the judge did not find is "not observed".

mod content;
mod document;
mod edge_map;
mod html;
mod junit;
mod markdown;
mod number;
mod plot;
mod profiles;

use std::error::Error as _;
use std::path::Path;

use temblor_judge::{Judged, RunResult, judge};
use temblor_runs::{EXPERIMENT_FILE, Reader, RunDir, RunError};

pub use profiles::ProfileFile;

/// The names of the files in a run directory that [`write()`] writes.
pub const FILES: [&str; 4] = ["result.json", "report.html", "report.md", "junit.xml"];

/// A run in four formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// For scripts: the result itself, by the schema that [`schema`] gives.
    pub json: String,
    /// For people: one file that needs nothing else, with plots.
    pub html: String,
    /// For a step summary or an issue.
    pub markdown: String,
    /// For whatever reads test results.
    pub junit: String,
}

/// What lies beside the events in a run directory and belongs into the report.
#[derive(Debug, Clone, Default)]
pub struct Beside<'a> {
    /// The experiment as it was resolved.
    pub experiment: Option<&'a str>,
    /// What a reader of the report must know of the record itself.
    pub notices: Vec<String>,
    /// What the user's own scripts printed.
    pub scripts: Vec<ScriptOutput>,
    /// The phases' profiles.
    pub profiles: Vec<ProfileFile>,
}

/// What a bpftrace script printed.
#[derive(Debug, Clone)]
pub struct ScriptOutput {
    /// The script's name.
    pub script: String,
    /// Lines, each with its time; or why they could not be read.
    pub printed: Result<Vec<u8>, String>,
}

/// A little more than a run keeps of a script's output.
const OUTPUT_BYTES_MAX: u64 = 17 << 20;

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run could not be read, or the report not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The events do not make a run.
    #[error(transparent)]
    Judge(#[from] temblor_judge::JudgeError),
    /// A template failed: a mistake in this program.
    #[error("the report's template failed; this is a mistake in temblor, please report it")]
    Template(#[from] minijinja::Error),
    /// A plot could not be drawn: a mistake in this program.
    #[error("a plot could not be drawn; this is a mistake in temblor, please report it")]
    Plot(#[source] Box<plot::DrawError>),
    /// The JUnit document could not be written: a mistake in this program.
    #[error(
        "the JUnit document could not be written; this is a mistake in temblor, please report it"
    )]
    Junit(#[from] quick_junit::SerializeError),
    /// The result could not be written as JSON: a mistake in this program.
    #[error(
        "the result could not be written as JSON; this is a mistake in temblor, please report it"
    )]
    Json(#[from] serde_json::Error),
}

impl ReportError {
    /// Whether it is the directory that is no run, or none that can be read; otherwise the report
    /// could not be written, or this program is wrong.
    #[must_use]
    pub fn is_of_the_run(&self) -> bool {
        match self {
            Self::Run(RunError::Io { action, .. }) => *action == "read",
            Self::Run(_) | Self::Judge(_) => true,
            _ => false,
        }
    }
}

impl From<plot::DrawError> for ReportError {
    fn from(error: plot::DrawError) -> Self {
        Self::Plot(Box::new(error))
    }
}

/// A judged run in every format.
pub fn render(judged: &Judged, beside: &Beside<'_>) -> Result<Rendered, ReportError> {
    let document = content::document(&judged.result, beside);
    let figures = plot::figures(&judged.result, &judged.series)?;
    Ok(Rendered {
        json: json(&judged.result)?,
        html: html::render(&document, &figures)?,
        markdown: markdown::render(&document),
        junit: junit::render(&judged.result)?,
    })
}

/// Reads a run directory, judges it, and writes [`FILES`] into it, each whole or not at all.
pub fn write(run_dir: &Path) -> Result<RunResult, ReportError> {
    let recorded = Reader::open(run_dir)?.read_all()?;
    let dir = RunDir::open(run_dir)?;
    let mut beside = Beside::default();
    if let Some(torn) = &recorded.torn {
        beside.notices.push(format!(
            "The event log ends in the middle of line {}: its writer died. What came after is \
             not known.",
            torn.line
        ));
    }
    // A run without its experiment can still be judged: the first event says what was asked.
    let experiment = dir.experiment();
    match &experiment {
        Ok(text) => beside.experiment = Some(text),
        Err(error) => {
            // Only the cause: the path would make the same run's report differ by where it lies.
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            beside.notices.push(format!("{EXPERIMENT_FILE} is not shown: {why}."));
        }
    }
    let mut judged = judge(&recorded.events)?;
    for script in &judged.result.scripts {
        let printed = dir.read_file(&script.output, OUTPUT_BYTES_MAX);
        let why =
            |error: RunError| error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let printed = printed.map_err(why);
        beside.scripts.push(ScriptOutput { script: script.name.clone(), printed });
    }
    beside.profiles = profiles::read(&dir, &judged.result);
    profiles::compare(&mut judged.result, &beside.profiles);
    let rendered = render(&judged, &beside)?;
    let texts = [&rendered.json, &rendered.html, &rendered.markdown, &rendered.junit];
    for (name, text) in FILES.iter().zip(texts) {
        dir.write_file(name, text.as_bytes())?;
    }
    Ok(judged.result)
}

/// Reads a run directory and judges it; nothing is written. What only the profiles themselves tell is
/// not in it.
///
/// # Errors
/// The directory is no run, or cannot be read.
pub fn result(run_dir: &Path) -> Result<RunResult, ReportError> {
    let recorded = Reader::open(run_dir)?.read_all()?;
    Ok(judge(&recorded.events)?.result)
}

/// The JSON Schema of `result.json`.
pub fn schema() -> Result<String, ReportError> {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(RunResult))?;
    text.push('\n');
    Ok(text)
}

fn json(result: &RunResult) -> Result<String, ReportError> {
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    Ok(text)
}
