//! `temblor trace --top`: the figures of the last second on a full screen, anew each second.

mod columns;
mod draw;
mod model;
mod screen;

pub(crate) use screen::leave;
pub(super) use screen::{Screen, wants_terminal};
