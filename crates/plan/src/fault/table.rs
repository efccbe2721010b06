//! Every fault there is.

use std::time::Duration;

use super::spec::{Choice, FaultSpec, Kind, Param};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_YEARS: Duration = Duration::from_secs(3652 * 24 * 60 * 60);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

const KERNEL_TABLE: &str = "the kernel, when this program's socket closes";
const KERNEL_END: &str = "nobody needs to: it is over when it is done";
const GUARDIAN: &str = "the guardian, from the journal";

/// The fault of that name.
#[must_use]
pub fn fault_spec(name: &str) -> Option<&'static FaultSpec> {
    FAULTS.iter().find(|spec| spec.name == name)
}

const TARGET: Param = Param::new("target", Kind::Target, "whom it befalls").required();
const FROM: Param =
    Param::new("from", Kind::Target, "the target in whose network namespace packets are met")
        .required();
const TO: Param = Param::new("to", Kind::Peers, "the other side: targets, addresses, prefixes");
const PORTS: Param =
    Param::new("ports", Kind::Ports, "ports of the other side; all traffic unless said");
const OUT: Param = Param::new(
    "direction",
    Kind::Word(&["out", "in", "both"]),
    "out: what `from` sends; in: what it receives; both: each way, so twice for a round trip",
)
.or("out");
const PACKETS: Param =
    Param::new("share", Kind::Share { min: 0.000_1, max: 1.0 }, "of the packets").required();

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const MS: Duration = Duration::from_millis(1);

