//! Why a fault of a resource, as asked for, is not made.

/// Why a fault of a resource, as asked for, is not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Port 0 is nobody's.
    #[error("port 0 is not a port: say on which port {service} listens")]
    PortZero {
        /// The target.
        service: String,
    },
    /// Nothing would be held.
    #[error(
        "0 connections held are no fault: say how many, or leave the number out to hold all that \
         {service} gives"
    )]
    NothingHeld {
        /// The target.
        service: String,
    },
    /// More than there are ports to connect from.
    #[error("{given} connections are more than the {max} that one fault holds")]
    TooManyConnections {
        /// How many were asked for.
        given: u32,
        /// How many there may be.
        max: u32,
    },
    /// This process may not have so many files open.
    #[error(
        "{given} connections are more than the {left} descriptors that this process may still \
         open: raise its hard limit (ulimit -Hn), or hold fewer"
    )]
    NoDescriptors {
        /// How many were asked for.
        given: u32,
        /// How many there are left.
        left: u32,
    },
    /// The server cannot be reached at that port.
    #[error("nothing of {service} listens on TCP port {port} at an address that {from} can reach")]
    NotListening {
        /// The target.
        service: String,
        /// The port.
        port: u16,
        /// From where.
        from: String,
    },
    /// Somebody else has the port.
    #[error("what listens on TCP port {port} is no process of {service}")]
    SomebodyElses {
        /// The target.
        service: String,
        /// The port.
        port: u16,
    },
    /// Nobody to be limited.
    #[error("{service} has no process whose limit could be lowered")]
    NoProcess {
        /// The target.
        service: String,
    },
    /// This process would limit itself.
    #[error("process {pid} of {service} is this program itself")]
    Itself {
        /// The target.
        service: String,
        /// This process.
        pid: u32,
    },
    /// A limit of nothing.
    #[error("a limit of 0 open files is none: to give {service} no more, spare it 0")]
    NoFiles {
        /// The target.
        service: String,
    },
    /// Lower than what is open already.
    #[error(
        "process {pid} of {service} has {open} files open, more than a limit of {to} gives: to \
         give it no more than it has, spare it 0"
    )]
    BelowOpen {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
        /// How many descriptors it has open.
        open: u64,
        /// What was asked for.
        to: u64,
    },
    /// No lower than it is.
    #[error("process {pid} of {service} may open {soft} files: a limit of {to} would not be lower")]
    NotLower {
        /// The target.
        service: String,
        /// Which of its processes.
        pid: u32,
        /// Its soft limit.
        soft: u64,
        /// What was asked for, or came of what was.
        to: u64,
    },
    /// A share is between nothing and the whole.
    #[error("a level of {level} is none: it is a share of the dose, 0 to 1")]
    BadLevel {
        /// What was given.
        level: f64,
    },
    /// A name that the protocol has no way to say.
    #[error("the {what} `{given}` cannot be said to PostgreSQL: it is empty or has a zero in it")]
    BadName {
        /// `user` or `database`.
        what: &'static str,
        /// What was given.
        given: String,
    },
}

impl From<Refused> for crate::Error {
    fn from(refused: Refused) -> Self {
        crate::Refusal::from(refused).into()
    }
}
