//! Queues and filters.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

use super::{INGRESS, INGRESS_HANDLE, word};
use crate::netlink::{Attributes, Netlink, Raw, attribute, text};

/// `tcmsg`: the fixed part.
const FIXED_BYTES: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;

/// A queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qdisc {
    /// The interface.
    pub(crate) link: u32,
    /// Its own name, in the upper half. 0: the kernel's own, which nobody asked for.
    pub(crate) handle: u32,
    /// Where it hangs.
    pub(crate) parent: u32,
    pub(crate) kind: String,
    pub(crate) stats: Stats,
}

/// What a queue has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stats {
    /// What has left it, with link-layer headers.
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    /// What is in it.
    pub(crate) queued: u32,
    pub(crate) drops: u32,
    pub(crate) requeues: u32,
}

impl Stats {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let basic = attribute(bytes, TCA_STATS_BASIC)?;
        let queue = attribute(bytes, TCA_STATS_QUEUE)?;
        let long = |bytes: &[u8], at: usize| {
            Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let packets = attribute(bytes, TCA_STATS_PKT64)
            .and_then(|packets| long(packets, 0))
            .or_else(|| word(basic, 8).map(u64::from))?;
        Some(Self {
            bytes: long(basic, 0)?,
            packets,
            queued: word(queue, 0)?,
            drops: word(queue, 8)?,
            requeues: word(queue, 12)?,
        })
    }
}

impl Qdisc {
    fn parse(body: &[u8]) -> Option<Self> {
        let attributes = body.get(FIXED_BYTES..)?;
        Some(Self {
            link: word(body, 4)?,
            handle: word(body, 8)?,
            parent: word(body, 12)?,
            kind: text(attributes, TCA_KIND)?,
            stats: attribute(attributes, TCA_STATS2).and_then(Stats::parse).unwrap_or_default(),
        })
    }
}

/// A filter, as far as it takes to know whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) preference: u16,
    /// The packets' protocol (an Ethernet type), in host order.
    pub(crate) protocol: u16,
    pub(crate) kind: String,
}

impl Filter {
    fn parse(body: &[u8]) -> Option<Self> {
        let info = word(body, 16)?;
        Some(Self {
            preference: (info >> 16) as u16,
            protocol: u16::from_be(info as u16),
            kind: text(body.get(FIXED_BYTES..)?, TCA_KIND)?,
        })
    }

    fn info(&self) -> u32 {
        u32::from(self.preference) << 16 | u32::from(self.protocol.to_be())
    }
}

fn message(
    kind: u16,
    link: u32,
    handle: u32,
    parent: u32,
    info: u32,
    attributes: &Attributes,
) -> Raw {
    let mut body = vec![0; 4];
    for word in [link, handle, parent, info] {
        body.extend(word.to_ne_bytes());
    }
    body.extend(attributes.bytes());
    Raw { kind, body }
}

fn with_kind(kind: &str, options: &[u8]) -> Attributes {
    Attributes::default().with_text(TCA_KIND, kind).with(TCA_OPTIONS, options)
}

/// All queues of a namespace, but for the kernel's own below others.
pub(crate) fn qdiscs(kernel: &mut Netlink) -> io::Result<Vec<Qdisc>> {
    let request = message(libc::RTM_GETQDISC, 0, 0, 0, 0, &Attributes::default());
    Ok(kernel.dump(&request)?.iter().filter_map(|answer| Qdisc::parse(&answer.body)).collect())
}

/// Adds a queue where there is none but the kernel's own. Anybody else's is an error (EEXIST).
pub(crate) fn add_qdisc(kernel: &mut Netlink, qdisc: &Qdisc, options: &[u8]) -> io::Result<()> {
    let Qdisc { link, handle, parent, kind, .. } = qdisc;
    let request =
        message(libc::RTM_NEWQDISC, *link, *handle, *parent, 0, &with_kind(kind, options));
    kernel.change(request, NLM_F_CREATE | NLM_F_EXCL)
}

/// Changes the options of a queue that is there; what is in it stays.
pub(crate) fn change_qdisc(kernel: &mut Netlink, qdisc: &Qdisc, options: &[u8]) -> io::Result<()> {
    let Qdisc { link, handle, parent, kind, .. } = qdisc;
    let request =
        message(libc::RTM_NEWQDISC, *link, *handle, *parent, 0, &with_kind(kind, options));
    kernel.change(request, NLM_F_REPLACE)
}

