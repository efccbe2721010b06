//! Carries an experiment out: load, fault, probes, checks, into a run directory.
