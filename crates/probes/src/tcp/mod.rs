//! The `tcp` probe: connections, retransmissions, resets and round-trip times of the watched
//! network namespaces.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | connects with latency and errno, state changes | `inet_sock_set_state` |
//! | retransmissions: cause, timer, back-off | `tcp_retransmit_skb`, `tcp_retransmit_synack` |
//! | resets | `tcp_send_reset`, `tcp_receive_reset` |
//! | round-trip times | `tcp_probe`, one histogram per namespace (or target) and remote address |
//!
//! The sum of `segments` over the retransmissions of a namespace equals the growth of that
//! namespace's `TcpRetransSegs`. A listener's child is reported from its change to ESTABLISHED
//! on; TIME_WAIT never appears, because the kernel gives those connections a smaller socket and
//! closes the real one.
//!
//! Round trips are counted once for each segment whose acknowledgement advanced the connection
//! (the kernel's own RACK sample), in buckets at most 6.25 % wide.
//!
//! Only the targets' namespaces are watched, so that nothing else on the machine costs an event. A
//! service is found by its socket's namespace and a peer by its address: most of TCP runs in
//! softirq, where the current task is a stranger. Where a namespace is shared, a socket is whose
//! process connected or listens, and what a listener accepts is known by its port; see
//! `owner.bpf.h`.

mod attribution;
mod decode;
mod hooks;
mod probe;
mod rtt;
mod skeleton;

pub use attribution::Attribution;
pub use hooks::{capabilities, trial};
pub use probe::{Settings, TcpProbe};

/// The name in every event this probe writes about itself.
const NAME: &str = "tcp";
