//! What a language model is asked about a profile, and what of its answer is true.
//!
//! It gets what was found, and stacks of functions' names: never source, never data. What it says is
//! its own; its figures are held against the profile's, and one that is not there is marked.
