//! The making: record, queue, filters.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;

use super::matches::{self, Then, Way};
use super::{Shape, UndoAll, check, options};
use crate::netlink::Netlink;
use crate::undo::{self, Guard, Undo};
use crate::{Result, tc};

/// The class of our root queue that changes nothing is 1, and this one has the netem.
const NETEM_CLASS: u32 = 2;

/// Where a netem is.
pub(super) struct Place {
    /// `out by eth0`.
    pub(super) name: String,
    pub(super) netem: tc::Qdisc,
}

/// A number that no other queue or interface of ours has, but by an accident of one in 3,840.
/// Where there is one already, the kernel refuses a second, so an accident is an error, no harm.
fn lot() -> u32 {
    // Handles from 0x8000 up are the ones that the kernel gives to those who name none.
    0x7000 + (RandomState::new().build_hasher().finish() % 0xf00) as u32
}

fn qdisc(link: u32, handle: u32, parent: u32, kind: &str) -> tc::Qdisc {
    tc::Qdisc { link, handle, parent, kind: kind.into(), stats: tc::Stats::default() }
}

/// Makes it on all interfaces. What is on record afterwards is in `undo`, also after an error.
pub(super) fn apply(
    shape: &Shape,
    links: &[tc::Link],
    guard: &Guard,
    undo: &mut UndoAll,
) -> Result<Vec<Place>> {
    let (from, netns) = (&shape.from, &shape.from.netns);
    let doing = format!("put netem on the interfaces of {}", from.service);
    let mut places = Vec::new();
    let mut record = |change: undo::Qdisc| -> Result<()> {
        undo.0.push(guard.record(Undo::Qdisc(change))?);
        Ok(())
    };
    for link in links {
        if shape.direction.cuts_out() {
            let handle = lot() << 16;
            record(undo::Qdisc::about_to_add_root(netns, link, handle, "prio")?)?;
            let netem = check::inside(from, &doing, |kernel| out(kernel, shape, link, handle))?;
            places.push(Place { name: format!("out by {}", link.name), netem });
        }
        if shape.direction.cuts_in() {
            let number = lot();
            let name = format!("temblor{number:04x}");
            record(undo::Qdisc::about_to_add_link(netns, &name)?)?;
            let netem =
                check::inside(from, &doing, |kernel| helper(kernel, shape, &name, number << 16))?;
            let preferences = matches::PREFERENCES;
            record(undo::Qdisc::about_to_add_ingress(netns, link, preferences, &name)?)?;
            check::inside(from, &doing, |kernel| catch(kernel, shape, link, netem.link))?;
            places.push(Place { name: format!("in by {}", link.name), netem });
        }
    }
    Ok(places)
}

/// Makes on one interface whatever a shape takes, without a record: for a namespace that goes
/// with what is in it.
pub(super) fn try_out(kernel: &mut Netlink, shape: &Shape, link: &tc::Link) -> io::Result<()> {
    let number = lot();
    if shape.direction.cuts_out() {
        out(kernel, shape, link, number << 16)?;
    }
    if shape.direction.cuts_in() {
        let netem = helper(kernel, shape, &format!("temblor{number:04x}"), number << 16)?;
        catch(kernel, shape, link, netem.link)?;
    }
    Ok(())
}

/// A root queue with a netem in its second class, and filters that lead there.
fn out(kernel: &mut Netlink, shape: &Shape, link: &tc::Link, handle: u32) -> io::Result<tc::Qdisc> {
    // `tc_prio_qopt`: two bands, and every priority in the first.
    let bands = [2_i32.to_ne_bytes().as_slice(), &[0; 16]].concat();
    tc::add_qdisc(kernel, &qdisc(link.index, handle, tc::ROOT, "prio"), &bands)?;
    let class = handle | NETEM_CLASS;
    let netem = qdisc(link.index, handle + (1 << 16), class, "netem");
    tc::add_qdisc(kernel, &netem, &options::options(Some(&shape.dose), shape.seed))?;
    for (filter, options) in matches::matches(shape, Way::Out, Then::Class(class)) {
        tc::add_filter(kernel, link.index, handle, &filter, &options)?;
    }
    Ok(netem)
}

/// An interface that gives back what it is given, through a netem.
fn helper(kernel: &mut Netlink, shape: &Shape, name: &str, handle: u32) -> io::Result<tc::Qdisc> {
    let index = tc::add_ifb(kernel, name)?;
    let netem = qdisc(index, handle, tc::ROOT, "netem");
    tc::add_qdisc(kernel, &netem, &options::options(Some(&shape.dose), shape.seed))?;
    Ok(netem)
}

/// Filters that give what comes in to the helper.
fn catch(kernel: &mut Netlink, shape: &Shape, link: &tc::Link, helper: u32) -> io::Result<()> {
    tc::add_ingress(kernel, link.index)?;
    for (filter, options) in matches::matches(shape, Way::In, Then::Redirect(helper)) {
        tc::add_filter(kernel, link.index, tc::INGRESS_HANDLE, &filter, &options)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_below_those_that_the_kernel_gives() {
        for _ in 0..1000 {
            // The netem of a root has the next number.
            assert!((0x7000..0x7fff).contains(&lot()));
        }
    }
}
