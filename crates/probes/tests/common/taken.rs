//! Time that is in no process's account.

/// What interrupts and the machine's host have taken from whoever was on a processor, in nanoseconds
/// since the machine was started. A process on a processor loses it, and is not charged for it.
pub(crate) fn taken_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    // user, nice, system, idle, iowait, irq, softirq, steal: ticks of 10 ms, all processors'.
    let ticks = stat.lines().next().unwrap().split_whitespace().skip(6).take(3);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10_000_000
}
