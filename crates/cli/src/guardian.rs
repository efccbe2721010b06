//! `temblor guardian`: not for people. A run starts it; it outlives the run.

use rustix::fs::{FileType, fstat};

use crate::args::Guardian;
use crate::exit::{Exit, Failure};

/// Waits for the end of the process whose journal this is, and undoes what it left.
pub(crate) fn guardian(args: &Guardian) -> Result<Exit, Failure> {
    let stdin = fstat(std::io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if stdin != Ok(FileType::Socket) {
        return Err(Failure::input(anyhow::anyhow!(
            "a guardian is started by the process it stands guard for, not by hand; to undo what \
             is still in place, run `temblor heal`"
        )));
    }
    temblor_faults::undo::stand_guard(&args.journal).map_err(Failure::other)?;
    Ok(Exit::Pass)
}
