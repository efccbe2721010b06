//! What the agent says of itself: what it lost, what it cost, what it could not watch.

use std::collections::BTreeMap;

use prometheus::proto::{MetricFamily, MetricType};
use temblor_event::{Cost, ProbeCost, ProbeLost, ProbeShed};

use crate::bounds::as_f64;
use crate::text::{family, series};

/// Programs and names of one metric: there are far fewer.
const SERIES_MAX: usize = 1_000;

/// What this process uses, as it is now.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Processor time so far, in user mode and in the kernel, nanoseconds.
    pub cpu_ns: u64,
    /// Memory that it has, bytes. None: it could not be read.
    pub resident_bytes: Option<u64>,
    /// Files that it has open. None: it could not be read.
    pub open_files: Option<u64>,
    /// When it began, nanoseconds since 1970.
    pub began_unix_ns: u64,
}

#[derive(Debug, Clone, Default)]
struct Program {
    runs: u64,
    run_ns: u64,
}

/// The figures of the probes' own account.
#[derive(Debug, Default)]
pub(crate) struct Own {
    lost: BTreeMap<String, u64>,
    /// Of probes that were taken off.
    past: BTreeMap<(String, String), Program>,
    /// Of those that are attached.
    present: BTreeMap<(String, String), Program>,
    up: BTreeMap<String, bool>,
    attaches: BTreeMap<String, u64>,
    unwatched_ns: BTreeMap<String, u64>,
    sheds: BTreeMap<String, u64>,
    map_bytes: BTreeMap<String, u64>,
    targets: BTreeMap<String, u64>,
    pub(crate) resources: Option<Resources>,
}

impl Own {
    pub(crate) fn lost(&mut self, lost: &ProbeLost) {
        let sum = self.lost.entry(lost.probe.clone()).or_default();
        *sum = sum.saturating_add(lost.events);
    }

    /// What a probe's programs have cost since it was attached.
    pub(crate) fn cost(&mut self, cost: &ProbeCost) {
        self.map_bytes.insert(cost.probe.clone(), cost.map_bytes);
        for program in &cost.programs {
            if self.present.len() < SERIES_MAX {
                let run_ns = program.net_ns(cost.floor_ns.unwrap_or(0));
                let now = Program { runs: program.runs, run_ns };
                self.present.insert((cost.probe.clone(), program.program.clone()), now);
            }
        }
    }

    /// A probe was too dear, and does less.
    pub(crate) fn shed(&mut self, shed: &ProbeShed) {
        *self.sheds.entry(shed.probe.clone()).or_default() += 1;
        if shed.off {
            self.up.insert(shed.probe.clone(), false);
        }
    }

    /// The whole program's account where nobody reads its resources while it runs.
    pub(crate) fn whole(&mut self, cost: &Cost) {
        let began_unix_ns = temblor_event::clock::wall_unix_ns().saturating_sub(cost.wall_ns);
        self.resources = Some(Resources {
            cpu_ns: cost.user_ns.saturating_add(cost.system_ns),
            resident_bytes: Some(cost.memory_bytes_max),
            open_files: None,
            began_unix_ns,
        });
    }

    pub(crate) fn attached(&mut self, probe: &str) {
        *self.attaches.entry(probe.to_owned()).or_default() += 1;
        self.up.insert(probe.to_owned(), true);
        self.lost.entry(probe.to_owned()).or_default();
        self.sheds.entry(probe.to_owned()).or_default();
        self.unwatched_ns.entry(probe.to_owned()).or_default();
    }

    /// A probe is off: what it cost stays, and what it will cost next comes on top.
    pub(crate) fn down(&mut self, probe: &str) {
        if let Some(up) = self.up.get_mut(probe) {
            *up = false;
        }
        self.map_bytes.remove(probe);
        let of_probe: Vec<_> = self.present.keys().filter(|(of, _)| of == probe).cloned().collect();
        for key in of_probe {
            let Some(program) = self.present.remove(&key) else { continue };
            let past = self.past.entry(key).or_default();
            past.runs = past.runs.saturating_add(program.runs);
            past.run_ns = past.run_ns.saturating_add(program.run_ns);
        }
    }

    pub(crate) fn unwatched(&mut self, probe: &str, ns: u64) {
        let sum = self.unwatched_ns.entry(probe.to_owned()).or_default();
        *sum = sum.saturating_add(ns);
    }

    pub(crate) fn targets(&mut self, sought: &str, found: u64) {
        self.targets.insert(sought.to_owned(), found);
    }

