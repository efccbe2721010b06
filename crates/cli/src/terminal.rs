//! Writing to the terminal: to a pipe the same words, only plainer. A reader that hung up is not
//! an error: whoever pipes into `head` wants no message about it.

use std::io::{self, IsTerminal, Write};

/// A line of a result, to standard output.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line of progress or a message, to standard error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Standard error is a terminal on which a line can be written over.
pub(crate) fn can_rewrite() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colour is wanted on standard output.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// `text` in an ANSI colour, where colour is wanted.
pub(crate) fn painted(text: &str, ansi: u8) -> String {
    if colour() { format!("\x1b[{ansi}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Standard output is a terminal: somebody reads it now.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How many columns standard output has, where it is a terminal.
pub(crate) fn width() -> usize {
    columns()
}

/// How many columns standard error has.
pub(crate) fn columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns).max(20))
}

/// `text` without what a terminal would take for a command: some of it is what a server said.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` cut to `width` columns, with a sign that it was cut.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// `text` in lines of at most `width` columns, those after the first so far to the right: broken
/// where a part ends (`, ` or `; `), within a part where that does not fit on a line, and what is
/// one word too long for that is cut.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = " ".repeat(indent.min(width / 2));
    let room = width - indent.len();
    let mut pieces = vec![String::new()];
    for word in plain(text).split_inclusive(' ') {
        let Some(part) = pieces.last_mut() else { break };
        part.push_str(word);
        if word.ends_with(", ") || word.ends_with("; ") {
            pieces.push(String::new());
        }
    }
    let pieces = pieces.iter().flat_map(|part| {
        let words = long(part, room).then(|| part.split_inclusive(' '));
        let whole = (!long(part, room)).then_some(part.as_str());
        words.into_iter().flatten().chain(whole)
    });
    let mut lines = vec![String::new()];
    for piece in pieces {
        let Some(line) = lines.last_mut() else { break };
        let at = line.chars().count();
        if at > indent.len() && long(piece, width.saturating_sub(at)) {
            lines.push(format!("{indent}{piece}"));
        } else {
            line.push_str(piece);
        }
    }
    lines.iter().map(|line| fit(line.trim_end(), width)).collect()
}

/// Whether it takes more columns than these.
fn long(text: &str, columns: usize) -> bool {
    text.trim_end().chars().count() > columns
}

/// Rows under a header, in columns as wide as their widest cell; the last column is left ragged.
pub(crate) fn table<const N: usize>(header: &[String; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in std::iter::once(header).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    std::iter::once(header)
        .chain(rows)
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_fits_and_says_that_it_was_cut() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("äöüß", 3), "äö…");
        assert_eq!(fit("a\x1b[2J\nb", 9), "a [2J b");
    }

    #[test]
    fn a_long_text_is_broken_where_a_part_ends() {
        let text = "sched  pg  on cpu 12%, waits p50 4 µs p99 1 ms, 4,200 switches";
        assert_eq!(wrapped(text, 80, 2), [text]);
        let broken = ["sched  pg  on cpu 12%,", "  waits p50 4 µs p99 1 ms,", "  4,200 switches"];
        assert_eq!(wrapped(text, 26, 2), broken);
        for width in 1..70 {
            let lines = wrapped(text, width, 4);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
        }
        assert_eq!(wrapped("", 9, 2), [""]);
    }
}
