//! Starting one process in its namespace, its cgroup and under its user.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use temblor_host::cgroup::Group;
use temblor_host::netns::Netns;
use tokio::process::{Child, Command};

use crate::plan;

/// Where a process is to live.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) user: &'a plan::User,
    /// Its network namespace; `None` stays in the host's.
    pub(crate) netns: Option<&'a Netns>,
    /// Its cgroup; `None` stays in the supervisor's.
    pub(crate) group: Option<&'a Group>,
    /// Its working and home directory.
    pub(crate) dir: &'a Path,
    /// What it gets when the supervisor dies. A server with workers of its own must hear of it in
    /// a way that lets it end them.
    pub(crate) on_supervisor_death: Signal,
}

/// Starts a process. It must be called on a thread that lives as long as the process should: the
/// kernel sends the death signal when that thread ends.
pub(crate) fn spawn(
    command: &plan::Command,
    place: &Place<'_>,
    input: Stdio,
    log: fs::File,
) -> io::Result<Child> {
    let mut process = Command::new(&command.program);
    process
        .args(&command.args)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", place.dir)
        .env("LANG", "C.UTF-8")
        .current_dir(place.dir)
        .stdin(input)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    let mut entry = Entry::new(place)?;
    // SAFETY: between fork and exec the closure makes system calls on descriptors and numbers that
    // it owns; it neither allocates nor takes a lock.
    unsafe { process.pre_exec(move || entry.enter()) };
    process.spawn()
}

/// Everything a child needs to move itself to its place, ready before the fork.
struct Entry {
    procs: Vec<OwnedFd>,
    netns: Option<Netns>,
    uid: rustix::process::Uid,
    gid: rustix::process::Gid,
    death: Signal,
    supervisor: Pid,
}

impl Entry {
    fn new(place: &Place<'_>) -> io::Result<Self> {
        Ok(Self {
            procs: place.group.map_or_else(|| Ok(Vec::new()), Group::open_procs)?,
            netns: place.netns.cloned(),
            uid: rustix::process::Uid::from_raw(place.user.uid),
            gid: rustix::process::Gid::from_raw(place.user.gid),
            death: place.on_supervisor_death,
            supervisor: getpid(),
        })
    }

    fn enter(&mut self) -> io::Result<()> {
        setsid()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        for procs in &self.procs {
            // The writing process itself.
            rustix::io::write(procs, b"0")?;
        }
        if let Some(netns) = &self.netns {
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(netns),
                Some(LinkNameSpaceType::Network),
            )?;
            // SAFETY: CLONE_NEWIPC leaves the descriptor table as it is. PostgreSQL's shared memory
            // goes with its namespace even when it is killed.
            unsafe { unshare_unsafe(UnshareFlags::NEWIPC) }?;
        }
        set_thread_groups(&[self.gid])?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)?;
        set_no_new_privs(true)?;
        // After the change of user, which would clear it.
        set_parent_process_death_signal(Some(self.death))?;
        if getppid() != Some(self.supervisor) {
            // The supervisor died before the line above: nobody would end this process.
            return Err(rustix::io::Errno::SRCH.into());
        }
        Ok(())
    }
}

/// Opens a service's log for appending: also what the supervisor has to say about it.
pub(crate) fn open_log(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// The last lines of a log.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    /// As much of the end as can hold the lines anyone reads.
    const TAIL_BYTES: u64 = 16 << 10;
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|mut file| {
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Keeps a log within a bound: what is beyond goes to one older file beside it.
pub(crate) fn bound_log(path: &Path, bytes_max: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() <= bytes_max {
        return Ok(());
    }
    fs::copy(path, path.with_extension("log.1"))?;
    // The service appends: it goes on at the new end.
    fs::OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_its_end_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        assert_eq!(last_lines(&path, 3), Vec::<String>::new());
        let text: String = (0..5_000).map(|n| format!("line {n}\n\n")).collect();
        fs::write(&path, &text).unwrap();
        assert_eq!(last_lines(&path, 2), ["line 4998", "line 4999"]);
        bound_log(&path, 1 << 20).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "within the bound");
        bound_log(&path, 1 << 10).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.log.1")).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
}
