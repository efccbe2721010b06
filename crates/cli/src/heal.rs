//! `temblor heal`: what no run undoes any more.

use std::error::Error as _;
use std::io;
use std::path::Path;

use temblor_faults::undo::{
    HealOutcome, Healed, OpenJournal, Replayed, Standing, heal as heal_all, open_journals,
    state_dir,
};

use crate::args::Heal;
use crate::exit::{Exit, Failure};
use crate::terminal::{plain, print};

/// Undoes what dead runs left, or, with `--check`, only says what is there.
pub(crate) fn heal(args: &Heal) -> Result<Exit, Failure> {
    let dir = state_dir();
    if args.check { check(&dir) } else { undo(&dir) }
}

fn undo(dir: &Path) -> Result<Exit, Failure> {
    let healed = heal_all(dir).map_err(not_looked)?;
    if healed.is_empty() {
        print("nothing to heal");
    }
    for one in &healed {
        tell_healed(one);
    }
    let left: Vec<&Healed> = healed.iter().filter(|one| !one.is_well()).collect();
    if left.is_empty() {
        return Ok(Exit::Pass);
    }
    let names: Vec<String> = left.iter().map(|one| one.path.display().to_string()).collect();
    Err(Failure::other(anyhow::anyhow!(
        "not all could be undone: see above what is left and why; run `temblor heal` again when the \
         cause is gone, or put it right by hand and then remove {}",
        names.join(" and ")
    ))
    .with(if left.iter().all(|one| is_hidden(one)) { Exit::Missing } else { Exit::Leak }))
}

fn is_hidden(healed: &Healed) -> bool {
    matches!(healed.outcome, HealOutcome::Hidden)
}

fn tell_healed(healed: &Healed) {
    let path = healed.path.display();
    match &healed.outcome {
        HealOutcome::Replayed(replayed) => tell_replayed(&path.to_string(), replayed),
        HealOutcome::Finished => print(&format!("{path}: its guardian has undone it")),
        HealOutcome::Live { owner, ends_in_s } => {
            print(&format!("{path}: left to process {owner}, which lives{}", until(*ends_in_s)));
        }
        HealOutcome::Hidden => print(&format!("{path}: only root may read it")),
        HealOutcome::Left(why) => print(&format!("{path}: {}", plain(why))),
    }
}

fn tell_replayed(path: &str, replayed: &Replayed) {
    print(path);
    for change in &replayed.changes {
        let outcome = match &change.outcome {
            Ok(undone) => undone.to_string(),
            Err(error) => {
                let cause = error.source().map(|e| format!(": {e}")).unwrap_or_default();
                format!("STILL IN PLACE: {error}{cause}")
            }
        };
        print(&plain(&format!("  {}: {outcome}", change.words)));
    }
    if replayed.torn {
        print("  a last change was never made: its record had been cut short");
    }
    for damage in &replayed.damage {
        print(&plain(&format!("  STILL THERE: {damage}; what it said is not known")));
    }
    if replayed.changes.is_empty() && replayed.finished {
        print("  nothing was in place");
    }
}

fn check(dir: &Path) -> Result<Exit, Failure> {
    let journals = open_journals(dir).map_err(not_looked)?;
    journals.iter().for_each(tell_open);
    let open = |journal: &&OpenJournal| !journal.changes.is_empty() || !journal.damage.is_empty();
    if journals.iter().any(|journal| open(&journal)) {
        return Ok(Exit::Leak);
    }
    if journals.iter().any(|journal| journal.standing == Standing::Hidden) {
        return Err(only_root(dir));
    }
    print("nothing is open");
    Ok(Exit::Pass)
}

fn tell_open(journal: &OpenJournal) {
    let standing = match &journal.standing {
        Standing::Live { owner, ends_in_s } => {
            format!("process {owner} lives{}", until(*ends_in_s))
        }
        Standing::Guarded { guardian } => {
            format!("its process is dead; the guardian, process {guardian}, is undoing it")
        }
        Standing::Dead => "its process and its guardian are dead: run `temblor heal`".into(),
        Standing::Elsewhere => "its process is in another pid namespace".into(),
        Standing::Hidden => "only root may read it".into(),
        Standing::Unknown => "it cannot be told whose it is".into(),
    };
    print(&format!("{}: {standing}", journal.path.display()));
    for change in &journal.changes {
        let place = match change.in_place {
            Some(true) => "in place",
            Some(false) => "on record, not in place",
            None => "on record; whether it is in place could not be found out",
        };
        print(&plain(&format!("  to {}: {place}", change.words)));
    }
    for damage in &journal.damage {
        print(&plain(&format!("  {damage}")));
    }
}

fn until(ends_in_s: Option<u64>) -> String {
    ends_in_s.map(|s| format!(" and is ended in {s} s at the latest")).unwrap_or_default()
}

/// Why the directory could not be looked into.
fn not_looked(error: temblor_faults::Error) -> Failure {
    let kind = error.source().and_then(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
    let exit = match kind {
        Some(io::ErrorKind::PermissionDenied) => Exit::Missing,
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory) => Exit::Input,
        _ => Exit::Aborted,
    };
    let error = anyhow::Error::from(error);
    let error = if exit == Exit::Missing {
        error.context("only root may read all undo journals: run it as root, such as with sudo")
    } else {
        error
    };
    Failure::other(error).with(exit)
}

fn only_root(dir: &Path) -> Failure {
    Failure::other(anyhow::anyhow!(
        "some journals in {} may be read by root only: run it as root, such as with sudo",
        dir.display()
    ))
    .with(Exit::Missing)
}
