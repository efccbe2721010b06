//! From the kernel's bytes to events: pure, so that it can be tested without a kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use temblor_event::{
    Connection, Event, RetransmitKind, TcpReset, TcpRetransmit, TcpState, TcpStateChange,
};

use super::attribution::Attribution;
use super::skeleton::{tcp_cause, tcp_record, tcp_record_kind};
use crate::plain::from_bytes;

/// A record that makes no sense: the kernel half and this one disagree, which is our bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a record of {0} bytes")]
    Length(usize),
    #[error("a record of unknown kind {0}")]
    Kind(u32),
    #[error("an unknown cause of a retransmission, {0}")]
    Cause(u32),
    #[error("an unknown state {0}")]
    State(u8),
    #[error("an unknown address family {0}")]
    Family(u32),
}

/// The error that the kernel's queueing discipline stands for: it reports a dropped packet by a
/// positive number that is no errno.
const ENOBUFS: i32 = 105;

/// One record.
pub(super) fn decode(bytes: &[u8], attribution: &Attribution) -> Result<Event, Malformed> {
    let record: tcp_record = from_bytes(bytes).ok_or(Malformed::Length(bytes.len()))?;
    let conn = connection(&record, attribution)?;
    let event = match record.kind {
        tcp_record_kind::TCP_RECORD_STATE => Event::at(
            record.t_ns,
            TcpStateChange {
                conn,
                from: state(record.state_from)?,
                to: state(record.state_to)?,
                errno: record.error.saturating_abs(),
                connect_ns: (record.connect_ns != 0).then_some(record.connect_ns),
                srtt_us: record.srtt_us,
                retransmitted: record.retransmitted,
                pid: (record.pid != 0).then_some(record.pid),
            },
        ),
        tcp_record_kind::TCP_RECORD_RETRANSMIT => Event::at(
            record.t_ns,
            TcpRetransmit {
                conn,
                kind: cause(record.cause)?,
                segments: record.segments,
                rto_ns: record.rto_ns,
                backoff: record.backoff,
                state: state(record.state_from)?,
                errno: if record.error > 0 { ENOBUFS } else { record.error.saturating_neg() },
            },
        ),
        tcp_record_kind::TCP_RECORD_RESET_SENT | tcp_record_kind::TCP_RECORD_RESET_RECEIVED => {
            Event::at(
                record.t_ns,
                TcpReset {
                    conn,
                    sent: record.kind == tcp_record_kind::TCP_RECORD_RESET_SENT,
                    state: match record.state_from {
                        0 => None,
                        known => Some(state(known)?),
                    },
                },
            )
        }
        tcp_record_kind(other) => return Err(Malformed::Kind(other)),
    };
    Ok(event)
}

fn connection(record: &tcp_record, attribution: &Attribution) -> Result<Connection, Malformed> {
    let family = u32::from(record.family);
    let local = address(family, &record.local).ok_or(Malformed::Family(family))?;
    let remote = address(family, &record.remote).ok_or(Malformed::Family(family))?;
    Ok(Connection {
        cookie: record.cookie,
        service: attribution.service(record.netns, record.target).map(str::to_owned),
        peer: attribution.peer(remote).map(str::to_owned),
        local: SocketAddr::new(local, record.local_port),
        remote: SocketAddr::new(remote, record.remote_port),
    })
}

/// An address as the kernel half writes it. IPv4 on an IPv6 socket becomes plain IPv4, so that
/// both sides of a connection name each other alike.
pub(super) fn address(family: u32, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        2 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        10 => Some(Ipv6Addr::from(*bytes).to_canonical()),
        _ => None,
    }
}

/// The kernel's numbers; they are part of its interface to user space.
fn state(number: u8) -> Result<TcpState, Malformed> {
    Ok(match number {
        1 => TcpState::Established,
        2 => TcpState::SynSent,
        3 => TcpState::SynRecv,
        4 => TcpState::FinWait1,
        5 => TcpState::FinWait2,
        6 => TcpState::TimeWait,
        7 => TcpState::Close,
        8 => TcpState::CloseWait,
        9 => TcpState::LastAck,
        10 => TcpState::Listen,
        11 => TcpState::Closing,
        12 => TcpState::NewSynRecv,
        other => return Err(Malformed::State(other)),
    })
}

