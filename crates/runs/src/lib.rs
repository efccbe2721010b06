//! The run directory: appended to, read back.
