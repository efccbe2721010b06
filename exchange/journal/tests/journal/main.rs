//! The journal's promises, one file for each kind of trouble.

mod common;
mod crashes;
mod damage;
mod files;
mod group_commit;
mod look;
