//! The same with bpftrace, where it can do it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The waits of a process, whatever they are for, counted and added up in the kernel.
pub(crate) const WAITS: &str = r#"
BEGIN { @begun = nsecs; @sum = (uint64)0; @count = (uint64)0; printf("begun\n"); }
tracepoint:sched:sched_switch {
    if (pid == $1 && (args->prev_state & 0xff) != 0) { @since[tid] = nsecs; }
    $since = @since[args->next_pid];
    if ($since != 0) {
        @sum = @sum + nsecs - $since;
        @count = @count + 1;
        delete(@since[args->next_pid]);
    }
}
interval:ms:100 { if (nsecs - @begun > $2 * 1000000000) { exit(); } }
END {
    printf("%llu %llu %llu\n", @sum, @count, nsecs - @begun);
    clear(@since); delete(@sum); delete(@count); delete(@begun);
}"#;

/// The same with both stacks of each, as whoever looks for their cause wants them.
pub(crate) const STACKS_OF_WAITS: &str = r#"
BEGIN { @begun = nsecs; printf("begun\n"); }
tracepoint:sched:sched_switch {
    if (pid == $1 && (args->prev_state & 0xff) != 0) {
        @since[tid] = nsecs;
        @where[tid] = (kstack, ustack);
    }
    $since = @since[args->next_pid];
    if ($since != 0) {
        @waits[@where[args->next_pid]] = sum(nsecs - $since);
        delete(@since[args->next_pid]);
        delete(@where[args->next_pid]);
    }
}
interval:ms:100 { if (nsecs - @begun > $2 * 1000000000) { exit(); } }
END { clear(@since); clear(@where); clear(@waits); delete(@begun); printf("0 0 0\n"); }"#;

/// Pairs of an allocation and its end, counted: the least that can be done at each.
pub(crate) const ALLOCATIONS: &str = r#"
BEGIN { @begun = nsecs; printf("begun\n"); }
uprobe:libc:malloc /pid == $1/ { @allocated = count(); }
uprobe:libc:free /pid == $1/ { @freed = count(); }
interval:ms:100 { if (nsecs - @begun > $2 * 1000000000) { exit(); } }
END { clear(@allocated); clear(@freed); delete(@begun); printf("0 0 0\n"); }"#;

/// It watches a process for some seconds.
pub(crate) struct Bpftrace {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Bpftrace {
    /// Returns once it watches.
    pub(crate) fn start(script: &str, pid: u32, seconds: u32) -> Self {
        let mut child = Command::new("bpftrace")
            .args(["-q", "-e", script])
            .args([pid.to_string(), seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line != "begun\n" {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "bpftrace has failed");
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
