//! What was found, as text of so many columns.

use temblor_profile::label;

use crate::SAMPLES_MIN;
use crate::against::Against;
use crate::budget::{Held, Holding};
use crate::change::{Basis, Change, Changes, Subject, Told};
use crate::drawn::Sampled;
use crate::explain::Explanation;
use crate::finding::{Analysis, Finding};
use crate::sentence::{bare_percent, between, figure, percent, sentence};
use crate::shorten::shorten;

/// Everything that was asked for of a profile.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What the profile means.
    pub analysis: Option<Analysis>,
    /// What changed.
    pub changes: Option<Changes>,
    /// Whether budgets were kept.
    pub budgets: Vec<Holding>,
    /// Whether it takes more than a base.
    pub against: Option<Against>,
    /// What a language model says of it.
    pub explanation: Option<Explanation>,
}

/// Of a section of changes so many are told, each of categories and of functions.
const CHANGES_MAX: usize = 8;
/// The least that lines are broken at.
const WIDTH_MIN: usize = 40;

/// The report, with a line feed at its end.
#[must_use]
pub fn text(report: &Report, width: usize) -> String {
    let mut page = Page { text: String::new(), width: width.max(WIDTH_MIN) };
    if let Some(analysis) = &report.analysis {
        page.analysis(analysis);
    }
    if let Some(changes) = &report.changes {
        page.changes(changes);
    }
    if !report.budgets.is_empty() {
        page.heading("Budgets");
        for holding in &report.budgets {
            page.budget(holding);
        }
    }
    if let Some(against) = &report.against {
        page.against(against);
    }
    if let Some(explanation) = &report.explanation {
        page.explanation(explanation);
    }
    page.text
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.line("");
        }
        self.line(heading);
    }

    /// Words, broken at the width; lines after the first so far to the right.
    fn words(&mut self, words: &str, indent: usize) {
        let first = words.len() - words.trim_start().len();
        let mut line = " ".repeat(first);
        let mut is_begun = false;
        for word in words.split_whitespace() {
            let columns = line.chars().count() + 1 + word.chars().count();
            if is_begun && columns > self.width {
                self.line(&line);
                line = " ".repeat(indent);
                is_begun = false;
            }
            if is_begun {
                line.push(' ');
            }
            line.push_str(word);
            is_begun = true;
        }
        self.line(&line);
    }

    fn analysis(&mut self, analysis: &Analysis) {
        let total = label(analysis.total, &analysis.unit, "auto");
        let mut about = format!("{}: {total}", analysis.kind);
        let differs = |samples: &Sampled| samples.count != analysis.total.unsigned_abs();
        if let Some(samples) = analysis.samples.filter(differs) {
            about.push_str(&format!(" from {samples}"));
        }
        if analysis.duration_ns > 0 {
            about.push_str(&format!(" in {}", label(analysis.duration_ns, "nanoseconds", "auto")));
        }
        self.line(&about);
        if let Some(why) = analysis.uncounted {
            self.words(&format!("No intervals: {}.", why.why()), 0);
        }
        if analysis.is_too_small() {
            self.too_few(analysis.samples.into_iter());
        }
        self.table(analysis);
        if !analysis.unknown.is_empty() {
            self.line("");
            self.line("Other is what no rule knows, most of all:");
            for (name, figure) in &analysis.unknown {
                let line = format!("{:>8}  {}", percent(figure.share), shorten(name));
                self.cut(&line);
            }
        }
        if analysis.is_too_small() {
            return;
        }
        if analysis.findings.is_empty() {
            self.heading("Nothing stands out: no category is surely over its threshold.");
        } else {
            self.heading("What stands out");
        }
        for (number, finding) in (1..).zip(&analysis.findings) {
            self.finding(number, finding);
        }
    }

    fn too_few(&mut self, samples: impl Iterator<Item = Sampled>) {
        let fewest = samples.min_by_key(|samples| samples.effective);
        let fewest = fewest.map_or_else(|| "none".to_owned(), |samples| samples.to_string());
        self.words(
            &format!(
                "Too few samples to say anything: {fewest}, where {SAMPLES_MIN} are the least. \
                 Collect for longer, at a higher rate, or under more load."
            ),
            0,
        );
    }

    fn table(&mut self, analysis: &Analysis) {
        let widest = analysis.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        self.line("");
        let widest = widest.max("Where it goes".len());
        // Without intervals there is no column for them.
        let (bounds, room) = match analysis.uncounted {
            None => ("  95 % between", 18),
            Some(_) => ("", 0),
        };
        let (what, with_calls) = ("Where it goes", "with calls");
        self.line(&format!("{what:widest$}  {:>8}{bounds:room$}  {with_calls:>10}", "share"));
        for row in &analysis.rows {
            let within = row.own.within.map(|within| format!("  {}", between(within)));
            let within = within.unwrap_or_default();
            let (own, with_calls) = (percent(row.own.share), percent(row.with_calls.share));
            self.line(&format!("{:widest$}  {own:>8}{within:room$}  {with_calls:>10}", row.name));
        }
    }

    fn finding(&mut self, number: usize, finding: &Finding) {
        let with_calls = if finding.with_calls { " with all it calls" } else { "" };
        self.line("");
        let (name, figure) = (&finding.name, figure(&finding.figure));
        let from = bare_percent(finding.from_share);
        let from = from.strip_suffix(".0").unwrap_or(&from);
        self.words(&format!("{number}. {name}{with_calls}: {figure}, over {from} %"), 3);
        for stack in &finding.stacks {
            let share = percent(stack.figure.share);
            let steps: Vec<String> = stack.steps.iter().map(|step| shorten(step)).collect();
            self.steps(&share, &steps);
        }
        self.words(&format!("   {}", finding.advice), 3);
    }

    /// A way through the program: on one line where it fits, else on as many as it has steps.
    fn steps(&mut self, share: &str, steps: &[String]) {
        let line = format!("   {share:>7}  {}", steps.join(" → "));
        if line.chars().count() <= self.width {
            self.line(&line);
            return;
        }
        for (at, step) in steps.iter().enumerate() {
            let before =
                if at == 0 { format!("   {share:>7}  ") } else { format!("{:12}→ ", "") };
            self.cut(&format!("{before}{step}"));
        }
    }

    fn changes(&mut self, changes: &Changes) {
        let basis = match changes.basis {
            Basis::Rates => "a second, under the same load",
            Basis::Shares => "in shares of each whole",
        };
        self.heading(&format!("What changed ({basis})"));
        if let Some(why) = changes.uncounted {
            self.words(&format!("Noise cannot be told from change: {}.", why.why()), 0);
        } else if let Some((base, new)) = changes.samples {
            if changes.is_too_small() {
                self.too_few([base, new].into_iter());
                return;
            }
            self.words(
                &format!(
                    "{base} in the base, {new} in this one; with a chance of 95 % all \
                     {} intervals hold.",
                    changes.comparisons
                ),
                0,
            );
        }
        let is_told = |change: &&Change| change.told != Told::Noise;
        let is_function = |change: &&Change| matches!(change.subject, Subject::Function(_));
        let whole = changes.list.iter().filter(|one| one.subject == Subject::Whole);
        let told = changes.list.iter().filter(is_told);
        let rest = |one: &&Change| one.subject != Subject::Whole;
        let categories = told.clone().filter(rest).filter(|one| !is_function(one));
        let functions = told.clone().filter(is_function);
        let shown: Vec<&Change> = whole
            .chain(categories.clone().take(CHANGES_MAX))
            .chain(functions.clone().take(CHANGES_MAX))
            .collect();
        for change in &shown {
            self.change(change, changes.basis, &changes.unit);
        }
        let left_out = categories.count().saturating_sub(CHANGES_MAX)
            + functions.count().saturating_sub(CHANGES_MAX);
        if left_out > 0 {
            self.line(&format!("  and {left_out} more (--json has all of them)"));
        }
        let noise = changes.list.iter().filter(rest).filter(|one| !is_told(one)).count();
        if noise > 0 {
            self.words(&format!("  {noise} others: no change that can be told from noise"), 2);
        }
    }

    fn change(&mut self, change: &Change, basis: Basis, unit: &str) {
        let mut short = change.clone();
        if let Subject::Function(name) = &mut short.subject {
            *name = shorten(name);
        }
        self.words(&format!("  {}", sentence(&short, basis, unit)), 4);
    }

    fn budget(&mut self, holding: &Holding) {
        let figure = figure(&holding.figure);
        let told = match holding.held {
            Held::Over => "over",
            Held::Within => "kept",
            Held::Open => "kept as far as can be told: the limit is within the noise",
            Held::TooFew => "too few samples to say",
        };
        self.words(&format!("  {}: {figure}: {told}", holding.budget), 4);
        if let Some(why) = holding.uncounted {
            self.words(&format!("    taken as it is: {}", why.why()), 4);
        }
        match holding.functions {
            Some(0) => self.words("    no function of the profile has such a name", 4),
            Some(functions) => self.line(&format!("    functions that are meant: {functions}")),
            None => {}
        }
    }

    fn against(&mut self, against: &Against) {
        self.heading("Against the base");
        if let Some(why) = against.uncounted {
            self.words(&format!("  Nothing can be said: {}.", why.why()), 2);
            return;
        }
        let Some((base, new)) = against.samples else { return };
        if against.is_too_small {
            self.too_few([base, new].into_iter());
            return;
        }
        let allowed = percent(against.allowed);
        if against.over.is_empty() {
            self.words(&format!("  Nothing surely takes more, beyond the {allowed} allowed."), 2);
        } else {
            let count = against.over.len();
            self.words(&format!("  {count} surely take more, beyond the {allowed} allowed:"), 2);
        }
        for change in against.over.iter().take(CHANGES_MAX) {
            self.change(change, against.basis, &against.unit);
        }
        if against.over.len() > CHANGES_MAX {
            let more = against.over.len() - CHANGES_MAX;
            self.line(&format!("  and {more} more (--json has all of them)"));
        }
        let of = match against.basis {
            Basis::Rates => "of everything together",
            Basis::Shares => "of a function that has a tenth of the whole",
        };
        let seen = percent(against.seen_from.unwrap_or(1.0));
        self.words(
            &format!(
                "  With {base} and {new} a growth {of} by {seen} is found 95 times in 100; \
                 where nothing changed, {} comparisons give at most one false alarm in 100 runs.",
                against.comparisons
            ),
            2,
        );
    }

    fn explanation(&mut self, explanation: &Explanation) {
        self.heading(&format!("What {} says: a language model, not Temblor", explanation.model));
        for line in explanation.text.lines() {
            self.words(&format!("  {line}"), 2);
        }
        let told = match explanation.not_found.as_slice() {
            [] => "  All figures in it are the profile's.".to_owned(),
            figures => format!("  Not among the profile's figures: {}.", figures.join(", ")),
        };
        self.words(&told, 2);
    }

    /// A line of names, which may be of any length.
    fn cut(&mut self, line: &str) {
        if line.chars().count() <= self.width {
            return self.line(line);
        }
        let cut: String = line.chars().take(self.width - 1).chain(['…']).collect();
        self.line(&cut);
    }
}
