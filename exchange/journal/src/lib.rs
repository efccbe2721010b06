//! An append-only journal with group commit.
