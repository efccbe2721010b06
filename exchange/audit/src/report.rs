//! What came of an audit.

use std::fmt;

use serde::Serialize;

/// Examples that are told of each finding; all are counted.
const EXAMPLES_MAX: usize = 5;

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $sentence:literal;)+) => {
        /// What is checked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $($(#[$doc])* $name),+
        }

        impl Check {
            /// Its name for programs.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id),+
                }
            }

            /// What holds where it is kept.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence),+
                }
            }
        }
    };
}

checks! {
    /// The database has the rows of another journal.
    SameJournal = "same-journal", "the database belongs to this journal";
    /// The journal's end is missing, or the database was written by something else.
    NotAhead = "not-ahead", "the database has no record that the journal has not";
    /// The relay left orders out, or wrote others.
    OrdersAsJournalled = "orders-as-journalled", "orders are stored as they follow from the journal";
    /// The same of trades.
    TradesAsJournalled = "trades-as-journalled", "trades are stored as they follow from the journal";
    /// Rows are missing in between.
    Gapless = "gapless", "ids of orders and of trades run from 1 without a gap";
    /// An order was taken twice.
    OnceEach = "once-each", "no client order id has two orders";
    /// A status or a figure that no order can have.
    OrdersConsistent = "orders-consistent", "each order's status fits its quantities and its terms";
    /// An order's trades are not all there.
    FilledIsTraded = "filled-is-traded", "what is filled of each order, and its value, are what its trades add up to";
    /// A trade that could not have been.
    TwoSides = "two-sides", "each trade has a buyer and a seller who agreed to its price";
    /// Something came from nothing.
    Conserved = "conserved", "of each symbol as much was bought as was sold, for as much";
    /// A promise was broken.
    AcknowledgedKept = "acknowledged-kept", "every acknowledged order is there under its id";
    /// The clients know nothing of it.
    NothingUnasked = "nothing-unasked", "every order was sent by a client";
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub check: Check,
    /// What it looked at: how many orders, trades, ids or answers.
    pub looked_at: u64,
    /// How many of these break it.
    pub broken: u64,
    /// The first of them, in words.
    pub examples: Vec<String>,
}

impl Finding {
    pub(crate) fn new(check: Check) -> Self {
        Self { check, looked_at: 0, broken: 0, examples: Vec::new() }
    }

    /// One more was looked at, and this is what is wrong with it.
    pub(crate) fn look(&mut self, wrong: Option<String>) {
        self.looked_at += 1;
        if let Some(wrong) = wrong {
            self.broken += 1;
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push(wrong);
            }
        }
    }
}

/// What came of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The journal's last record.
    pub journal_seq: u64,
    /// Its last record when the audit began.
    pub awaited_seq: u64,
    /// Bytes behind it that are no record: never acknowledged.
    pub journal_torn_bytes: u64,
    /// The last record that the database has.
    pub database_seq: u64,
    /// In the order of [`Check`].
    pub findings: Vec<Finding>,
}

/// How an audit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All was kept.
    Kept,
    /// Something was not.
    Broken,
    /// The database has not caught up with what the journal had when the audit began: of the rest nothing
    /// can be said of it.
    Behind,
}

impl Report {
    /// How it ends.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|finding| finding.broken > 0) {
            Verdict::Broken
        } else if self.database_seq < self.awaited_seq {
            Verdict::Behind
        } else {
            Verdict::Kept
        }
    }

    /// The checks that were broken.
    pub fn broken(&self) -> impl Iterator<Item = Check> {
        self.findings.iter().filter(|finding| finding.broken > 0).map(|finding| finding.check)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { journal_seq, awaited_seq, journal_torn_bytes, database_seq, findings } = self;
        writeln!(f, "journal: {journal_seq} records; database: up to record {database_seq}")?;
        if *journal_torn_bytes > 0 {
            writeln!(f, "behind the journal's last record: {journal_torn_bytes} bytes of none")?;
        }
        for Finding { check, looked_at, broken, examples } in findings {
            let sentence = check.sentence();
            if *broken == 0 {
                writeln!(f, "kept    {sentence} ({looked_at} looked at)")?;
            } else {
                writeln!(f, "BROKEN  {sentence}: not so of {broken} of {looked_at}")?;
            }
            for example in examples {
                writeln!(f, "          {example}")?;
            }
            if *broken > examples.len() as u64 {
                writeln!(f, "          and {} more", broken - examples.len() as u64)?;
            }
        }
        match self.verdict() {
            Verdict::Kept => write!(f, "all of it was kept"),
            Verdict::Broken => write!(f, "not all of it was kept"),
            Verdict::Behind => write!(
                f,
                "nothing is broken, and nothing can be said of the {} records that the database lacks: \
                 wait for the relay, or give it longer with --settle",
                awaited_seq - database_seq
            ),
        }
    }
}
