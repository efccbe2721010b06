//! Kernel evidence: eBPF probes, one folder each.
