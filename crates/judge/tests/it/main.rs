//! The judge on made-up runs, of which every answer is known beforehand.

mod detection;
mod evidence;
mod good_run;
mod ledger;
mod properties;
mod recovery;
mod steady;
mod verdict;
