//! The page: what works where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::record::{Offered, Outcome, Test};
use super::told::Told;

const HEAD: &str = "\
# What works on which kernel

`make test-kernels` wrote this page, and writes it again: change nothing by hand. It boots Debian's
own kernels in QEMU, runs the tests of the probes and of the faults there against what they plant
and measure themselves, and puts every fault in place once. After each of them the whole guest is
compared with what it was: packet filter, queues, links, addresses, routes, cgroups and their
settings, mounts, loop devices, journals, processes.

- **works**: it is there, by what is named.
- **fallback**: something else takes its place, and what is lost is named.
- **not there**: this kernel has nothing for it. Everything else goes on without.

";

/// A page of Markdown, a column a kernel.
#[must_use]
pub fn page(kernels: &[Told]) -> String {
    let mut page = String::from(HEAD);
    kernels_themselves(kernels, &mut page);
    page.push_str("\n## Probes\n\nWhat each kernel offers, as `temblor doctor` found it there.\n");
    offers(kernels, &mut page, |of| of.starts_with("probe"));
    page.push_str(
        "\n## Faults\n\nEach put in place by `temblor inject` on a target of its own, seen, undone, \
         and everything compared with before.\n\n",
    );
    faults(kernels, &mut page);
    page.push_str("\nWhat they need, as `temblor doctor` found it there.\n");
    offers(kernels, &mut page, |of| of.starts_with("fault"));
    page.push_str("\n## Tests\n\n");
    tests(kernels, &mut page);
    reasons(kernels, &mut page);
    page
}

fn header(kernels: &[Told], first: &[&str]) -> String {
    let names = first.iter().map(|&name| name.to_owned());
    row(names.chain(kernels.iter().map(Told::name)))
        + &row((0..first.len() + kernels.len()).map(|_| "---".to_owned()))
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let mut line = String::from("|");
    for cell in cells {
        let _ = write!(line, " {} |", cell.replace('|', "\\|").replace('\n', " "));
    }
    line + "\n"
}

fn kernels_themselves(kernels: &[Told], page: &mut String) {
    page.push_str(&header(kernels, &[""]));
    let mut line = |name: &str, value: &dyn Fn(&Told) -> String| {
        page.push_str(&row(std::iter::once(name.to_owned()).chain(kernels.iter().map(value))));
    };
    line("release", &|told| told.release.clone());
    line("package", &|told| told.version.clone());
    line("cgroups", &|told| told.cgroups.clone());
    for (at, name) in ["passed", "skipped", "failed"].iter().enumerate() {
        line(name, &|told| told.counts()[at].to_string());
    }
    line("the guest", &|told| match &told.died_at {
        None => "ran to its end".into(),
        Some(at) => format!("**ended during {at}**"),
    });
}

/// What doctor found, a table for each that is served, in doctor's order.
fn offers(kernels: &[Told], page: &mut String, wanted: impl Fn(&str) -> bool) {
    let mut served: Vec<&str> = Vec::new();
    let all = || kernels.iter().flat_map(|told| &told.doctor).filter(|offer| wanted(&offer.of));
    for offer in all() {
        if !served.contains(&offer.of.as_str()) {
            served.push(&offer.of);
        }
    }
    for of in served {
        let mut names: Vec<&str> = Vec::new();
        for offer in all().filter(|offer| offer.of == of) {
            if !names.contains(&offer.name.as_str()) {
                names.push(&offer.name);
            }
        }
        let _ = write!(page, "\n### {of}\n\n{}", header(kernels, &["what"]));
        for name in names {
            let cells = kernels.iter().map(|told| {
                let found = told.doctor.iter().find(|offer| offer.of == of && offer.name == name);
                found.map_or_else(|| "not looked for".into(), |offer| offered(&offer.state))
            });
            page.push_str(&row(std::iter::once(name.to_owned()).chain(cells)));
        }
        if let Some(probe) = of.strip_prefix("probe ") {
            let belongs = |test: &&Test| test.of == "probes" && test.program == probe;
            let cells = kernels.iter().map(|told| counts(told.tests.iter().filter(belongs)));
            page.push_str(&row(std::iter::once("**planted events**".to_owned()).chain(cells)));
        }
    }
}

fn offered(state: &Offered) -> String {
    match state {
        Offered::Available { via } => format!("works: {via}"),
        Offered::Fallback { via, lacks } => format!("fallback: {via}; lost: {lacks}"),
        Offered::Missing { why } => format!("not there: {why}"),
    }
}

fn faults(kernels: &[Told], page: &mut String) {
    let mut names: Vec<&str> = Vec::new();
    for fault in kernels.iter().flat_map(|told| &told.faults) {
        if !names.contains(&fault.name.as_str()) {
            names.push(&fault.name);
        }
    }
    page.push_str(&header(kernels, &["fault"]));
    for name in names {
        let cells = kernels.iter().map(|told| {
            let found = told.faults.iter().find(|fault| fault.name == name);
            match found.map(|fault| (&fault.outcome, way(&fault.said))) {
                None => "not reached".into(),
                Some((Outcome::Passed, None)) => "works".into(),
                Some((Outcome::Passed, Some(way))) => format!("works: {way}"),
                Some((Outcome::Skipped { why }, _)) => format!("refused: {why}"),
                Some((Outcome::Failed { .. }, _)) => "**failed**: see below".into(),
            }
        });
        page.push_str(&row(std::iter::once(name.to_owned()).chain(cells)));
    }
}

/// By what it is done, where kernels differ in that: the words before those of the one target.
fn way(said: &str) -> Option<&str> {
    ["netem", "nfqueue"].into_iter().find(|way| said.to_lowercase().contains(way))
}

