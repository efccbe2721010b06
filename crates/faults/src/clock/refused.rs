//! Why a clock, as asked for, is not moved.

/// Why a clock, as asked for, is not moved.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No offset.
    #[error("an offset of 0 leaves the clock of {service} where it is")]
    Nothing {
        /// The target.
        service: String,
    },
    /// Further than anybody means.
    #[error(
        "an offset of {by_s} s is further than 10 years: {service} would have a time that nobody \
         means"
    )]
    TooFar {
        /// The target.
        service: String,
        /// What was asked for, in seconds.
        by_s: i64,
    },
    /// Nobody to be fooled.
    #[error("{service} has no process whose clock could be moved")]
    NoProcess {
        /// The target.
        service: String,
    },
    /// This process would fool itself.
    #[error("process {pid} of {service} is this program itself")]
    Itself {
        /// The target.
        service: String,
        /// This process.
        pid: u32,
    },
    /// Not a 64-bit program.
    #[error(
        "process {pid} of {service} is a 32-bit program: its clock is another one, which is not \
         moved"
    )]
    Not64Bit {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
    },
    /// A kernel thread, or a kernel that was told `vdso=0`.
    #[error(
        "process {pid} of {service} has no vDSO: it asks the kernel for the time, where it cannot \
         be given another one"
    )]
    NoVdso {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
    },
    /// A debugger, `strace`, or the like.
    #[error(
        "process {pid} of {service} is traced by process {tracer}, and one at a time can: end that"
    )]
    Traced {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
        /// By whom.
        tracer: u32,
    },
    /// Its code is not the kernel's any more.
    #[error(
        "the vDSO of process {pid} of {service} has been changed already: by another fault of its \
         clock, or by another program"
    )]
    ChangedAlready {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
    },
    /// It may not make the call that would be made for it.
    #[error(
        "process {pid} of {service} may make no system call but read and write (seccomp strict \
         mode): asking for the time would end it"
    )]
    Strict {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
    },
    /// A share is between nothing and the whole.
    #[error("a level of {level} is none: it is a share of the dose, 0 to 1")]
    BadLevel {
        /// What was given.
        level: f64,
    },
}

impl From<Refused> for crate::Error {
    fn from(refused: Refused) -> Self {
        crate::Refusal::from(refused).into()
    }
}
