//! The screen's contents, for any size of it. No colours: bold, dim and reversed are seen
//! everywhere.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};
use temblor_event::{Reading, meaning};
use temblor_judge::human;

use super::super::measures::{amount, reading};
use super::columns::{COLUMNS, Cell, Column};
use super::model::{Model, Target};
use crate::terminal::{fit, wrapped};

/// Narrower, and a target is a block of lines instead of a row.
const ROWS_FROM: u16 = 60;
const NAME: u16 = 18;
const CELL: u16 = 8;
const NOTHING: &str = "-";

/// What the user has chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// A place among the rows.
    pub(super) row: usize,
    /// A place among the columns that are shown; none: by name.
    pub(super) sorted_by: Option<usize>,
    pub(super) reversed: bool,
}

/// The columns of the probes that are attached.
pub(super) fn columns(model: &Model) -> Vec<&'static Column> {
    let attached = |column: &&Column| model.probes.iter().any(|probe| probe == column.probe);
    COLUMNS.iter().filter(attached).collect()
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, chosen: &Chosen, running_s: u64) {
    let area = frame.area();
    let rows = sorted(model, chosen);
    let wide = area.width >= ROWS_FROM;
    let lines = if wide { rows.len() + 1 } else { rows.len() * 4 };
    // Half of it for the targets, if they need so much.
    let most = (area.height.saturating_sub(2) / 2).max(3);
    let lines = u16::try_from(lines).unwrap_or(u16::MAX).min(most);
    let [head, targets, details, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lines),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(headline(model, running_s, head.width), head);
    if wide {
        table(frame, model, &rows, chosen, targets);
    } else {
        blocks(frame, model, &rows, chosen, targets);
    }
    if let Some((name, target)) = rows.get(chosen.row) {
        detail(frame, name, target, details);
    }
    frame.render_widget(footline(model, chosen, foot.width), foot);
}

fn headline(model: &Model, running_s: u64, width: u16) -> Line<'static> {
    let targets = model.targets.len();
    let shed = model.shed.as_ref().map(|shed| format!(", too dear: {shed}")).unwrap_or_default();
    let text = format!(
        "temblor trace  {}  {running_s} s  {targets} {}  {} lost{shed}",
        model.probes.join(" "),
        if targets == 1 { "target" } else { "targets" },
        human::count(model.lost),
    );
    Line::styled(fit(&text, width.into()), Modifier::BOLD)
}

fn footline(model: &Model, chosen: &Chosen, width: u16) -> Line<'static> {
    let by = chosen.sorted_by.and_then(|at| columns(model).get(at).map(|column| column.title));
    let by = by.unwrap_or("name");
    let text = format!("q quit  ↑↓ target  s sort: {by}  r reverse");
    Line::styled(fit(&text, width.into()), Modifier::DIM)
}

/// The targets in the order that the user wants; the greatest first, and those without a figure
/// last.
fn sorted<'a>(model: &'a Model, chosen: &Chosen) -> Vec<(&'a str, &'a Target)> {
    let mut rows: Vec<(Cell, &str, &Target)> = Vec::with_capacity(model.targets.len());
    let by = chosen.sorted_by.and_then(|at| columns(model).get(at).copied());
    for (name, target) in &model.targets {
        rows.push((by.and_then(|column| column.cell(target)), name, target));
    }
    let value = |cell: &Cell| cell.as_ref().map_or(f64::NEG_INFINITY, |(value, _)| *value);
    rows.sort_by(|(a, ..), (b, ..)| value(b).total_cmp(&value(a)));
    if chosen.reversed {
        rows.reverse();
    }
    rows.into_iter().map(|(_, name, target)| (name, target)).collect()
}

fn told(cell: Cell) -> String {
    cell.map_or_else(|| NOTHING.to_owned(), |(_, text)| text)
}