fn tests(kernels: &[Told], page: &mut String) {
    let programs: BTreeSet<(&str, &str)> = kernels
        .iter()
        .flat_map(|told| &told.tests)
        .map(|test| (test.of.as_str(), test.program.as_str()))
        .collect();
    page.push_str(&header(kernels, &["crate", "tests"]));
    for (of, program) in programs {
        let belongs = |test: &&Test| test.of == of && test.program == program;
        let cells = kernels.iter().map(|told| counts(told.tests.iter().filter(belongs)));
        page.push_str(&row([of.to_owned(), program.to_owned()].into_iter().chain(cells)));
    }
}

fn counts<'a>(tests: impl Iterator<Item = &'a Test>) -> String {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for test in tests {
        *of.entry(test.outcome.word()).or_default() += 1;
    }
    let told = ["passed", "skipped", "FAILED"]
        .iter()
        .filter_map(|word| of.get(word).map(|count| format!("{count} {word}")))
        .collect::<Vec<_>>()
        .join(", ");
    if told.is_empty() { "not reached".into() } else { told }
}

/// Every test that did not run, with its reason, and everything that failed.
fn reasons(kernels: &[Told], page: &mut String) {
    page.push_str("\n## Skipped\n\n");
    let mut skipped: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    let mut failed = String::new();
    for told in kernels {
        for test in &told.tests {
            let name = format!("{} {}: {}", test.of, test.program, test.name);
            match &test.outcome {
                Outcome::Passed => {}
                Outcome::Skipped { why } => {
                    skipped.entry((told.name(), why.as_str())).or_default().push(name);
                }
                Outcome::Failed { why } => failure(&mut failed, told, &name, why),
            }
        }
        for fault in &told.faults {
            if let Outcome::Failed { why } = &fault.outcome {
                failure(&mut failed, told, &format!("the fault {}", fault.name), why);
            }
        }
        if let Some(at) = &told.died_at {
            failure(&mut failed, told, at, "the guest ended");
        }
    }
    if skipped.is_empty() {
        page.push_str("Nothing.\n");
    }
    for ((kernel, why), names) in skipped {
        let _ = writeln!(page, "- **{kernel}**: {why}\n  - {}", names.join("\n  - "));
    }
    page.push_str("\n## Failed\n\n");
    page.push_str(if failed.is_empty() { "Nothing.\n" } else { &failed });
}

fn failure(failed: &mut String, told: &Told, name: &str, why: &str) {
    let why = why.replace("```", "'''");
    let _ = writeln!(failed, "- **{}**: {name}\n\n  ```text", told.name());
    for line in why.lines() {
        let _ = writeln!(failed, "  {line}");
    }
    failed.push_str("  ```\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Fault, Offer};

    fn told(release: &str, state: Offered, tests: &[Outcome], fault: Outcome) -> Told {
        let test = |(n, outcome): (usize, &Outcome)| Test {
            of: "probes".into(),
            program: "tcp".into(),
            name: format!("t{n}"),
            outcome: outcome.clone(),
            took_ms: 1,
        };
        Told {
            release: release.into(),
            doctor: vec![Offer { name: "resets sent".into(), of: "probe tcp".into(), state }],
            tests: tests.iter().enumerate().map(test).collect(),
            faults: vec![Fault {
                name: "network.loss".into(),
                outcome: fault,
                said: "netem on e0".into(),
            }],
            ..Told::default()
        }
    }

    #[test]
    fn a_cell_says_what_works_what_is_lost_and_what_is_not_there() {
        let skipped = || Outcome::Skipped { why: "needs | Linux 5.12".into() };
        let failed = || Outcome::Failed { why: "left: 3\nright: 4".into() };
        let page = page(&[
            told(
                "5.10.0-32-amd64",
                Offered::Missing { why: "no tracepoint".into() },
                &[Outcome::Passed, skipped()],
                skipped(),
            ),
            told(
                "6.1.0-50-amd64",
                Offered::Fallback { via: "another".into(), lacks: "the peer".into() },
                &[Outcome::Passed, failed()],
                failed(),
            ),
            told(
                "6.12.107+deb13-amd64",
                Offered::Available { via: "tp_btf/x".into() },
                &[Outcome::Passed],
                Outcome::Passed,
            ),
        ]);
        for line in [
            "| what | Linux 5.10 | Linux 6.1 | Linux 6.12 |",
            "| resets sent | not there: no tracepoint | fallback: another; lost: the peer | works: \
             tp_btf/x |",
            "| **planted events** | 1 passed, 1 skipped | 1 passed, 1 FAILED | 1 passed |",
            "| network.loss | refused: needs \\| Linux 5.12 | **failed**: see below | works: netem |",
            "| probes | tcp | 1 passed, 1 skipped | 1 passed, 1 FAILED | 1 passed |",
            "| skipped | 2 | 0 | 0 |",
            "| failed | 0 | 2 | 0 |",
            "- **Linux 5.10**: needs | Linux 5.12",
            "  - probes tcp: t1",
            "- **Linux 6.1**: probes tcp: t1",
            "  right: 4",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line}\n{page}");
        }
    }

    #[test]
    fn a_guest_that_died_is_told_at_the_top_and_among_the_failures() {
        let dead = Told {
            release: "6.1.0".into(),
            died_at: Some("probes tcp x".into()),
            ..Told::default()
        };
        let page = page(&[dead]);
        assert!(page.contains("| the guest | **ended during probes tcp x** |"), "{page}");
        assert!(page.contains("- **Linux 6.1**: probes tcp x\n"), "{page}");
    }
}
