//! Who must not be a target unless that is said in so many words.
//!
//! A name that matches too much, or a pid misread, must not end the machine, lock its people out,
//! or take away whoever would undo the fault. Each reason has a word by which an experiment can
//! allow it; nothing else does.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

use crate::processes::{Processes, Row};
use crate::target::Target;

/// The share of the instances found that may be acted upon without the word `share`.
pub const SHARE_MAX: f64 = 0.5;

/// What an experiment says to have something protected acted upon nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// PID 1 and the kernel's threads.
    Pid1,
    /// The session that we were started from, and all that started it.
    Session,
    /// An SSH server, or one of its sessions.
    Sshd,
    /// The instrument: this process, its guardian, the lab's supervisor.
    Temblor,
    /// A container engine's daemons.
    Engine,
    /// More than a stated share of the instances found.
    Share,
}

impl Word {
    /// All words.
    pub const ALL: [Self; 6] =
        [Self::Pid1, Self::Session, Self::Sshd, Self::Temblor, Self::Engine, Self::Share];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pid1 => "pid1",
            Self::Session => "session",
            Self::Sshd => "sshd",
            Self::Temblor => "temblor",
            Self::Engine => "engine",
            Self::Share => "share",
        }
    }

    /// Why that is protected: the end of a sentence that begins with who it is.
    fn why(self) -> &'static str {
        match self {
            Self::Pid1 => "keeps the machine running",
            Self::Session => "belongs to the session that this command was started from",
            Self::Sshd => "is the SSH server by which people reach this machine",
            Self::Temblor => "is the instrument itself, which undoes the fault",
            Self::Engine => "is a container engine, on which every container depends",
            Self::Share => "is one of more instances than may fail at once",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Word {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|word| word.as_str() == text);
        found.ok_or_else(|| UnknownWord { given: text.to_owned() })
    }
}

/// Not a word that allows anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` allows nothing: the words are {}", Word::ALL.map(Word::as_str).join(", "))]
pub struct UnknownWord {
    /// What was written.
    pub given: String,
}

/// A process that is protected, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// Its pid.
    pub pid: u32,
    /// Its command.
    pub name: String,
    /// The word that allows it to be acted upon.
    pub word: Word,
}

impl fmt::Display for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.name, self.pid, self.word.why())
    }
}

/// Why nothing is acted upon.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Processes that are protected would be hit.
    #[error("{}", sentence(.0))]
    Processes(Vec<Protected>),
    /// Too many of the instances would be hit at once.
    #[error(
        "{acted_upon} of the {matched} instances found would fail at once, which is more than \
         {:.0} %: pick fewer, or allow it with the word `share`", .share_max * 100.0
    )]
    Share {
        /// How many were found.
        matched: usize,
        /// How many of them would be hit.
        acted_upon: usize,
        /// The share that is allowed.
        share_max: f64,
    },
    /// Who is protected could not be found out, and so nobody is hit.
    #[error("could not read /proc, and so not tell who must be spared")]
    Unreadable {
        /// What the system said.
        source: io::Error,
    },
}

fn sentence(refused: &[Protected]) -> String {
    let reasons = Word::ALL.into_iter().filter_map(|word| {
        let who: Vec<_> = refused.iter().filter(|one| one.word == word).collect();
        let named: Vec<_> = who.iter().map(|one| format!("{} ({})", one.name, one.pid)).collect();
        let each = if who.len() > 1 { " each" } else { "" };
        let allow = format!("allow it with the word `{word}`");
        (!who.is_empty()).then(|| format!("{}{each} {}: {allow}", named.join(", "), word.why()))
    });
    reasons.collect::<Vec<_>>().join("; ")
}

/// Why a process is protected, if it is; where there are several reasons, the first of them.
#[must_use]
pub fn reason(pid: u32) -> Option<Protected> {
    let around = Surroundings::look().ok()?;
    let row = around.all.get(pid)?;
    let word = around.words(row, is_our_program(pid)).first().copied()?;
    Some(Protected { pid, name: row.name.clone(), word })
}

