//! A child process that does not outlive its test.

use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// How to end it when the test is over.
    last_signal: Signal,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command, last_signal: Signal) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, last_signal }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        // It may have ended already; then there is nothing to signal.
        let _ = kill_process(pid, signal);
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.last_signal);
        let _ = self.child.wait();
    }
}
