//! The user's own bpftrace scripts: what became of them, and the last of what they printed.

use std::collections::VecDeque;

use temblor_event::ScriptEnd;
use temblor_judge::human::counted;
use temblor_judge::{PhaseResult, RunResult, ScriptEndResult, ScriptResult};

use crate::ScriptOutput;
use crate::document::{Block, Cell, Column, Section, Table, Tone};
use crate::number::{self, NOT_OBSERVED};

/// Lines of one part of the run that are shown.
const LINES_MAX: usize = 100;
/// Characters of a line that are shown.
const CHARS_MAX: usize = 400;
const AFTER: &str = "after the last phase";

/// None: no script ran along.
pub(super) fn section(result: &RunResult, outputs: &[ScriptOutput]) -> Option<Section> {
    if result.scripts.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Table(table(result))];
    for script in &result.scripts {
        let output = outputs.iter().find(|output| output.script == script.name);
        blocks.push(Block::Text(words(script)));
        match output.map(|output| output.printed.as_deref()) {
            Some(Ok(printed)) => blocks.extend(parts(script, &result.phases, printed)),
            Some(Err(why)) => {
                blocks.push(Block::Text(format!("{} is not shown: {why}.", script.output)));
            }
            None => {}
        }
    }
    blocks.push(Block::Note(
        "Scripts of the experiment's author, run by bpftrace in its safe mode from before the \
         first phase until after the last. No verdict hangs on them. In its file each line has \
         the time at which it came, in seconds of CLOCK_MONOTONIC; what bpftrace prints at its end, such as its maps, comes after the last phase."
            .to_owned(),
    ));
    Some(Section { id: "scripts", title: "User's own bpftrace scripts", blocks })
}

fn table(result: &RunResult) -> Table {
    let bpftrace = "counted as it came from bpftrace";
    let mut table = Table::new(
        "scripts",
        vec![
            Column::words("Script"),
            Column::words("Ended"),
            Column::figures("Lines", bpftrace),
            Column::figures("Bytes", bpftrace),
            Column::figures("Lines cut", "printed, and not in the file: it holds 16 MiB"),
            Column::figures("Events lost", "as bpftrace itself says"),
            Column::figures("Processor time", "wait4, user and system, compiling included"),
            Column::figures("Memory", "wait4, greatest resident"),
            Column::figures("eBPF programs", "the kernel's run statistics of its programs"),
        ],
    );
    for script in &result.scripts {
        let ended = script.ended.as_ref();
        let count =
            |figure: fn(&ScriptEndResult) -> u64| Cell::maybe(ended.map(figure), number::count);
        let unwanted = |figure: fn(&ScriptEndResult) -> u64| match ended.map(figure) {
            Some(n @ 1..) => Cell::toned(number::count(n), Tone::Warn),
            n => Cell::maybe(n, number::count),
        };
        table.push(vec![
            Cell::text(&script.name),
            end(ended),
            count(|ended| ended.lines),
            count(|ended| ended.bytes),
            unwanted(|ended| ended.lines_cut),
            unwanted(|ended| ended.events_lost),
            Cell::maybe(ended.map(|ended| ended.cpu_seconds), number::seconds),
            Cell::maybe(ended.map(|ended| ended.memory_bytes_max), number::bytes),
            match ended.and_then(|ended| ended.programs) {
                None => Cell::toned("not measured", Tone::Absent),
                Some(cost) => Cell::text(format!(
                    "{} ns in {} of {}",
                    number::count(cost.run_ns),
                    counted(cost.runs, "runs"),
                    number::count(cost.programs)
                )),
            },
        ]);
    }
    table
}

fn end(ended: Option<&ScriptEndResult>) -> Cell {
    let Some(ended) = ended else { return Cell::toned(NOT_OBSERVED, Tone::Absent) };
    let (how, tone) = match ended.end {
        ScriptEnd::Asked => ("when asked to", Tone::Plain),
        ScriptEnd::ByItself => ("by itself", Tone::Warn),
        ScriptEnd::Killed => ("killed, not when asked to", Tone::Warn),
    };
    let at = number::moment(ended.t_seconds);
    Cell::toned(format!("{how}, {at} ({})", ended.status), tone)
}

fn words(script: &ScriptResult) -> String {
    let mut words = format!(
        "{} was {}, of which {} is a copy. {} had attached it after {}. All that is kept of its \
         output is in {}, where 0 s of this report is at {}.{:09} s.",
        script.name,
        script.path,
        script.source,
        script.program,
        number::seconds(script.attach_seconds),
        script.output,
        script.zero_ns / 1_000_000_000,
        script.zero_ns % 1_000_000_000,
    );
    if let Some(ended) = &script.ended {
        if ended.lines_cut > 0 {
            words.push_str(&format!(
                " {} lines, {} bytes, are not in it.",
                number::count(ended.lines_cut),
                number::count(ended.bytes_cut)
            ));
        }
        if let Some(why) = &ended.unwritten {
            words.push_str(&format!(" It could not be written to its end: {why}."));
        }
    }
    words
}

/// The last lines of each part of the run: before the first phase, each phase, after the last.
fn parts(script: &ScriptResult, phases: &[PhaseResult], printed: &[u8]) -> Vec<Block> {
    let mut names = vec!["before the first phase".to_owned()];
    names.extend(phases.iter().map(|phase| format!("phase {}", phase.name)));
    names.push(AFTER.to_owned());
    let mut parts: Vec<(usize, VecDeque<String>)> =
        names.iter().map(|_| Default::default()).collect();
    let mut part = 0;
    let text = String::from_utf8_lossy(printed);
    for line in text.lines() {
        // One without a time is what a crash has left of one.
        let Some((time, words)) = line.split_once(' ') else { continue };
        let Some(t_seconds) = since(script.zero_ns, time) else { continue };
        // Between two phases is with the one before.
        while phases.get(part).is_some_and(|phase| phase.start_seconds <= t_seconds) {
            part += 1;
        }
        let over = phases.last().is_some_and(|last| last.end_seconds <= t_seconds);
        let (lines, last) = &mut parts[if over { phases.len() + 1 } else { part }];
        *lines += 1;
        if last.len() == LINES_MAX {
            last.pop_front();
        }
        let cut = words.chars().filter(|c| !c.is_control() || *c == '\t').take(CHARS_MAX);
        last.push_back(format!("{:>12}  {}", number::moment(t_seconds), cut.collect::<String>()));
    }
    let shown = names.into_iter().zip(parts).filter(|(_, (lines, _))| *lines > 0);
    shown
        .map(|(name, (lines, last))| {
            let earlier = lines - last.len();
            let more = match earlier {
                0 => String::new(),
                n => format!(", of which the last {} are shown", lines - n),
            };
            let counted = counted(lines as u64, "lines");
            Block::Output {
                // The maps are what most scripts are for.
                open: name == AFTER,
                summary: format!("{}, {name}: {counted}{more}", script.name),
                lines: last.into(),
            }
        })
        .collect()
}

/// Seconds from the injection of a line's time: `34868.281796123`.
fn since(zero_ns: u64, time: &str) -> Option<f64> {
    let (seconds, ns) = time.split_once('.')?;
    let ns = ns.parse::<i128>().ok().filter(|_| ns.len() == 9)?;
    let at_ns = seconds.parse::<u64>().map(i128::from).ok()? * 1_000_000_000 + ns;
    #[expect(clippy::cast_precision_loss, reason = "the length of a run, to the microsecond")]
    Some((at_ns - i128::from(zero_ns)) as f64 / 1e9)
}
