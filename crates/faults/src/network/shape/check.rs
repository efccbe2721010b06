//! What is refused before anything is changed.

use std::time::Duration;

use super::Shape;
use super::dose::{Dose, ms, percent};
use crate::Refusal;
use crate::network::partition::check_ends;

/// The longest delay: beyond it every protocol has given up, and packets only pile up.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

pub(super) fn check(shape: &Shape) -> Result<(), Refusal> {
    check_dose(&shape.dose)?;
    check_ends(&shape.from, &shape.to, &shape.ports)
}

fn check_dose(dose: &Dose) -> Result<(), Refusal> {
    let bad = |what, given, why: &str| {
        Err(Refusal::BadDose { fault: dose.name(), what, given, why: why.into() })
    };
    let (share, delay, jitter) = match *dose {
        Dose::Latency { delay, jitter } => (None, Some(delay), Some((jitter, delay))),
        Dose::Loss { share } | Dose::Duplicate { share } | Dose::Corrupt { share } => {
            (Some(share), None, None)
        }
        Dose::Reorder { share, delay } => (Some(share), Some(delay), None),
        Dose::Bandwidth { bytes_per_second: 0 } => {
            return bad(
                "bandwidth",
                "0 bytes/s".into(),
                "lets nothing through: that is network.partition",
            );
        }
        Dose::Bandwidth { .. } => (None, None, None),
    };
    match share {
        Some(share) if share.is_nan() => {
            return bad("share", "NaN".into(), "is no number: give 0 to 100 %");
        }
        Some(share) if share > 1.0 => {
            return bad("share", percent(share), "is more than all packets: give at most 100 %");
        }
        Some(share) if share < 0.0 => {
            return bad("share", percent(share), "is less than none: give more than 0 %");
        }
        Some(0.0) => return bad("share", "0 %".into(), "hits no packet: give more than 0 %"),
        _ => {}
    }
    match delay {
        Some(Duration::ZERO) => {
            return bad("delay", ms(Duration::ZERO), "changes nothing: give more");
        }
        Some(delay) if delay > DELAY_MAX => {
            let why = format!("is more than the greatest, {} s", DELAY_MAX.as_secs());
            return bad("delay", ms(delay), &why);
        }
        _ => {}
    }
    match jitter {
        Some((jitter, delay)) if jitter > delay => {
            let why = format!(
                "is more than the delay of {}: nothing arrives before it is sent",
                ms(delay)
            );
            bad("jitter", ms(jitter), &why)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use temblor_host::netns::Netns;
    use temblor_host::target::Target;

    use super::*;
    use crate::network::{Direction, Peer};

    fn shape(netns: Netns, to: &[&str], ports: &[u16]) -> Shape {
        Shape {
            from: Target::of_namespace("api", netns, vec!["10.0.0.1".parse().unwrap()]),
            to: to
                .iter()
                .map(|a| Peer { name: (*a).into(), address: a.parse().unwrap() })
                .collect(),
            ports: ports.into(),
            direction: Direction::Out,
            dose: Dose::Loss { share: 0.5 },
            seed: None,
        }
    }

    /// A namespace that is nobody's: only its inode is ever looked at here.
    fn elsewhere() -> Netns {
        Netns::open(std::fs::File::open("/proc/self/exe").unwrap()).unwrap()
    }

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn doses_that_can_be_meant_are_accepted() {
        for dose in [
            Dose::Latency { delay: Duration::from_micros(1), jitter: Duration::ZERO },
            Dose::Latency { delay: S(60), jitter: S(60) },
            Dose::Loss { share: 1.0 },
            Dose::Duplicate { share: 0.001 },
            Dose::Reorder { share: 0.5, delay: S(1) },
            Dose::Corrupt { share: 0.5 },
            Dose::Bandwidth { bytes_per_second: 1 },
            Dose::Bandwidth { bytes_per_second: u64::MAX },
        ] {
            check_dose(&dose).unwrap();
        }
    }

    #[test]
    fn a_bad_dose_is_refused_with_what_would_be_right() {
        for (dose, says) in [
            (
                Dose::Loss { share: 1.5 },
                "network.loss: a share of 150 % is more than all packets: give at most 100 %",
            ),
            (Dose::Loss { share: -0.1 }, "a share of -10 % is less than none"),
            (Dose::Loss { share: f64::NAN }, "NaN is no number"),
            (Dose::Loss { share: f64::INFINITY }, "more than all"),
            (Dose::Duplicate { share: 0.0 }, "network.duplicate: a share of 0 % hits no packet"),
            (Dose::Corrupt { share: 2.0 }, "network.corrupt: a share of 200 % is more"),
            (Dose::Reorder { share: 2.0, delay: S(1) }, "network.reorder: a share of 200 %"),
            (Dose::Reorder { share: 0.5, delay: S(0) }, "a delay of 0 ms changes nothing"),
            (
                Dose::Latency { delay: S(0), jitter: S(0) },
                "network.latency: a delay of 0 ms changes nothing",
            ),
            (
                Dose::Latency { delay: S(61), jitter: S(0) },
                "a delay of 61000 ms is more than the greatest, 60 s",
            ),
            (
                Dose::Latency { delay: S(1), jitter: S(2) },
                "a jitter of 2000 ms is more than the delay of 1000 ms",
            ),
            (
                Dose::Bandwidth { bytes_per_second: 0 },
                "network.bandwidth: a bandwidth of 0 bytes/s lets nothing through",
            ),
        ] {
            let said = check_dose(&dose).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn no_peer_means_everybody_and_a_wrong_one_is_refused() {
        check(&shape(elsewhere(), &[], &[])).unwrap();
        check(&shape(elsewhere(), &["10.0.0.2", "fd00::/8"], &[5432])).unwrap();
        for (to, ports, says) in [
            (&["127.0.0.1"][..], &[][..], "127.0.0.1 is loopback"),
            (&["10.0.0.1"], &[], "never leave api"),
            (&[], &[0], "port 0 is not a port"),
        ] {
            let said = check(&shape(elsewhere(), to, ports)).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn the_namespace_everybody_shares_is_refused() {
        let refusal = check(&shape(Netns::of_this_thread().unwrap(), &[], &[])).unwrap_err();
        assert!(matches!(refusal, Refusal::SharedNamespace { .. }), "{refusal}");
    }
}
