//! The judge on made-up runs, of which every answer is known beforehand.

mod answers;
mod at_once;
mod detection;
mod edges;
mod evidence;
mod good_run;
mod kernel_figures;
mod killed_run;
mod ledger;
mod processes;
mod profiles;
mod properties;
mod recovery;
mod scripts;
mod services;
mod steady;
mod verdict;