/// Whether these targets may be acted upon: none of their processes, nor of those that descend
/// from them, is protected by a word that is not among those allowed.
///
/// # Errors
/// One is; all of them are named.
pub fn check(targets: &[Target], allowed: &[Word]) -> Result<(), Refused> {
    let around = Surroundings::look().map_err(|source| Refused::Unreadable { source })?;
    let pids = targets.iter().flat_map(|target| {
        target.pids.iter().copied().chain(target.processes_now()).collect::<Vec<_>>()
    });
    match around.refused(pids, allowed, is_our_program) {
        refused if refused.is_empty() => Ok(()),
        refused => Err(Refused::Processes(refused)),
    }
}

/// Whether so many of the instances that a selector matched may be acted upon at once. A single
/// one is always the whole, and is not refused for that.
///
/// # Errors
/// They are more than `share_max` (0 to 1), and the word `share` is not among those allowed.
pub fn check_share(
    matched: usize,
    acted_upon: usize,
    share_max: f64,
    allowed: &[Word],
) -> Result<(), Refused> {
    let share = acted_upon as f64 / matched.max(1) as f64;
    if matched < 2 || share <= share_max + f64::EPSILON || allowed.contains(&Word::Share) {
        return Ok(());
    }
    Err(Refused::Share { matched, acted_upon, share_max })
}

/// Where we stand among the processes of the machine.
struct Surroundings {
    all: Processes,
    us: u32,
    session: u32,
    above: BTreeSet<u32>,
}

impl Surroundings {
    fn look() -> io::Result<Self> {
        // Read from /proc, as the session of everybody else is: `getsid` answers 0 where our leader
        // lives outside this pid namespace (`docker exec`, `nsenter`), which rustix takes for a bug.
        let (all, us) = (Processes::read()?, std::process::id());
        let session = all.get(us).map_or(0, |row| row.session);
        Ok(Self::new(all, us, session))
    }

    fn new(all: Processes, us: u32, session: u32) -> Self {
        let above = all.ancestors(us).into_iter().collect();
        Self { all, us, session, above }
    }

    /// Every word without which a process must not be acted upon.
    fn words(&self, row: &Row, is_our_program: bool) -> Vec<Word> {
        /// As the kernel names them: at most 15 bytes.
        const SSH_SERVERS: &[&str] = &["sshd", "sshd-session", "sshd-auth", "dropbear"];
        const ENGINES: &[&str] = &[
            "dockerd",
            "containerd",
            "containerd-shim",
            "podman",
            "conmon",
            "crio",
            "docker-proxy",
        ];
        if row.pid == 1 || row.is_kernel {
            return vec![Word::Pid1];
        }
        if row.pid == self.us || is_our_program {
            return vec![Word::Temblor];
        }
        // Session 0 is that of everybody whose leader this pid namespace cannot see: where ours is,
        // all of them may be ours.
        let is_ours = row.session == self.session;
        let named = |names: &[&str]| names.contains(&row.name.as_str());
        [
            (is_ours || self.above.contains(&row.pid), Word::Session),
            (named(SSH_SERVERS), Word::Sshd),
            (named(ENGINES), Word::Engine),
        ]
        .into_iter()
        .filter_map(|(holds, word)| holds.then_some(word))
        .collect()
    }

    /// Everybody who is protected among these processes and those that descend from them.
    fn refused(
        &self,
        pids: impl IntoIterator<Item = u32>,
        allowed: &[Word],
        is_our_program: impl Fn(u32) -> bool,
    ) -> Vec<Protected> {
        let mut reached = BTreeSet::new();
        for pid in pids {
            if reached.insert(pid) {
                reached.extend(self.all.descendants(pid));
            }
        }
        let rows = reached.into_iter().filter_map(|pid| self.all.get(pid));
        rows.filter(|row| !row.has_ended)
            .flat_map(|row| {
                self.words(row, is_our_program(row.pid)).into_iter().map(move |w| (row, w))
            })
            .filter(|(_, word)| !allowed.contains(word))
            .map(|(row, word)| Protected { pid: row.pid, name: row.name.clone(), word })
            .collect()
    }
}

