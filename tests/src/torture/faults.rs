//! Every fault that holds, with values that suit the torture's world.
//!
//! Those that are over when they are done (`process.kill`, `process.restart`, `network.reset`)
//! leave nothing to undo.

/// A fault and its values.
#[derive(Debug, Clone, Copy)]
pub struct Tortured {
    /// Its name.
    pub name: &'static str,
    /// Its values, in the words of [`super::World`].
    pub values: &'static [&'static str],
}

/// Every fault that holds.
pub const FAULTS: &[Tortured] = &[
    Tortured { name: "network.partition", values: &["from=TARGET", "to=PEER"] },
    Tortured { name: "network.latency", values: &["from=TARGET", "to=PEER", "delay=20ms"] },
    Tortured { name: "network.loss", values: &["from=TARGET", "to=PEER", "share=50%"] },
    Tortured { name: "network.duplicate", values: &["from=TARGET", "to=PEER", "share=50%"] },
    Tortured { name: "network.reorder", values: &["from=TARGET", "to=PEER", "share=50%"] },
    Tortured { name: "network.corrupt", values: &["from=TARGET", "to=PEER", "share=50%"] },
    Tortured { name: "network.bandwidth", values: &["from=TARGET", "to=PEER", "rate=1MiB/s"] },
    Tortured { name: "network.dns", values: &["target=TARGET", "answer=nxdomain"] },
    Tortured { name: "process.pause", values: &["target=TARGET"] },
    Tortured { name: "cpu.quota", values: &["target=TARGET", "to=50%"] },
    Tortured { name: "cpu.stress", values: &["target=TARGET", "workers=1", "load=10%"] },
    Tortured { name: "memory.limit", values: &["target=TARGET", "to=256MiB"] },
    Tortured {
        name: "memory.pressure",
        values: &["target=TARGET", "size=8MiB", "victim=stressor"],
    },
    Tortured { name: "disk.throttle", values: &["target=TARGET", "write=1MiB/s"] },
    Tortured {
        name: "disk.contention",
        values: &["target=TARGET", "path=FILES", "workers=1", "block=4KiB"],
    },
    Tortured { name: "disk.fill", values: &["target=TARGET", "path=DISK", "to=90%"] },
    Tortured { name: "disk.fsync", values: &["target=TARGET", "delay=5ms"] },
    // From there: nobody else's network leads to it.
    Tortured {
        name: "resource.connections",
        values: &["target=TARGET", "from=TARGET", "port=PORT", "hold=20"],
    },
    Tortured { name: "resource.files", values: &["target=TARGET", "spare=5"] },
    Tortured { name: "time.offset", values: &["target=TARGET", "by=-1h"] },
];
