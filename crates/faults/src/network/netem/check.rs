//! Whether netem can do it: in this namespace, on this kernel.

use std::io;

use temblor_host::target::Target;

use super::options::JITTER_MAX;
use super::{Dose, Shape, apply, matches};
use crate::netlink::Netlink;
use crate::network::Direction;
use crate::network::partition::empty_netns;
use crate::{Error, Refusal, Result, tc};

/// How many interfaces are changed at most.
const LINKS_MAX: usize = 64;

/// Whether netem can put this shape in place: the dose, the target's interfaces, and the kernel,
/// which shows only in an attempt (in an empty network namespace). Changes nothing.
///
/// # Errors
/// [`Refusal::ForeignQdisc`] and [`Refusal::BadDose`]: not here, and the packet queue can.
/// [`Error::Missing`]: the kernel has no netem, or lacks what it takes beside it.
pub fn fits(shape: &Shape) -> Result<()> {
    shape.check_asked()?;
    chosen(shape)?;
    let netns = empty_netns()?;
    let trial = Shape { from: Target::of_namespace("a trial", netns, Vec::new()), ..shape.clone() };
    inside(&trial.from, "try netem out", |kernel| {
        let Some(lo) = tc::links(kernel)?.into_iter().find(|link| link.is_loopback) else {
            return Err(io::Error::other("a new network namespace has no loopback interface"));
        };
        apply::try_out(kernel, &trial, &lo)
    })
}

/// The interfaces that would be changed: those that are up and at which others reach the target.
pub(super) fn chosen(shape: &Shape) -> Result<Vec<tc::Link>> {
    if let Dose::Latency { jitter, .. } = shape.dose
        && jitter > JITTER_MAX
    {
        return Err(Refusal::BadDose {
            fault: shape.dose.name(),
            what: "jitter",
            given: format!("{} ms", jitter.as_millis()),
            why: format!("is more than netem's greatest, {} s", JITTER_MAX.as_secs()),
        }
        .into());
    }
    let filters = matches::count(shape);
    if filters > matches::FILTERS_MAX {
        let max = matches::FILTERS_MAX;
        let what = "filters (peers times ports)";
        return Err(Refusal::TooMany { what, given: filters, max }.into());
    }
    let doing = format!("look at the interfaces of {}", shape.from.service);
    let (links, qdiscs) = inside(&shape.from, &doing, |kernel| {
        let reachable = tc::has_address(kernel)?;
        let links: Vec<tc::Link> = tc::links(kernel)?
            .into_iter()
            .filter(|link| link.is_up && !link.is_loopback && reachable.contains(&link.index))
            .take(LINKS_MAX)
            .collect();
        Ok((links, tc::qdiscs(kernel)?))
    })?;
    if links.is_empty() {
        return Err(Refusal::NoInterface { service: shape.from.service.clone() }.into());
    }
    for link in &links {
        if let Some(foreign) = foreign(&qdiscs, link, shape.direction) {
            return Err(Refusal::ForeignQdisc {
                interface: link.name.clone(),
                qdisc: format!("{} {:x}:", foreign.kind, foreign.handle >> 16),
            }
            .into());
        }
    }
    Ok(links)
}

/// A queue on an interface that somebody asked for, where one of ours would have to be. The
/// kernel's own have no handle.
fn foreign<'a>(
    qdiscs: &'a [tc::Qdisc],
    link: &tc::Link,
    direction: Direction,
) -> Option<&'a tc::Qdisc> {
    qdiscs.iter().filter(|qdisc| qdisc.link == link.index).find(|qdisc| {
        (direction.cuts_out() && qdisc.parent == tc::ROOT && qdisc.handle != 0)
            || (direction.cuts_in() && qdisc.parent == tc::INGRESS)
    })
}

/// Does something with the traffic control of the target's namespace.
pub(super) fn inside<T: Send>(
    target: &Target,
    doing: &str,
    work: impl FnOnce(&mut Netlink) -> io::Result<T> + Send,
) -> Result<T> {
    let entered = target
        .netns
        .run(|| tc::open().and_then(|mut kernel| work(&mut kernel)))
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Error::Missing {
                what: "the right to enter network namespaces (CAP_SYS_ADMIN)".into(),
                how: "run as root".into(),
            },
            _ => Error::system(format!("enter the network namespace of {}", target.service), error),
        })?;
    entered.map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => Error::Missing {
            what: "the right to change queues (CAP_NET_ADMIN)".into(),
            how: "run as root".into(),
        },
        // So the kernel says that it has no queue, filter or interface of such a kind.
        Some(libc::ENOENT | libc::EOPNOTSUPP) => Error::Missing {
            what: "sch_netem, sch_prio, cls_flower, or (for what comes in) ifb, sch_ingress and \
                   act_mirred in the kernel"
                .into(),
            how: format!("load the modules, or install the kernel's package of them ({error})"),
        },
        _ => Error::system(doing, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_root_is_not_foreign() {
        let link =
            tc::Link { index: 2, name: "eth0".into(), kind: None, is_up: true, is_loopback: false };
        let qdisc = |link, handle, parent, kind: &str| tc::Qdisc {
            link,
            handle,
            parent,
            kind: kind.into(),
            stats: tc::Stats::default(),
        };
        let default = qdisc(2, 0, tc::ROOT, "noqueue");
        let tbf = qdisc(2, 0x8001_0000, tc::ROOT, "tbf");
        let elsewhere = qdisc(3, 0x8001_0000, tc::ROOT, "tbf");
        let ingress = qdisc(2, tc::INGRESS_HANDLE, tc::INGRESS, "clsact");
        let kind = |qdiscs: &[tc::Qdisc], direction| {
            foreign(qdiscs, &link, direction).map(|qdisc| qdisc.kind.clone())
        };
        assert_eq!(kind(&[default.clone(), elsewhere], Direction::Both), None);
        assert_eq!(kind(&[default.clone(), tbf.clone()], Direction::Out).as_deref(), Some("tbf"));
        assert_eq!(kind(&[tbf], Direction::In), None, "what goes out is not touched");
        assert_eq!(kind(&[default.clone(), ingress.clone()], Direction::Out), None);
        assert_eq!(kind(&[default, ingress], Direction::In).as_deref(), Some("clsact"));
    }
}
