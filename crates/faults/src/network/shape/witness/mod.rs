//! Somebody else's measurement of a worse wire.
//!
//! What a delay line says of its own delay proves nothing. So a thread in the target's network
//! namespace asks a peer's kernel for an echo, a few times a second: in turn one that the fault's
//! rules treat as the target's packets, and one that they leave alone. The difference between
//! the two is the fault, whatever else the machine is doing; neither the target's programs nor the
//! peer's are touched.

mod echo;
mod flow;
mod icmp;
mod samples;

pub(in crate::network) use echo::Echoes;
pub(in crate::network) use flow::Flow;

/// The identifiers by which the two kinds of echo are known to the fault's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct EchoIds {
    /// Of those that are treated as the target's packets.
    pub(in crate::network) through: u16,
    /// Of those that are left alone.
    pub(in crate::network) beside: u16,
}

impl EchoIds {
    /// Two that are neither the same nor 0.
    pub(in crate::network) fn from_seed(seed: u64) -> Self {
        let through = (seed ^ (seed >> 16) ^ (seed >> 32)) as u16 | 0x4001;
        Self { through, beside: through ^ 0x2 }
    }
}
