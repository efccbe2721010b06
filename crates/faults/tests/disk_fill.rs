//! `disk.fill` on filesystems of the test's own.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod disk_support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use disk_support::*;
use temblor_faults::disk::{Fill, Mark, Place};
use temblor_faults::{Fault as _, Kind};

const OFTEN: Duration = Duration::from_millis(20);

fn fill(dir: &Path, mark: Mark) -> Fill {
    Fill { place: Place::Path(dir.into()), mark, root_filesystem: false }
}

/// What an ordinary process may still use.
fn free(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// The disk of `with_disk` is ext4, and what is above it is a tmpfs.
fn on_both(mib: u64, test: impl Fn(&Path) + Sync) {
    with_disk(mib, |disk| {
        test(disk);
        test(disk.parent().unwrap());
    });
}

#[test]
fn it_is_filled_to_a_share_and_freed() {
    if !possible() {
        return;
    }
    on_both(24, |dir| {
        let before = (free(dir), fs::read_dir(dir).unwrap().count());
        let fault = fill(dir, Mark::To(0.9));
        fault.check().unwrap();
        assert!(fault.plan()[0].what.starts_with("take "), "{:?}", fault.plan());
        assert_eq!(free(dir), before.0, "a check and a plan take nothing");
        let mut injected = fault.inject(&guard()).unwrap();
        let seen = injected.effect().unwrap();
        assert_eq!(seen.doses[0].holds(), Some(true), "{seen:?}");
        assert!(seen.count > 0 && seen.count == before.0 - free(dir), "{seen:?}");
        assert_eq!(fs::read_dir(dir).unwrap().count(), before.1, "the file has no name");
        let reverted = injected.revert().unwrap();
        assert!(reverted.verified);
        wait_until("the space is free again", OFTEN, || free(dir) == before.0);
    });
}

#[test]
fn a_full_filesystem_refuses_writes_and_the_mark_is_kept() {
    if !possible() {
        return;
    }
    on_both(16, |dir| {
        fs::write(dir.join("theirs"), vec![1; 1 << 20]).unwrap();
        let mut injected = fill(dir, Mark::Free(0)).inject(&guard()).unwrap();
        assert_eq!(injected.effect().unwrap().doses[0].holds(), Some(true));
        let full = fs::File::create(dir.join("more")).and_then(|mut file| {
            file.write_all(&vec![1; 256 << 10]).and_then(|()| file.sync_all())
        });
        assert_eq!(full.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        fs::remove_file(dir.join("theirs")).unwrap();
        assert!(free(dir) >= 512 << 10);
        wait_until("what was freed is taken", OFTEN, || free(dir) < 64 << 10);
        drop(injected);
        assert!(free(dir) >= 8 << 20, "dropped without being reverted");
        fs::remove_file(dir.join("more")).unwrap();
    });
}

#[test]
fn it_gives_way_to_others_that_grow() {
    if !possible() {
        return;
    }
    on_both(32, |dir| {
        let mut injected = fill(dir, Mark::Free(4 << 20)).inject(&guard()).unwrap();
        let mut file = fs::File::create(dir.join("theirs")).unwrap();
        file.write_all(&vec![1; 2 << 20]).unwrap();
        file.sync_all().unwrap();
        wait_until("the mark is kept", OFTEN, || {
            injected.effect().unwrap().doses[0].holds() == Some(true)
        });
        fs::remove_file(dir.join("theirs")).unwrap();
        drop(file);
        assert!(injected.revert().unwrap().verified);
    });
}

#[test]
fn it_goes_where_the_target_keeps_its_files() {
    if !possible() {
        return;
    }
    with_disk(16, |disk| {
        let script = format!("exec 3>{0}/log; echo > {0}/ready; exec sleep 60", disk.display());
        let writer = Running::script(&script, None);
        wait_until("it is there", OFTEN, || disk.join("ready").exists());
        let place = |place| Fill { place, mark: Mark::Free(1 << 20), root_filesystem: false };
        for place in [
            place(Place::Files(writer.target())),
            place(Place::PathIn(writer.target(), disk.into())),
        ] {
            let before = free(disk);
            let injected = place.inject(&guard()).unwrap();
            let words = injected.describe().dose["directory"].clone();
            assert!(words.starts_with(&disk.display().to_string()), "{words}");
            assert!(free(disk) <= 1 << 20);
            drop(injected);
            assert_eq!(free(disk), before);
        }
    });
}

#[test]
fn a_killed_program_leaves_nothing() {
    if !possible() {
        return;
    }
    // This test's own program again, told to fill and to wait.
    if let Some(dir) = std::env::var_os("TEMBLOR_TEST_FILL") {
        let injected = fill(Path::new(&dir), Mark::Free(0)).inject(&guard()).unwrap();
        loop {
            // Until it is killed.
            std::thread::park();
            let _ = injected.describe();
        }
    }
    with_disk(16, |disk| {
        let before = free(disk);
        let journal = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_program_leaves_nothing", "--nocapture"])
            .env("TEMBLOR_TEST_FILL", disk)
            .env(JOURNAL, journal.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_until("it is full", OFTEN, || free(disk) < 64 << 10);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("it is as it was", OFTEN, || free(disk) == before);
        assert_eq!(fs::read_dir(disk).unwrap().count(), 1, "lost+found alone");
    });
}

#[test]
fn what_must_not_be_filled_is_refused() {
    if !possible() {
        return;
    }
    with_disk(16, |disk| {
        let refused = |fault: Fill| {
            let error = fault.check().unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert_eq!(
                error.to_string(),
                fault.inject(&guard()).map(drop).unwrap_err().to_string()
            );
            error.to_string()
        };
        for bad in [0.0, -0.1, 1.01, f64::NAN] {
            assert!(refused(fill(disk, Mark::To(bad))).contains("`to` is"), "{bad}");
        }
        assert!(refused(fill(disk, Mark::To(1.0))).contains("0 for a full disk"));
        assert!(refused(fill(disk, Mark::To(0.001))).contains("that full already"));
        assert!(refused(fill(disk, Mark::Free(1 << 40))).contains("that full already"));
        assert!(refused(fill(Path::new("/"), Mark::To(0.99))).contains("rootFilesystem: true"));
        assert!(refused(fill(&disk.join("none"), Mark::To(0.9))).contains("is no directory"));
        assert!(refused(fill(Path::new("/dev/null"), Mark::To(0.9))).contains("is no directory"));
        let huge = disk.join("huge");
        fs::create_dir(&huge).unwrap();
        run(&["mount", "-t", "tmpfs", "-o", "size=64t", "temblor-test", huge.to_str().unwrap()]);
        assert!(refused(fill(&huge, Mark::To(0.9))).contains("is in memory"));
        run(&["umount", huge.to_str().unwrap()]);
    });
}
