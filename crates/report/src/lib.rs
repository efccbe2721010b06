//! A run directory as HTML, Markdown, JSON and JUnit.
