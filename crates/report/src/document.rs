//! What a report says, before it is known in which format: sections of text, facts and tables.
//!
//! HTML and Markdown are made from the same document, so that neither can say less by oversight.

use serde::Serialize;

use crate::number::{self, NOT_OBSERVED};

/// The whole report but for its plots.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) started: String,
    pub(crate) duration: String,
    pub(crate) temblor: String,
    pub(crate) host: String,
    pub(crate) verdict: &'static str,
    pub(crate) verdict_meaning: &'static str,
    pub(crate) reasons: Vec<String>,
    pub(crate) notices: Vec<String>,
    /// What the author believed.
    pub(crate) hypothesis: Option<String>,
    pub(crate) tiles: Vec<Tile>,
    /// What was to be learnt; before everything that is for reference.
    pub(crate) learnt: Option<Section>,
    pub(crate) sections: Vec<Section>,
}

/// How a figure is to be taken; HTML colours it, and never says anything by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    /// Not observed.
    Absent,
}

/// A key figure, or a few that belong together.
#[derive(Debug, Serialize)]
pub(crate) struct Tile {
    pub(crate) label: &'static str,
    pub(crate) figures: Vec<TileFigure>,
    pub(crate) note: String,
    pub(crate) source: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct TileFigure {
    /// Empty where the tile has one figure.
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) tone: Tone,
}

#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Block {
    Text(String),
    /// Said in small print: where figures come from, what a term means.
    Note(String),
    Table(Table),
    /// Sentences under a heading of their own.
    List {
        head: String,
        items: Vec<String>,
    },
    /// Something with a name of its own, that can be folded away.
    Fold {
        summary: String,
        open: bool,
        blocks: Vec<Block>,
    },
    /// An SVG, for a wide page and for a narrow one. Its texts are escaped.
    Drawing {
        label: String,
        wide: String,
        narrow: String,
    },
    /// The last lines of what a program printed.
    Output {
        summary: String,
        open: bool,
        lines: Vec<String>,
    },
    /// A long text as it is, folded away.
    Verbatim {
        summary: String,
        text: String,
    },
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) class: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) head: String,
    pub(crate) numeric: bool,
    /// Where the column's figures come from; shown as a tooltip.
    pub(crate) source: String,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) class: &'static str,
    pub(crate) cells: Vec<Cell>,
}

#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
    /// Names of hooks, queries, addresses: set in a fixed width.
    pub(crate) code: bool,
    /// Shown as a tooltip.
    pub(crate) source: String,
}

impl Table {
    pub(crate) fn new(class: &'static str, columns: Vec<Column>) -> Self {
        Self { class, columns, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, cells: Vec<Cell>) {
        self.push_as("", cells);
    }

    pub(crate) fn push_as(&mut self, class: &'static str, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a row has one cell for each column");
        self.rows.push(Row { class, cells });
    }
}

impl Column {
    pub(crate) fn words(head: impl Into<String>) -> Self {
        Self { head: head.into(), numeric: false, source: String::new() }
    }

    pub(crate) fn figures(head: impl Into<String>, source: impl Into<String>) -> Self {
        Self { head: head.into(), numeric: true, source: source.into() }
    }
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(crate) fn code(text: impl Into<String>) -> Self {
        Self { code: true, ..Self::text(text) }
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { tone, ..Self::text(text) }
    }

    /// A figure that may not have been observed.
    pub(crate) fn maybe<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> Self {
        value.map_or_else(|| Self::toned(NOT_OBSERVED, Tone::Absent), |v| Self::text(write(v)))
    }

    pub(crate) fn count(value: u64) -> Self {
        Self::text(number::count(value))
    }

    /// A count of what must not be.
    pub(crate) fn unwanted(value: Option<u64>) -> Self {
        let tone = if value == Some(0) { Tone::Good } else { Tone::Bad };
        value.map_or_else(
            || Self::toned(NOT_OBSERVED, Tone::Absent),
            |v| Self::toned(number::count(v), tone),
        )
    }

    /// The answer to a question whose good answer is yes.
    pub(crate) fn good(yes: bool, text_yes: &str, text_no: &str) -> Self {
        if yes {
            Self::toned(format!("✓ {text_yes}"), Tone::Good)
        } else {
            Self::toned(format!("✗ {text_no}"), Tone::Bad)
        }
    }

    pub(crate) fn from(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }
}