/// Takes a queue away, and with it what is below it; at the root the kernel's own comes back. The
/// kernel refuses (EINVAL) where one with another handle hangs there.
pub(crate) fn delete_qdisc(
    kernel: &mut Netlink,
    link: u32,
    handle: u32,
    parent: u32,
) -> io::Result<()> {
    kernel.change(message(libc::RTM_DELQDISC, link, handle, parent, 0, &Attributes::default()), 0)
}

/// Adds the place where filters can catch what comes in. Anybody else's is an error (EEXIST).
pub(crate) fn add_ingress(kernel: &mut Netlink, link: u32) -> io::Result<()> {
    let attributes = Attributes::default().with_text(TCA_KIND, "ingress");
    let request = message(libc::RTM_NEWQDISC, link, INGRESS_HANDLE, INGRESS, 0, &attributes);
    kernel.change(request, NLM_F_CREATE | NLM_F_EXCL)
}

/// The filters that hang at `parent`.
pub(crate) fn filters(kernel: &mut Netlink, link: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let request = message(libc::RTM_GETTFILTER, link, 0, parent, 0, &Attributes::default());
    Ok(kernel.dump(&request)?.iter().filter_map(|answer| Filter::parse(&answer.body)).collect())
}

/// Adds a filter.
pub(crate) fn add_filter(
    kernel: &mut Netlink,
    link: u32,
    parent: u32,
    filter: &Filter,
    options: &[u8],
) -> io::Result<()> {
    let attributes = with_kind(&filter.kind, options);
    let request = message(libc::RTM_NEWTFILTER, link, 0, parent, filter.info(), &attributes);
    kernel.change(request, NLM_F_CREATE)
}

/// Takes away all filters of a preference.
pub(crate) fn delete_filters(
    kernel: &mut Netlink,
    link: u32,
    parent: u32,
    filter: &Filter,
) -> io::Result<()> {
    let attributes = Attributes::default().with_text(TCA_KIND, &filter.kind);
    kernel.change(message(libc::RTM_DELTFILTER, link, 0, parent, filter.info(), &attributes), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_read_as_the_kernel_wrote_it() {
        let basic = [100_000_u64.to_ne_bytes().as_slice(), &7_u32.to_ne_bytes(), &[0; 4]].concat();
        let queue: Vec<u8> = [3_u32, 4500, 11, 2, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
        let stats =
            Attributes::default().with(TCA_STATS_BASIC, &basic).with(TCA_STATS_QUEUE, &queue);
        let read = |stats: &Attributes| {
            let attributes =
                Attributes::default().with_text(TCA_KIND, "netem").with_nested(TCA_STATS2, stats);
            let body =
                message(libc::RTM_NEWQDISC, 4, 0x7e3b_0000, 0xffff_ffff, 2, &attributes).body;
            Qdisc::parse(&body).unwrap()
        };
        let qdisc = read(&stats);
        assert_eq!((qdisc.link, qdisc.handle, qdisc.parent), (4, 0x7e3b_0000, super::super::ROOT));
        assert_eq!(qdisc.kind, "netem");
        assert_eq!(
            qdisc.stats,
            Stats { bytes: 100_000, packets: 7, queued: 3, drops: 11, requeues: 2 }
        );
        // Past four thousand million packets the kernel counts in another attribute.
        let many = (1_u64 << 33).to_ne_bytes();
        assert_eq!(read(&stats.with(TCA_STATS_PKT64, &many)).stats.packets, 1 << 33);
        assert_eq!(Qdisc::parse(&[0; 10]), None);
    }

    #[test]
    fn a_filters_protocol_and_preference_share_a_word() {
        let filter = Filter { preference: 9, protocol: 0x0800, kind: "flower".into() };
        let attributes = with_kind(&filter.kind, &[]);
        let body =
            message(libc::RTM_NEWTFILTER, 4, 0, INGRESS_HANDLE, filter.info(), &attributes).body;
        assert_eq!(Filter::parse(&body), Some(filter.clone()));
        assert_eq!(filter.info().to_ne_bytes()[..2], [8, 0], "the protocol is in network order");
    }
}
