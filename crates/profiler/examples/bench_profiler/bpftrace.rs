//! The same with bpftrace, where it can do it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The waits of a process, whatever they are for, added up in the kernel; and the time in which they
/// were, of each of its threads from the end of its first wait to the end of its last one.
pub(crate) const WAITS: &str = r#"
BEGIN { @sum = (uint64)0; @covered = (uint64)0; @count = (uint64)0; }
tracepoint:sched:sched_switch {
    if (@begun == 0) { @begun = nsecs; printf("begun\n"); }
    if (pid == $1 && (args->prev_state & 0xff) != 0) { @since[tid] = nsecs; }
    $since = @since[args->next_pid];
    if ($since != 0) {
        $last = @last[args->next_pid];
        if ($last != 0) {
            @sum = @sum + nsecs - $since;
            @covered = @covered + nsecs - $last;
            @count = @count + 1;
        }
        @last[args->next_pid] = nsecs;
        delete(@since[args->next_pid]);
    }
}
interval:s:$2 { exit(); }
END {
    printf("%llu %llu %llu\n", @sum, @covered, @count);
    clear(@since); clear(@last); delete(@sum); delete(@covered); delete(@count); delete(@begun);
}"#;

/// The same with both stacks of each, as whoever looks for their cause wants them.
pub(crate) const STACKS_OF_WAITS: &str = r#"
tracepoint:sched:sched_switch {
    if (@begun == 0) { @begun = nsecs; printf("begun\n"); }
    if (pid == $1 && (args->prev_state & 0xff) != 0) {
        @since[tid] = nsecs;
        @kernel[tid] = kstack;
        @user[tid] = ustack;
    }
    $since = @since[args->next_pid];
    if ($since != 0) {
        @waits[@kernel[args->next_pid], @user[args->next_pid]] = sum(nsecs - $since);
        delete(@since[args->next_pid]);
    }
}
interval:s:$2 { exit(); }
END {
    clear(@since); clear(@kernel); clear(@user); clear(@waits); delete(@begun);
    printf("0 0 0\n");
}"#;

/// Pairs of an allocation and its end, counted: the least that can be done at each.
pub(crate) const ALLOCATIONS: &str = r#"
tracepoint:sched:sched_switch { if (@begun == 0) { @begun = nsecs; printf("begun\n"); } }
uprobe:libc:malloc /pid == $1/ { @allocated = count(); }
uprobe:libc:free /pid == $1/ { @freed = count(); }
interval:s:$2 { exit(); }
END { clear(@allocated); clear(@freed); delete(@begun); printf("0 0 0\n"); }"#;

/// It reads where tracepoints are from a file system that may not be there.
const WITH_TRACEPOINTS: &str = r#"
    [ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
    exec "$0" "$@""#;

/// It watches a process for some seconds.
pub(crate) struct Bpftrace {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Bpftrace {
    /// Returns once it watches.
    pub(crate) fn start(script: &str, pid: u32, seconds: u32) -> Self {
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", WITH_TRACEPOINTS, "bpftrace", "-q", "-e", script])
            .args([pid.to_string(), seconds.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line != "begun\n" {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                let why = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
                panic!("bpftrace has failed: {why}");
            }
        }
        Self { child, said }
    }

    /// The three figures that its script says in the end.
    pub(crate) fn end(mut self) -> [f64; 3] {
        let mut figures = None;
        for line in self.said.lines() {
            let line = line.unwrap();
            let words: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            figures = <[f64; 3]>::try_from(words).ok().or(figures);
        }
        assert!(self.child.wait().unwrap().success());
        figures.unwrap()
    }
}