fn cause(cause: tcp_cause) -> Result<RetransmitKind, Malformed> {
    Ok(match cause {
        tcp_cause::TCP_CAUSE_TIMEOUT => RetransmitKind::Timeout,
        tcp_cause::TCP_CAUSE_TAIL_LOSS_PROBE => RetransmitKind::TailLossProbe,
        tcp_cause::TCP_CAUSE_FAST => RetransmitKind::Fast,
        tcp_cause::TCP_CAUSE_SYN => RetransmitKind::Syn,
        tcp_cause::TCP_CAUSE_SYN_ACK => RetransmitKind::SynAck,
        tcp_cause(other) => return Err(Malformed::Cause(other)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use temblor_event::Body;

    use super::*;
    use crate::plain::as_bytes;
    use crate::roster::NOBODY;

    fn record() -> tcp_record {
        let mut record = tcp_record {
            t_ns: 5,
            cookie: 77,
            kind: tcp_record_kind::TCP_RECORD_STATE,
            target: NOBODY,
            family: 2,
            state_from: 2,
            state_to: 7,
            error: 111,
            local_port: 40_000,
            remote_port: 5432,
            ..tcp_record::default()
        };
        record.local[..4].copy_from_slice(&[10, 0, 0, 1]);
        record.remote[..4].copy_from_slice(&[10, 0, 0, 2]);
        record
    }

    fn decoded(record: &tcp_record) -> Result<Event, Malformed> {
        let mut attribution = Attribution::default();
        attribution.name("10.0.0.2".parse().unwrap(), "postgres");
        decode(as_bytes(record), &attribution)
    }

    #[test]
    fn a_refused_connection_reads_as_one() {
        let event = decoded(&record()).unwrap();
        let Body::TcpState(change) = event.body else { panic!("{event:?}") };
        assert_eq!(event.t_ns, 5);
        assert_eq!((change.from, change.to), (TcpState::SynSent, TcpState::Close));
        assert_eq!((change.errno, change.connect_ns, change.pid), (111, None, None));
        assert_eq!(change.conn.local, "10.0.0.1:40000".parse().unwrap());
        assert_eq!(change.conn.remote, "10.0.0.2:5432".parse().unwrap());
        assert_eq!(change.conn.peer.as_deref(), Some("postgres"));
    }

    #[test]
    fn ipv4_on_an_ipv6_socket_is_named_like_ipv4() {
        let mut mapped = record();
        mapped.family = 10;
        mapped.remote = "::ffff:10.0.0.2".parse::<Ipv6Addr>().unwrap().octets();
        let Body::TcpState(change) = decoded(&mapped).unwrap().body else { panic!() };
        assert_eq!(change.conn.remote, "10.0.0.2:5432".parse().unwrap());
        assert_eq!(change.conn.peer.as_deref(), Some("postgres"));
    }

    #[test]
    fn send_errors_read_as_errno() {
        for (kernel, errno) in [(0, 0), (-1, 1), (-113, 113), (1, ENOBUFS), (i32::MIN, i32::MAX)] {
            let mut failed = record();
            failed.kind = tcp_record_kind::TCP_RECORD_RETRANSMIT;
            failed.cause = tcp_cause::TCP_CAUSE_TIMEOUT;
            failed.error = kernel;
            let Body::TcpRetransmit(again) = decoded(&failed).unwrap().body else { panic!() };
            assert_eq!(again.errno, errno, "for {kernel}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |change: &dyn Fn(&mut tcp_record), expected: Malformed| {
            let mut bad = record();
            change(&mut bad);
            assert_eq!(decoded(&bad), Err(expected));
        };
        check(&|r| r.kind = tcp_record_kind(9), Malformed::Kind(9));
        check(&|r| r.family = 1, Malformed::Family(1));
        check(&|r| r.state_to = 13, Malformed::State(13));
        check(&|r| r.state_from = 0, Malformed::State(0));
        check(&|r| r.kind = tcp_record_kind::TCP_RECORD_RETRANSMIT, Malformed::Cause(0));
        let whole = record();
        let short = &as_bytes(&whole)[1..];
        let refused = decode(short, &Attribution::default());
        assert_eq!(refused, Err(Malformed::Length(short.len())));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(&bytes, &Attribution::default());
        }

        #[test]
        fn random_records_never_panic(bytes in prop::collection::vec(any::<u8>(), size_of::<tcp_record>())) {
            let _ = decode(&bytes, &Attribution::default());
        }

        #[test]
        fn every_field_of_a_retransmission_arrives(
            t_ns: u64, cookie: u64, rto_ns: u64, segments: u32, backoff: u8,
            ports: (u16, u16), addresses: ([u8; 16], [u8; 16]),
            cause_number in 1_u32..6, state_number in 1_u8..13, v6: bool,
        ) {
            let written = tcp_record {
                t_ns, cookie, rto_ns, segments, backoff,
                kind: tcp_record_kind::TCP_RECORD_RETRANSMIT,
                cause: tcp_cause(cause_number),
                state_from: state_number,
                family: if v6 { 10 } else { 2 },
                local_port: ports.0, remote_port: ports.1,
                local: addresses.0, remote: addresses.1,
                ..tcp_record::default()
            };
            let event = decoded(&written).unwrap();
            prop_assert_eq!(event.t_ns, t_ns);
            let Body::TcpRetransmit(read) = event.body else { panic!() };
            prop_assert_eq!(read.conn.cookie, cookie);
            prop_assert_eq!((read.rto_ns, read.segments, read.backoff), (rto_ns, segments, backoff));
            prop_assert_eq!((read.conn.local.port(), read.conn.remote.port()), ports);
            let ip = |octets: [u8; 16]| if v6 {
                Ipv6Addr::from(octets).to_canonical()
            } else {
                IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
            };
            prop_assert_eq!(read.conn.local.ip(), ip(addresses.0));
            prop_assert_eq!(read.conn.remote.ip(), ip(addresses.1));
            prop_assert_eq!(Ok(read.state), state(state_number));
            prop_assert_eq!(Ok(read.kind), cause(tcp_cause(cause_number)));
        }
    }
}
