//! Faults of a disk: a filesystem of this program's own, in memory.

use std::path::Path;
use std::time::Duration;

use temblor_faults::disk::{Contention, Fill, Mark, Place, Throttle};

use crate::disk_support::{Running, TestGroup, wait_until, with_disk};
use crate::table::Table;

const MIB: u64 = 256;
const OFTEN: Duration = Duration::from_millis(2);

pub(crate) fn measure(table: &mut Table) {
    with_disk(MIB, |disk| {
        throttle(table, disk);
        let empty = free(disk);
        table.measure(&format!("to 90 % of {MIB} MiB"), || {
            // The kernel gives back what the last round took a moment later.
            wait_until("the space is free again", OFTEN, || free(disk) >= empty);
            Fill { place: Place::Path(disk.into()), mark: Mark::To(0.9), root_filesystem: false }
        });
        table.measure("2 workers", || Contention {
            place: Place::Path(disk.into()),
            workers: 2,
            block_bytes: 64 << 10,
            sync: true,
        });
    });
}

fn throttle(table: &mut Table, disk: &Path) {
    let group = TestGroup::new();
    let log = disk.join("log");
    let writer =
        Running::script(&format!("exec 3>{}; exec sleep 600", log.display()), Some(&group));
    wait_until("the target has its file open", OFTEN, || log.exists());
    table.measure("1 MiB/s written", || Throttle {
        target: writer.target(),
        read_bytes_per_second: None,
        write_bytes_per_second: Some(1 << 20),
        read_iops: None,
        write_iops: None,
        device: None,
    });
}

fn free(disk: &Path) -> u64 {
    let stat = rustix::fs::statvfs(disk).unwrap();
    stat.f_bavail * stat.f_frsize
}