fn table(
    frame: &mut Frame<'_>,
    model: &Model,
    rows: &[(&str, &Target)],
    chosen: &Chosen,
    area: Rect,
) {
    let room = usize::from(area.width.saturating_sub(NAME) / CELL);
    let columns: Vec<&Column> = columns(model).into_iter().take(room).collect();
    let right = |text: &str| format!("{:>width$}", text, width = usize::from(CELL) - 1);
    let head = std::iter::once("target".to_owned())
        .chain(columns.iter().map(|column| right(column.title)));
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let from = (chosen.row + 1).saturating_sub(visible);
    let rows = rows.iter().enumerate().skip(from).take(visible).map(|(at, (name, target))| {
        let name = std::iter::once(fit(name, usize::from(NAME) - 1));
        let cells = columns.iter().map(|column| right(&told(column.cell(target))));
        let style = if at == chosen.row { Modifier::REVERSED } else { Modifier::empty() };
        Row::new(name.chain(cells)).style(Style::new().add_modifier(style))
    });
    let widths = std::iter::once(Constraint::Length(NAME - 1))
        .chain(columns.iter().map(|_| Constraint::Length(CELL - 1)));
    let table = Table::new(rows, widths)
        .column_spacing(1)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::UNDERLINED)));
    frame.render_widget(table, area);
}

/// Each target in a few lines: its name, then its figures as they fit.
fn blocks(
    frame: &mut Frame<'_>,
    model: &Model,
    rows: &[(&str, &Target)],
    chosen: &Chosen,
    area: Rect,
) {
    let width = usize::from(area.width);
    let columns = columns(model);
    let mut lines = Vec::new();
    let mut from = 0;
    for (at, (name, target)) in rows.iter().enumerate() {
        let style = if at == chosen.row { Modifier::REVERSED } else { Modifier::BOLD };
        lines.push(Line::styled(fit(name, width), style));
        let cells = columns.iter().filter_map(|column| {
            let (_, text) = column.cell(target)?;
            Some(format!("{} {text}", column.title))
        });
        let text = cells.collect::<Vec<_>>().join(", ");
        let text = if text.is_empty() { "nothing happened".to_owned() } else { text };
        lines.extend(wrapped(&format!("  {text}"), width, 2).into_iter().map(Line::from));
        if at == chosen.row {
            from = lines.len().saturating_sub(usize::from(area.height));
        }
    }
    frame.render_widget(Paragraph::new(lines.split_off(from)), area);
}

