//! What is wrong with an experiment file, said so that its author can mend it.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 where the problem is with the file as a whole.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn at(location: serde_saphyr::Location, what: impl Into<String>) -> Self {
        Self { line: location.line(), column: location.column(), what: what.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// An experiment file that cannot be run, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PlanError {
    /// The file's name as the user gave it.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
    /// The lines named in `problems`, for quoting.
    source_lines: Vec<String>,
}

impl PlanError {
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| (p.line, p.column));
        Self {
            file: file.to_owned(),
            problems,
            source_lines: text.lines().map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            if problem.line == 0 {
                write!(f, "{}: {}", self.file, problem.what)?;
            } else {
                write!(f, "{}:{}:{}: {}", self.file, problem.line, problem.column, problem.what)?;
                let line = usize::try_from(problem.line).unwrap_or(0);
                if let Some(text) = line.checked_sub(1).and_then(|i| self.source_lines.get(i)) {
                    let number = problem.line.to_string();
                    let indent = usize::try_from(problem.column).unwrap_or(1).saturating_sub(1);
                    let shown: String = text.chars().take(160).collect();
                    write!(f, "\n  {number} | {shown}")?;
                    if indent < 160 {
                        write!(f, "\n  {:w$} | {:indent$}^", "", "", w = number.len())?;
                    }
                }
            }
            if let Some(help) = &problem.help {
                write!(f, "\n  {help}")?;
            }
        }
        Ok(())
    }
}