/// Whether a process runs our program: the guardian and the lab's supervisor do, which this
/// process may know nothing of. One of an earlier version, replaced on the disk since, is known
/// by its name.
fn is_our_program(pid: u32) -> bool {
    const OUR_NAME: &str = "temblor";
    let inode = |path: String| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let path = format!("/proc/{pid}/exe");
    let named = fs::read_link(&path).is_ok_and(|program| {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.trim_end_matches(" (deleted)") == OUR_NAME)
    });
    named || inode(path).is_some_and(|theirs| Some(theirs) == inode("/proc/self/exe".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::tests::row;
    use crate::target::find::tests::Spawned;
    use crate::target::find::{by_pid, by_process_name};
    use proptest::prelude::*;
    use std::process::Command;

    /// 1 → sshd 10 → sshd 11 → bash 12 (session 12) → temblor 20, redis 21; dockerd 30 →
    /// containerd 31; redis 40 (session 40) → 41.
    fn machine() -> Surroundings {
        let kernel = Row { is_kernel: true, ..row(2, 0, 0, "kthreadd") };
        let rows = [
            row(1, 0, 1, "systemd"),
            kernel,
            row(10, 1, 10, "sshd"),
            row(11, 10, 11, "sshd"),
            row(12, 11, 12, "bash"),
            row(20, 12, 12, "temblor"),
            row(21, 12, 12, "redis-server"),
            row(30, 1, 30, "dockerd"),
            row(31, 30, 31, "containerd"),
            row(40, 1, 40, "redis-server"),
            row(41, 40, 40, "redis-child"),
        ];
        Surroundings::new(Processes::new(rows), 20, 12)
    }

    #[test]
    fn each_protected_process_is_protected_by_its_word() {
        use Word::{Engine, Pid1, Session, Sshd, Temblor};
        let around = machine();
        for (pid, expected) in [
            (1, &[Pid1][..]),
            (2, &[Pid1]),
            (10, &[Session, Sshd]),
            (12, &[Session]),
            (20, &[Temblor]),
            (21, &[Session]),
            (30, &[Engine]),
            (31, &[Engine]),
            (40, &[]),
            (41, &[]),
        ] {
            assert_eq!(around.words(around.all.get(pid).unwrap(), false), expected, "{pid}");
        }
        assert_eq!(around.words(around.all.get(40).unwrap(), true), [Temblor]);
        let other = Surroundings { session: 0, ..machine() };
        assert_eq!(other.words(&row(50, 1, 0, "cron"), false), [Session], "0 may be ours");
        assert_eq!(around.words(&row(50, 1, 0, "cron"), false), [], "ours is seen, 0 is another");
    }

    #[test]
    fn only_all_words_that_concern_a_process_allow_it() {
        let around = machine();
        let refused = |allowed: &[Word]| {
            let refused = around.refused([10], allowed, |_| false);
            refused.into_iter().map(|one| (one.pid, one.word)).collect::<Vec<_>>()
        };
        use Word::{Session, Sshd, Temblor};
        assert_eq!(
            refused(&[Sshd]),
            [(10, Session), (11, Session), (12, Session), (20, Temblor), (21, Session)]
        );
        assert_eq!(refused(&[Sshd, Session]), [(20, Temblor)]);
        assert_eq!(refused(&[Sshd, Session, Temblor]), []);
        assert!(around.refused([40], &[], |_| false).is_empty());
    }

    #[test]
    fn the_refusal_names_everybody_and_the_words() {
        let refused = machine().refused([11, 30], &[Word::Session], |_| false);
        assert_eq!(
            Refused::Processes(refused).to_string(),
            "sshd (11) is the SSH server by which people reach this machine: allow it with the \
             word `sshd`; temblor (20) is the instrument itself, which undoes the fault: allow it \
             with the word `temblor`; dockerd (30), containerd (31) each is a container engine, \
             on which every container depends: allow it with the word `engine`"
        );
    }

    #[test]
    fn more_than_half_of_many_is_refused_without_a_word() {
        for (matched, acted_upon, fine) in
            [(1, 1, true), (2, 1, true), (2, 2, false), (3, 1, true), (3, 2, false), (0, 0, true)]
        {
            let checked = check_share(matched, acted_upon, SHARE_MAX, &[]);
            assert_eq!(checked.is_ok(), fine, "{acted_upon} of {matched}");
            check_share(matched, acted_upon, SHARE_MAX, &[Word::Share]).unwrap();
        }
        let error = check_share(3, 2, SHARE_MAX, &[Word::Session]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of the 3 instances found would fail at once, which is more than 50 %: pick fewer, \
             or allow it with the word `share`"
        );
        check_share(10, 3, 0.3, &[]).unwrap();
        check_share(10, 4, 0.3, &[]).unwrap_err();
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in Word::ALL {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
        let error = "root".parse::<Word>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`root` allows nothing: the words are pid1, session, sshd, temblor, engine, share"
        );
    }

    #[test]
    fn this_machine_and_this_process_are_protected() {
        let word = |pid| reason(pid).map(|protected| protected.word);
        assert_eq!(word(1), Some(Word::Pid1));
        assert_eq!(word(std::process::id()), Some(Word::Temblor));
        let parent = std::os::unix::process::parent_id();
        if parent > 1 {
            assert_eq!(word(parent), Some(Word::Session));
        }
        let all = Processes::read().unwrap();
        if let Some(kernel) = all.iter().find(|row| row.is_kernel) {
            assert_eq!(word(kernel.pid), Some(Word::Pid1));
        }
        let mut neighbour = Command::new("sleep").arg("60").spawn().unwrap();
        let found = word(neighbour.id());
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
        assert_eq!(found, Some(Word::Session), "it shares our session");
        assert_eq!(reason(5_000_000), None);
    }

    const CHILD: &str = "TEMBLOR_TEST_PROTECTED_CHILD";

    /// Not a test of its own: a process that runs this program, for the test below.
    #[test]
    fn child_of_the_same_program() {
        if std::env::var_os(CHILD).is_some() {
            let _ = io::stdin().read_line(&mut String::new());
        }
    }

    #[test]
    fn a_stranger_is_fair_game_unless_somebody_protected_descends_from_it() {
        let stranger = Spawned::shell("sleep 60; true", 2);
        let targets = by_pid(stranger.pid()).unwrap();
        check(&targets, &[]).unwrap();
        drop(stranger);

        // A guardian by its program; it is found even where the target names its parent only.
        let script = r#"sleep 60 | "$0" --exact protected::tests::child_of_the_same_program \
            --nocapture"#;
        let parent = Spawned::command(
            Command::new("sh")
                .args(["-c", script])
                .arg(std::env::current_exe().unwrap())
                .env(CHILD, "1")
                .stdout(std::process::Stdio::null()),
            3,
        );
        let mut targets = by_pid(parent.pid()).unwrap();
        targets[0].pids.truncate(1);
        let Err(Refused::Processes(refused)) = check(&targets, &[]) else { panic!("allowed") };
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].word, Word::Temblor);
        assert_ne!(refused[0].pid, parent.pid());
        check(&targets, &[Word::Temblor]).unwrap();
    }

    #[test]
    fn whoever_is_found_by_our_own_name_is_refused() {
        let name = crate::process::name(std::process::id()).unwrap();
        let targets = by_process_name(&name).unwrap();
        let refused = check(&targets, &[Word::Session]).unwrap_err().to_string();
        assert!(refused.contains(&format!("({})", std::process::id())), "{refused}");
    }

    proptest! {
        #[test]
        fn no_protected_descendant_goes_unseen(
            parents in prop::collection::vec(0u32..64, 2..48),
            sessions in prop::collection::vec(1u32..6, 48),
            target in 2u32..48,
            us in 2u32..48,
        ) {
            // Each parent's pid is lower than the child's: one tree below process 1.
            let rows = (2u32..).zip(&parents).zip(&sessions).map(|((pid, parent), session)| {
                row(pid, 1 + parent % (pid - 1), *session, if pid % 7 == 0 { "sshd" } else { "x" })
            });
            let all = Processes::new(std::iter::once(row(1, 0, 1, "init")).chain(rows));
            let last = parents.len() as u32 + 1;
            let (target, us) = (target.min(last), us.min(last));
            let session = all.get(us).unwrap().session;
            let around = Surroundings::new(all, us, session);
            let refused = around.refused([target], &[], |_| false);
            let named: BTreeSet<u32> = refused.iter().map(|one| one.pid).collect();
            for row in around.all.iter() {
                let reached = row.pid == target || around.all.ancestors(row.pid).contains(&target);
                let protected = row.pid == 1
                    || row.pid == us
                    || row.session == session
                    || row.name == "sshd"
                    || around.all.ancestors(us).contains(&row.pid);
                prop_assert_eq!(named.contains(&row.pid), reached && protected, "{}", row.pid);
            }
            let allowed = around.refused([target], &Word::ALL, |_| false);
            prop_assert!(allowed.is_empty());
        }
    }
}