/// Every figure of one target.
fn detail(frame: &mut Frame<'_>, name: &str, target: &Target, area: Rect) {
    let width = usize::from(area.width);
    let mut figures: Vec<(String, String)> = Vec::new();
    for (probe, figure) in target.all() {
        let Some(of) = meaning(probe, &figure.name) else { continue };
        let told = match (&figure.sum, &figure.last) {
            (Reading::Count(sum), last) => {
                let last = match last {
                    Some((Reading::Count(last), _)) => *last,
                    _ => 0,
                };
                format!("{}, {} in all", amount(of.unit, last), amount(of.unit, *sum))
            }
            (_, Some((last, length_ns))) => reading(of.unit, last, *length_ns),
            (_, None) => continue,
        };
        figures.push((of.named(&figure.labels), told));
    }
    figures.sort();
    let mut lines = vec![Line::default(), Line::styled(fit(name, width), Modifier::BOLD)];
    for (name, told) in figures {
        let text = format!("  {name}: {told}");
        let mut wrapped = wrapped(&text, width, 4).into_iter();
        // The name stands out where it is on the first line whole.
        if let Some(first) = wrapped.next() {
            lines.push(match first.split_once(": ") {
                Some((name, rest)) => Line::from(vec![
                    Span::styled(format!("{name}: "), Modifier::DIM),
                    Span::from(rest.to_owned()),
                ]),
                None => Line::from(first),
            });
        }
        lines.extend(wrapped.map(Line::from));
    }
    let room = usize::from(area.height);
    if lines.len() > room && room > 0 {
        let more = lines.len() - (room - 1);
        lines.truncate(room - 1);
        lines.push(Line::styled(fit(&format!("  … {more} lines more"), width), Modifier::DIM));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use temblor_event::{Distribution, ProbeStatus, ProbeWindow, SchedWindow};

    use super::*;

    fn model() -> Model {
        let mut model = Model::default();
        for probe in ["sched", "tcp", "block", "process", "memory"] {
            let (hooks, unseen) = (Vec::new(), Vec::new());
            model.add(&ProbeStatus { probe: probe.into(), hooks, unseen }.into());
        }
        for (n, name) in ["postgres", "trading-api", "a-name-that-is-longer-than-its-column"]
            .into_iter()
            .enumerate()
        {
            let n = n as u64 + 1;
            let window = SchedWindow {
                service: name.into(),
                window_ns: 1_000_000_000,
                on_cpu_ns: n * 100_000_000,
                voluntary: 10 * n,
                involuntary: n,
                wait: temblor_event::Latency::of(vec![(200, 5)].into(), 5_000, 1_000),
                waited_ns: Some(5_000),
                waiting_max_ns: 0,
                throttled: None,
            };
            model.add(&window.into());
            let mut window = ProbeWindow::new("block", name, 1_000_000_000);
            let took = Reading::Distribution(Distribution::of(n * 1_500_000));
            window.put("io_latency", &[("device", "vda"), ("operation", "write")], took);
            model.add(&window.into());
        }
        model.second(1_000_000_000);
        model
    }

    fn drawn(model: &Model, chosen: &Chosen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, chosen, 7)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content().chunks(usize::from(width));
        cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    #[test]
    fn a_wide_screen_has_a_row_for_each_target_and_the_details_of_one() {
        let by_cpu = Chosen { sorted_by: Some(0), ..Chosen::default() };
        let screen = drawn(&model(), &by_cpu, 80, 24);
        assert!(screen[0].starts_with("temblor trace  sched tcp block process memory  7 s"));
        for title in ["target", "cpu", "runq99", "failed", "rtt99", "io99"] {
            assert!(screen[1].contains(title), "{title}: {screen:#?}");
        }
        assert!(screen[2].starts_with("a-name-that-is-l…"), "{screen:#?}");
        assert!(screen[2].contains("30%") && screen[2].contains("4.5ms"), "{screen:#?}");
        assert!(screen[4].starts_with("postgres"), "{screen:#?}");
        let all = screen.join("\n");
        for part in ["run-queue wait: ", "time of I/O (vda, write): p50 4.5 ms", "1/s"] {
            assert!(all.contains(part), "{part}: {screen:#?}");
        }
        assert!(screen[23].contains("q quit") && screen[23].contains("sort: cpu"), "{screen:#?}");
    }

    #[test]
    fn rows_are_sorted_either_way_and_by_name() {
        let model = model();
        let first = |sorted_by, reversed| {
            let chosen = Chosen { sorted_by, reversed, row: 0 };
            drawn(&model, &chosen, 80, 24)[2].split(' ').next().unwrap().to_owned()
        };
        assert_eq!(first(Some(0), true), "postgres");
        assert_eq!(first(None, false), "a-name-that-is-l…");
        assert_eq!(first(None, true), "trading-api");
    }

    #[test]
    fn a_narrow_screen_has_a_block_for_each_target() {
        let screen = drawn(&model(), &Chosen { row: 1, ..Chosen::default() }, 40, 30);
        let all = screen.join("\n");
        for part in ["postgres", "cpu 10%, runq99", "io99 1.5ms", "q quit"] {
            assert!(all.contains(part), "{part}: {screen:#?}");
        }
    }

    #[test]
    fn it_is_drawn_in_any_size() {
        let model = model();
        for width in [1, 10, 59, 60, 130] {
            for height in [1, 2, 3, 12] {
                drawn(&model, &Chosen { row: 3, ..Chosen::default() }, width, height);
            }
        }
        drawn(&Model::default(), &Chosen::default(), 80, 24);
    }
}