/// Every fault there is, by family.
pub static FAULTS: &[FaultSpec] = &[
    FaultSpec {
        name: "network.partition",
        what: "Two sides no longer hear each other",
        undone_by: KERNEL_TABLE,
        effect: "packets dropped or rejected, by nftables' counters",
        params: &[
            FROM,
            TO.required(),
            PORTS,
            Param::new(
                "direction",
                Kind::Word(&["both", "out", "in"]),
                "out: what `from` sends; in: what `from` would receive",
            )
            .or("both"),
            Param::new(
                "action",
                Kind::Word(&["drop", "reject"]),
                "drop: packets vanish; reject: the sender is told (RST for TCP)",
            )
            .or("drop"),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "network.latency",
        what: "Packets arrive later",
        undone_by: KERNEL_TABLE,
        effect: "the kernel's own round-trip times, before and during",
        params: &[
            FROM,
            TO,
            PORTS,
            OUT,
            Param::new("delay", duration(MS, MINUTE), "how much later").required(),
            Param::new(
                "jitter",
                duration(Duration::ZERO, MINUTE),
                "up to this much more or less, evenly; no packet overtakes another",
            )
            .or("0s"),
        ],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.loss",
        what: "Some packets vanish, at random",
        undone_by: KERNEL_TABLE,
        effect: "packets that never arrived, counted by the kernel",
        params: &[FROM, TO, PORTS, OUT, PACKETS],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.duplicate",
        what: "Some packets arrive twice",
        undone_by: KERNEL_TABLE,
        effect: "packets that arrived twice, counted by the kernel",
        params: &[FROM, TO, PORTS, OUT, PACKETS],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.reorder",
        what: "Some packets are overtaken by later ones",
        undone_by: KERNEL_TABLE,
        effect: "packets out of order, counted by the kernel",
        params: &[
            FROM,
            TO,
            PORTS,
            OUT,
            PACKETS,
            Param::new("delay", duration(MS, MINUTE), "how long an overtaken packet waits")
                .or("20ms"),
        ],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.corrupt",
        what: "One bit of some packets is turned over, and the receiver throws them away",
        undone_by: KERNEL_TABLE,
        effect: "wrong checksums, counted by the kernel",
        params: &[FROM, TO, PORTS, OUT, PACKETS],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.bandwidth",
        what: "No more than so many bytes get through in a second",
        undone_by: KERNEL_TABLE,
        effect: "bytes a second that got through, by the kernel's counters",
        params: &[
            FROM,
            TO,
            PORTS,
            OUT,
            Param::new(
                "rate",
                Kind::BytesPerSecond { min: KIB, max: 100_000 * MIB },
                "such as 1MiB/s or 8Mbit/s",
            )
            .required(),
        ],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "network.reset",
        what: "Established TCP connections are reset",
        undone_by: KERNEL_END,
        effect: "connections that were there before and are not after",
        params: &[
            FROM,
            TO.required(),
            PORTS,
            Param::new(
                "every",
                duration(Duration::from_millis(100), DAY),
                "again and again, this far apart; once unless said",
            ),
        ],
        choices: &[],
        levels: false,
        instant: true,
    },
    FaultSpec {
        name: "network.dns",
        what: "Names are not found, or late",
        undone_by: KERNEL_TABLE,
        effect: "answers changed or held, by the kernel's counters, and an own question's answer",
        params: &[
            TARGET,
            Param::new(
                "answer",
                Kind::Word(&["nxdomain", "servfail", "refuse", "drop"]),
                "what becomes of an answer",
            ),
            Param::new("delay", duration(MS, MINUTE), "how much later an answer arrives"),
            Param::new("names", Kind::Texts, "these names and those below them; all unless said"),
        ],
        choices: &[Choice::ExactlyOne(&["answer", "delay"])],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "process.kill",
        what: "Processes get a signal",
        undone_by: KERNEL_END,
        effect: "processes that ended, by the kernel's handles on them",
        params: &[
            TARGET,
            Param::new("signal", Kind::Signal, "by name or number").or("KILL"),
            Param::new("all", Kind::Flag, "every process of the target, not only its main one")
                .or("false"),
        ],
        choices: &[],
        levels: false,
        instant: true,
    },
    FaultSpec {
        name: "process.pause",
        what: "Every process of the target stands still",
        undone_by: GUARDIAN,
        effect: "processes that are stopped, by /proc",
        params: &[TARGET],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "process.restart",
        what: "The main process is ended, and whoever keeps it starts it again",
        undone_by: KERNEL_END,
        effect: "the old process gone and another one there",
        params: &[
            TARGET,
            Param::new("signal", Kind::Signal, "by name or number; SIGKILL follows").or("TERM"),
        ],
        choices: &[],
        levels: false,
        instant: true,
    },
    FaultSpec {
        name: "process.crash-loop",
        what: "The target is killed whenever it is there again",
        undone_by: "the kernel: it ends with this program",
        effect: "lives ended, by the kernel's handles on them",
        params: &[
            TARGET,
            Param::new("alive", duration(Duration::ZERO, DAY), "how long each life may last")
                .or("0s"),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "cpu.quota",
        what: "The target's cgroup gets less CPU time",
        undone_by: GUARDIAN,
        effect: "nr_throttled in cpu.stat, and the CPU time used",
        params: &[
            TARGET,
            Param::new(
                "to",
                Kind::Share { min: 0.01, max: 1.0 },
                "of what it may use now: its present quota, or all processors",
            ),
            Param::new("cpus", Kind::Number { min: 0.01, max: 1024.0 }, "processors' worth"),
        ],
        choices: &[Choice::ExactlyOne(&["to", "cpus"])],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "cpu.stress",
        what: "Busy processes share the target's cgroup",
        undone_by: "the kernel: they end with this program",
        effect: "the CPU time they used, by the kernel's accounts",
        params: &[
            TARGET,
            Param::new(
                "workers",
                Kind::Count { min: 1, max: 1024 },
                "how many; one a processor unless said",
            ),
            Param::new("load", Kind::Share { min: 0.01, max: 1.0 }, "how busy each is").or("100%"),
        ],
        choices: &[],
        levels: true,
        instant: false,
    },
    FaultSpec {
        name: "memory.limit",
        what: "The target's cgroup gets less memory",
        undone_by: GUARDIAN,
        effect: "times the limit was met, and OOM kills, by the cgroup's counters",
        params: &[
            TARGET,
            Param::new("to", Kind::Bytes { min: 4 * MIB, max: 64 * TIB }, "such as 64MiB")
                .required(),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "memory.pressure",
        what: "A process in the target's cgroup takes memory, up to an OOM kill",
        undone_by: "the kernel: it ends with this program",
        effect: "memory in use and OOM kills, by the cgroup's counters",
        params: &[
            TARGET,
            Param::new(
                "size",
                Kind::Bytes { min: 4 * MIB, max: 64 * TIB },
                "how much it takes; until the kernel kills somebody unless said",
            ),
            Param::new(
                "victim",
                Kind::Word(&["service", "stressor"]),
                "whom the kernel is to kill",
            )
            .or("service"),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "disk.throttle",
        what: "The target's cgroup gets less of a disk",
        undone_by: GUARDIAN,
        effect: "bytes and operations a second, by the cgroup's counters",
        params: &[
            TARGET,
            Param::new(
                "read",
                Kind::BytesPerSecond { min: KIB, max: 100_000 * MIB },
                "bytes read in a second",
            ),
            Param::new(
                "write",
                Kind::BytesPerSecond { min: KIB, max: 100_000 * MIB },
                "bytes written in a second",
            ),
            Param::new(
                "readIops",
                Kind::PerSecond { min: 2, max: 10_000_000 },
                "reads in a second",
            ),
            Param::new(
                "writeIops",
                Kind::PerSecond { min: 2, max: 10_000_000 },
                "writes in a second",
            ),
            Param::new(
                "device",
                Kind::Text,
                "a block device, as a path or MAJOR:MINOR; the one under the target's files \
                 unless said",
            ),
        ],
        choices: &[Choice::AtLeastOne(&["read", "write", "readIops", "writeIops"])],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "disk.contention",
        what: "Others write to the disk under the target's files, and sync",
        undone_by: "the kernel: they end with this program; their files go with the guardian",
        effect: "bytes written, by the kernel's accounts, and the time an own sync takes",
        params: &[
            TARGET,
            Param::new("path", Kind::Path, "a directory; where the target's files are unless said"),
            Param::new("workers", Kind::Count { min: 1, max: 64 }, "how many").or("2"),
            Param::new("block", Kind::Bytes { min: 512, max: 64 * MIB }, "bytes in one write")
                .or("256KiB"),
            Param::new("sync", Kind::Flag, "sync after each write").or("true"),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "disk.fill",
        what: "The filesystem under the target's files is filled up to a mark",
        undone_by: GUARDIAN,
        effect: "bytes in use, by the filesystem itself",
        params: &[
            TARGET,
            Param::new("path", Kind::Path, "a directory; where the target's files are unless said"),
            Param::new("to", Kind::Share { min: 0.01, max: 1.0 }, "of the filesystem in use"),
            Param::new("free", Kind::Bytes { min: 0, max: 64 * TIB }, "bytes that stay free"),
            Param::new("rootFilesystem", Kind::Flag, "it may be the machine's root filesystem")
                .or("false"),
        ],
        choices: &[Choice::ExactlyOne(&["to", "free"])],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "disk.fsync",
        what: "Syncing a file is slow, or fails",
        undone_by: "the kernel, when this program's trace ends",
        effect: "system calls held or failed, as the kernel's trace stops tell",
        params: &[
            TARGET,
            Param::new("delay", duration(MS, MINUTE), "how much longer it takes"),
            Param::new("fail", Kind::Word(&["EIO", "ENOSPC", "EDQUOT"]), "the error it gives"),
            Param::new("share", Kind::Share { min: 0.000_1, max: 1.0 }, "of the calls").or("100%"),
        ],
        choices: &[Choice::AtLeastOne(&["delay", "fail"])],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "resource.connections",
        what: "A server's connections are all taken",
        undone_by: "the kernel, when this program's sockets close",
        effect: "connections as the server's kernel lists them, and whether one more is refused",
        params: &[
            TARGET,
            Param::new("port", Kind::Port, "where the server listens").required(),
            Param::new(
                "hold",
                Kind::Count { min: 1, max: 60_000 },
                "how many; until the server refuses unless said",
            ),
            Param::new(
                "speak",
                Kind::Word(&["tcp", "postgres", "redis", "http"]),
                "what is said, so that the server counts them",
            )
            .or("tcp"),
            Param::new("user", Kind::Text, "whom PostgreSQL is to take us for"),
            Param::new("database", Kind::Text, "the database"),
            Param::new(
                "from",
                Kind::Other,
                "in whose network namespace they begin; ours unless said",
            ),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "resource.files",
        what: "The target may open few more files, or none",
        undone_by: GUARDIAN,
        effect: "open descriptors against the limit, by /proc",
        params: &[
            TARGET,
            Param::new("to", Kind::Count { min: 1, max: 1 << 30 }, "the limit"),
            Param::new(
                "spare",
                Kind::Count { min: 0, max: 1 << 30 },
                "so many more than are open now",
            ),
        ],
        choices: &[Choice::ExactlyOne(&["to", "spare"])],
        levels: false,
        instant: false,
    },
    FaultSpec {
        name: "time.offset",
        what: "The target's wall clock is wrong",
        undone_by: GUARDIAN,
        effect: "the clock as the target's own code reads it",
        params: &[
            TARGET,
            Param::new("by", Kind::Offset { max: TEN_YEARS }, "such as 90s or -1h").required(),
        ],
        choices: &[],
        levels: false,
        instant: false,
    },
];
