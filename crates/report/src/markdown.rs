//! GitHub-flavoured Markdown, short enough for a step summary.

use std::fmt::Write as _;

use crate::document::{Block, Document, Section, Table};

/// Longer tables and lists end with a line that says how much more there is in the HTML report.
const ROWS_MAX: usize = 60;
const FOLDS_MAX: usize = 5;
/// Of what a program printed.
const OUTPUT_LINES_MAX: usize = 20;
/// A longer text within a cell or a sentence is cut.
const CHARS_MAX: usize = 600;

pub(crate) fn render(document: &Document) -> String {
    let mut out = String::new();
    let mark = match document.verdict {
        "pass" => "✅",
        "fail" => "❌",
        _ => "⚠️",
    };
    line(&mut out, &format!("# {}", text(&document.title)));
    line(
        &mut out,
        &format!(
            "**{mark} {}** — {}",
            document.verdict.to_uppercase(),
            text(document.verdict_meaning)
        ),
    );
    if let Some(hypothesis) = &document.hypothesis {
        line(&mut out, &format!("**Hypothesis:** {}", text(hypothesis)));
    }
    list(&mut out, &document.reasons);
    list(&mut out, &document.notices);
    line(
        &mut out,
        &format!(
            "{}, started {}, {} long, on {}.",
            text(&document.name),
            text(&document.started),
            text(&document.duration),
            text(&document.host)
        ),
    );
    line(&mut out, "## Key figures");
    out.push_str("| Figure | | Note |\n| --- | --- | --- |\n");
    for tile in &document.tiles {
        let figures: Vec<String> = tile
            .figures
            .iter()
            .map(|f| format!("{} **{}**", text(&f.label), text(&f.value)).trim().to_owned())
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            text(tile.label),
            figures.join(" · "),
            text(&tile.note)
        );
    }
    out.push('\n');
    if let Some(learnt) = &document.learnt {
        section(&mut out, learnt);
    }
    for section in &document.sections {
        self::section(&mut out, section);
    }
    let _ = writeln!(out, "<sub>Written by temblor {}.</sub>", text(&document.temblor));
    out
}

fn section(out: &mut String, section: &Section) {
    line(out, &format!("## {}", text(section.title)));
    let folds = section.blocks.iter().filter(|b| matches!(b, Block::Fold { .. })).count();
    let mut shown = 0;
    for block in &section.blocks {
        if let Block::Fold { .. } = block {
            shown += 1;
            if shown > FOLDS_MAX {
                continue;
            }
        }
        self::block(out, block);
    }
    if folds > FOLDS_MAX {
        line(out, &format!("*{} more in report.html.*", folds - FOLDS_MAX));
    }
}

fn block(out: &mut String, block: &Block) {
    match block {
        Block::Text(words) => line(out, &opening(words)),
        Block::Note(words) => line(out, &format!("<sub>{}</sub>", text(words))),
        Block::Table(table) => self::table(out, table),
        Block::List { head, items } => {
            line(out, &format!("**{}**", text(head)));
            list(out, items);
        }
        Block::Fold { summary, blocks, .. } => {
            line(out, &format!("**{}**", text(summary)));
            for inner in blocks {
                self::block(out, inner);
            }
        }
        Block::Drawing { label, .. } => {
            line(out, &format!("<sub>{}: see report.html.</sub>", text(label)));
        }
        Block::Output { summary, lines, .. } => {
            line(out, &format!("**{}**", text(summary)));
            // Between these tags nothing is Markdown.
            let skipped = lines.len().saturating_sub(OUTPUT_LINES_MAX);
            let shown: Vec<String> = lines.iter().skip(skipped).map(|l| escaped(l)).collect();
            line(out, &format!("<pre>\n{}\n</pre>", shown.join("\n")));
            if skipped > 0 {
                line(out, &format!("*{skipped} earlier lines in report.html.*"));
            }
        }
        // The whole experiment would be most of a summary; the HTML report has it.
        Block::Verbatim { summary, .. } => {
            line(out, &format!("<sub>{}: see report.html.</sub>", text(summary)));
        }
    }
}

fn table(out: &mut String, table: &Table) {
    out.push('|');
    for column in &table.columns {
        let _ = write!(out, " {} |", text(&column.head));
    }
    out.push_str("\n|");
    for column in &table.columns {
        out.push_str(if column.numeric { " ---: |" } else { " --- |" });
    }
    out.push('\n');
    for row in table.rows.iter().take(ROWS_MAX) {
        out.push('|');
        for cell in &row.cells {
            let _ = write!(out, " {} |", text(&cell.text));
        }
        out.push('\n');
    }
    out.push('\n');
    if table.rows.len() > ROWS_MAX {
        line(out, &format!("*{} more rows in report.html.*", table.rows.len() - ROWS_MAX));
    }
}

fn list(out: &mut String, items: &[String]) {
    for item in items.iter().take(ROWS_MAX) {
        let _ = writeln!(out, "- {}", opening(item));
    }
    if items.len() > ROWS_MAX {
        let _ = writeln!(out, "- {} more in report.html", items.len() - ROWS_MAX);
    }
    if !items.is_empty() {
        out.push('\n');
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\n\n");
}

/// A text that a paragraph or a list item begins with: nothing in it begins a list or a heading.
fn opening(raw: &str) -> String {
    let text = text(raw);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if text.starts_with(['-', '+', '#', '=']) {
        format!("\\{text}")
    } else if digits > 0 && text[digits..].starts_with(['.', ')']) {
        format!("{}\\{}", &text[..digits], &text[digits..])
    } else {
        text
    }
}

/// Text that means nothing to HTML.
fn escaped(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text that means nothing to Markdown or to HTML, on one line.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.trim().chars();
    for c in chars.by_ref().take(CHARS_MAX) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => out.push(' '),
            c => out.push(c),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        let cases = [
            ("a|b", "a\\|b"),
            ("<script>&", "&lt;script&gt;&amp;"),
            ("two\nlines\r\n", "two lines"),
            ("`x` *y* _z_ [a](b) $m$", "\\`x\\` \\*y\\* \\_z\\_ \\[a\\](b) \\$m\\$"),
        ];
        for (raw, expected) in cases {
            assert_eq!(text(raw), expected);
        }
    }

    #[test]
    fn nothing_begins_a_list_or_a_heading() {
        let cases = [
            ("- item", "\\- item"),
            ("+0.204 s", "\\+0.204 s"),
            ("1. one", "1\\. one"),
            ("12) twelve", "12\\) twelve"),
            ("# head", "\\# head"),
            ("* star", "\\* star"),
            ("> said", "&gt; said"),
            ("4 orders", "4 orders"),
        ];
        for (raw, expected) in cases {
            assert_eq!(opening(raw), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let cut = text(&"x".repeat(5000));
        assert_eq!(cut.chars().count(), CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
    }
}
