//! The command line of `temblor profile analyze`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use temblor_analysis::{Basis, Budget};

use super::args::Source;

#[derive(Debug, clap::Args)]
#[command(after_help = "Every share comes with what it is between, by the number of samples. \
    Exit code 1: a budget was exceeded; 3: there are too few samples to say.\n\nExamples:\n  \
    temblor profile analyze api.pb.gz\n  temblor profile analyze new.pb.gz old.pb.gz\n  temblor \
    profile analyze new.pb.gz --budget 'serialization<=15%' --budget-against old.pb.gz --allow 2%")]
pub(crate) struct Analyze {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Another one, to say what changed since
    #[arg(value_name = "BASE")]
    pub(crate) base: Option<PathBuf>,
    /// What something may take at most, with all it calls: CATEGORY<=SHARE%, or
    /// function:PATTERN<=SHARE%; with own: before it without what it calls. Several times for several
    #[arg(long, value_name = "BUDGET")]
    pub(crate) budget: Vec<Budget>,
    /// A profile of the same program under the same load: nothing may surely take more than there
    #[arg(long, value_name = "BASE")]
    pub(crate) budget_against: Option<PathBuf>,
    /// How much more than in --budget-against is allowed, as a share of all that the base took
    #[arg(long, value_name = "SHARE", default_value = "0%", requires = "budget_against")]
    pub(crate) allow: Share,
    /// What of two profiles is compared [default: rates where both say for how long they were
    /// collected, else shares]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) compare: Option<Compare>,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A share as people write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..=1000.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err("write a share such as 5%".to_owned()),
        }
    }
}

/// What of two profiles is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compare {
    /// How much came in a second: of the same load only
    Rates,
    /// Shares of the whole: what grows makes all else smaller
    Shares,
}

impl From<Compare> for Basis {
    fn from(compare: Compare) -> Self {
        match compare {
            Compare::Rates => Self::Rates,
            Compare::Shares => Self::Shares,
        }
    }
}