    /// All of it, as metrics.
    pub(crate) fn families(&self, collapsed: &BTreeMap<String, u64>) -> Vec<MetricFamily> {
        let by_name = |of: &BTreeMap<String, u64>, name| {
            let one =
                |(value, count): (&String, &u64)| (vec![(name, value.clone())], as_f64(*count));
            of.iter().map(one).collect::<Vec<_>>()
        };
        let programs = |what: fn(&Program) -> f64| {
            let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
            for ((probe, program), cost) in self.past.iter().chain(&self.present) {
                *sums.entry((probe, program)).or_default() += what(cost);
            }
            let labels = |(probe, program): (&str, &str)| {
                vec![("probe", probe.to_owned()), ("program", program.to_owned())]
            };
            sums.into_iter().map(|(key, sum)| (labels(key), sum)).collect::<Vec<_>>()
        };
        let seconds = |of: &BTreeMap<String, u64>, name| {
            let mut all = by_name(of, name);
            all.iter_mut().for_each(|(_, ns)| *ns /= 1e9);
            all
        };
        let up = |(probe, up): (&String, &bool)| {
            (vec![("probe", probe.clone())], f64::from(u8::from(*up)))
        };
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let (counter, gauge) = (MetricType::COUNTER, MetricType::GAUGE);
        let mut tables = vec![
            ("temblor_build_info", "Which program this is.", gauge, vec![(version, 1.0)]),
            (
                "temblor_probe_up",
                "Whether a probe is attached and read.",
                gauge,
                self.up.iter().map(up).collect(),
            ),
            (
                "temblor_probe_attaches_total",
                "How often a probe was attached: once, and again when its targets had changed so \
                 that it had to be.",
                counter,
                by_name(&self.attaches, "probe"),
            ),
            (
                "temblor_probe_unwatched_seconds_total",
                "Time between a probe's being taken off and attached again, seconds.",
                counter,
                seconds(&self.unwatched_ns, "probe"),
            ),
            (
                "temblor_probe_lost_events_total",
                "Events that a probe lost.",
                counter,
                by_name(&self.lost, "probe"),
            ),
            (
                "temblor_ebpf_run_seconds_total",
                "Time for which an eBPF program ran, by the kernel's count, without what the \
                 counting takes, seconds.",
                counter,
                programs(|of| as_f64(of.run_ns) / 1e9),
            ),
            (
                "temblor_ebpf_runs_total",
                "How often an eBPF program ran.",
                counter,
                programs(|of| as_f64(of.runs)),
            ),
            (
                "temblor_probe_map_bytes",
                "Memory of the kernel's that a probe's maps hold, bytes.",
                gauge,
                by_name(&self.map_bytes, "probe"),
            ),
            (
                "temblor_probe_sheds_total",
                "How often a probe cost more than its budget, and saw less from then on: a \
                 sample, then nothing.",
                counter,
                by_name(&self.sheds, "probe"),
            ),
            (
                "temblor_targets",
                "How many targets were found at the last look, by what is sought.",
                gauge,
                by_name(&self.targets, "sought"),
            ),
            (
                "temblor_collapsed_readings_total",
                "Readings that were counted under the label value \"other\", for want of room.",
                counter,
                by_name(collapsed, "metric"),
            ),
        ];
        if let Some(own) = &self.resources {
            let one = |value: f64| vec![(Vec::new(), value)];
            let some = |value: Option<u64>| value.map(|n| one(as_f64(n))).unwrap_or_default();
            tables.extend([
                (
                    "process_cpu_seconds_total",
                    "Processor time of this program, seconds.",
                    counter,
                    one(as_f64(own.cpu_ns) / 1e9),
                ),
                (
                    "process_resident_memory_bytes",
                    "Memory of this program, bytes.",
                    gauge,
                    some(own.resident_bytes),
                ),
                (
                    "process_open_fds",
                    "Files that this program has open.",
                    gauge,
                    some(own.open_files),
                ),
                (
                    "process_start_time_seconds",
                    "When this program began, seconds since 1970.",
                    gauge,
                    one(as_f64(own.began_unix_ns) / 1e9),
                ),
            ]);
        }
        let told = tables.into_iter().filter(|(.., values)| !values.is_empty());
        told.map(|(name, help, kind, values)| {
            let values = values.into_iter().map(|(labels, value)| series(labels, kind, value));
            family(name, help, kind, values.collect())
        })
        .collect()
    }
}
