//! Profiles as a page to look around in, and a server for it.
//!
//! [`Views`] holds profiles and answers what the page asks of them; [`Server`] hands out the page and
//! the answers. The page is drawn by the browser from columns of figures; nothing of it comes from
//! anywhere else, and nothing that a profile says becomes part of it but as text.
//!
//! What this crate does not know: files, the command line, how profiles are collected.

mod answer;
mod ask;
mod encode;
mod page;
mod recent;
mod serve;
mod views;

pub use serve::serve;
pub use views::Views;
