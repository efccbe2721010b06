//! From events to phases, detection, recovery and a verdict: arithmetic and nothing else.
