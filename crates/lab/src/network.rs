//! The lab's network: a bridge in a namespace without a name, a namespace a service, and one link
//! to the host.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use temblor_host::netns::Netns;

use crate::error::{Doing, Error, Result};
use crate::plan::Plan;
use crate::range::{Range, Taken};

/// The bridge's name: only the lab's own namespace knows it.
const BRIDGE: &str = "lab";
/// A service's own link.
const SERVICE_LINK: &str = "eth0";
/// A dump of more routes or addresses than this is cut: what matters is this machine's own few,
/// and a router with a full table is no place for a lab.
const DUMP_ENTRIES_MAX: usize = 100_000;

/// A lab's network. It is gone when this is dropped and the processes in it have ended.
#[derive(Debug)]
pub(crate) struct Network {
    host: Netns,
    link: String,
    /// Held open: the bridge lives in there.
    _bridge: Netns,
    /// One a service, in the plan's order.
    pub(crate) services: Vec<Netns>,
}

impl Network {
    /// Makes everything. When this fails, what was made goes with the namespaces.
    pub(crate) fn create(plan: &Plan, link: &str) -> Result<Self> {
        let host = this_netns()?;
        let bridge = new_netns()?;
        let services = plan.services.iter().map(|_| new_netns()).collect::<Result<Vec<_>>>()?;
        for netns in &services {
            // Each namespace has its own: servers need no privilege for low ports in here.
            sysctl(netns, "net/ipv4/ip_unprivileged_port_start", "0")?;
        }
        for netns in services.iter().chain([&bridge]) {
            // The lab speaks IPv4: no neighbour discovery among its packets. Absent where the
            // kernel has no IPv6, and then there is nothing to switch off.
            let _ = sysctl(netns, "net/ipv6/conf/all/disable_ipv6", "1");
            let _ = sysctl(netns, "net/ipv6/conf/default/disable_ipv6", "1");
        }
        let network = Self { host, link: link.to_owned(), _bridge: bridge.clone(), services };
        within(&bridge, async |handle| network.make_bridge(&handle, plan).await)?;
        for (service, netns) in plan.services.iter().zip(&network.services) {
            let prefix = plan.network.prefix();
            within(netns, async |handle| {
                link_up(&handle, "lo").await?;
                add_address(&handle, SERVICE_LINK, service.address, prefix).await?;
                link_up(&handle, SERVICE_LINK).await
            })?;
        }
        within(&network.host, async |handle| {
            quiet_ipv6(&handle, link).await;
            add_address(&handle, link, plan.host_address, plan.network.prefix()).await?;
            link_up(&handle, link).await
        })?;
        Ok(network)
    }

    async fn make_bridge(&self, handle: &Handle, plan: &Plan) -> Result<()> {
        let add = handle.link().add(LinkBridge::new(BRIDGE).up().build());
        add.execute().await.doing(|| "make the lab's bridge".into())?;
        let bridge = index_of(handle, BRIDGE).await?;
        for (n, (service, netns)) in plan.services.iter().zip(&self.services).enumerate() {
            add_veth(handle, bridge, &port_name(n, &service.name), SERVICE_LINK, netns).await?;
        }
        match add_veth(handle, bridge, "host", &self.link, &self.host).await {
            Err(Error::Network { source: rtnetlink::Error::NetlinkError(error), .. })
                if error.raw_code().abs() == rustix::io::Errno::EXIST.raw_os_error() =>
            {
                Err(link_taken(&self.link))
            }
            made => made,
        }
    }

    /// Takes the host's link away at once; the namespaces would do it a moment later.
    pub(crate) fn remove(self) -> Result<()> {
        within(&self.host, async |handle| delete_link(&handle, &self.link).await)
    }
}

/// Makes a bridge and a pair of links in namespaces that go at once: both are modules on most
/// kernels, and what is missing is better known before anything is started.
pub(crate) fn trial() -> Result<()> {
    let (netns, other) = (new_netns()?, new_netns()?);
    within(&netns, async |handle| {
        let add = handle.link().add(LinkBridge::new(BRIDGE).build());
        let made = add.execute().await.doing(|| "make a bridge".into());
        made.map_err(|error| lacks(error, "bridges", "bridge", "CONFIG_BRIDGE"))?;
        let bridge = index_of(&handle, BRIDGE).await?;
        let made = add_veth(&handle, bridge, "a", "b", &other).await;
        made.map_err(|error| lacks(error, "virtual network links", "veth", "CONFIG_VETH"))
    })
}

/// A kernel that does not know a kind of link says that it does not support it.
fn lacks(error: Error, what: &str, module: &str, option: &str) -> Error {
    match error {
        Error::Network { source: rtnetlink::Error::NetlinkError(said), .. }
            if said.raw_code().abs() == rustix::io::Errno::OPNOTSUPP.raw_os_error() =>
        {
            Error::Missing {
                what: format!("{what}, which this kernel does not have"),
                how: format!(
                    "load the module (modprobe {module}), or boot a kernel with {option}; after \
                     an upgrade of the running kernel's package, boot the new kernel"
                ),
            }
        }
        other => other,
    }
}

/// Refuses to go on when the host's link would have a name that is in use.
pub(crate) fn link_taken(link: &str) -> Error {
    Error::NameTaken(format!(
        "there is a network link named {link} already, and no lab's state tells of it; remove it \
         (ip link delete {link}), or choose another name with TEMBLOR_LAB_LINK"
    ))
}

/// Whether the host has a link of that name.
pub(crate) fn link_exists(link: &str) -> Result<bool> {
    within(&this_netns()?, async |handle| Ok(find_link(&handle, link).await?.is_some()))
}

/// Deletes the host's link if it is there and has this address, which makes it the lab's.
pub(crate) fn delete_stale_link(link: &str, address: Ipv4Addr) -> Result<bool> {
    within(&this_netns()?, async |handle| {
        let Some(found) = find_link(&handle, link).await? else { return Ok(false) };
        let ours = addresses(&handle).await?;
        if !ours.iter().any(|(index, a, _)| *index == found.header.index && *a == address) {
            return Ok(false);
        }
        delete_link(&handle, link).await?;
        Ok(true)
    })
}

/// What of IPv4 the host uses: its addresses' networks and its routes, the default aside.
pub(crate) fn taken() -> Result<Vec<Taken>> {
    within(&this_netns()?, async |handle| {
        let mut taken = Vec::new();
        for (index, address, prefix) in addresses(&handle).await? {
            let by = format!("link {index} has the address {address}/{prefix}");
            taken.push(Taken { range: Range::new(address, prefix), by });
        }
        let mut routes =
            pin!(handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute());
        let dump = "read the host's routes";
        while let Some(route) = routes.try_next().await.doing(|| dump.into())? {
            let prefix = route.header.destination_prefix_length;
            let destination = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
            let (Some(address), 1..) = (destination, prefix) else { continue };
            let by = format!("the host has a route to {address}/{prefix}");
            taken.push(Taken { range: Range::new(address, prefix), by });
            if taken.len() > DUMP_ENTRIES_MAX {
                break;
            }
        }
        name_links(&handle, &mut taken).await?;
        Ok(taken)
    })
}

/// People know links by name.
async fn name_links(handle: &Handle, taken: &mut [Taken]) -> Result<()> {
    let mut links = pin!(handle.link().get().execute());
    while let Some(link) = links.try_next().await.doing(|| "read the host's links".into())? {
        let Some(name) = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        }) else {
            continue;
        };
        let number = format!("link {} ", link.header.index);
        for entry in taken.iter_mut().filter(|entry| entry.by.starts_with(&number)) {
            entry.by = entry.by.replacen(&number, &format!("{name} "), 1);
        }
    }
    Ok(())
}

async fn addresses(handle: &Handle) -> Result<Vec<(u32, Ipv4Addr, u8)>> {
    let mut found = Vec::new();
    let mut addresses = pin!(handle.address().get().execute());
    let dump = "read the host's addresses";
    while let Some(message) = addresses.try_next().await.doing(|| dump.into())? {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let (AddressFamily::Inet, Some(address)) = (message.header.family, address) {
            found.push((message.header.index, address, message.header.prefix_len));
        }
        if found.len() > DUMP_ENTRIES_MAX {
            break;
        }
    }
    Ok(found)
}

fn this_netns() -> Result<Netns> {
    Netns::of_this_thread().doing(|| "open this process's network namespace".into())
}

/// A namespace that only our handle, and later the processes in it, keep alive.
fn new_netns() -> Result<Netns> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: CLONE_NEWNET leaves the file descriptor table shared; it moves this thread
            // only, which ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            Netns::of_this_thread()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .doing(|| "make a network namespace (needs CAP_SYS_ADMIN)".into())
}

/// Runs requests inside a namespace, on a connection that belongs to it.
fn within<T: Send>(netns: &Netns, work: impl AsyncFnOnce(Handle) -> Result<T> + Send) -> Result<T> {
    let run = || -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "start a runtime".into())?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().doing(|| "open a netlink socket".into())?;
            let connection = tokio::spawn(connection);
            let done = work(handle).await;
            connection.abort();
            done
        })
    };
    netns.run(run).doing(|| "enter a network namespace (needs CAP_SYS_ADMIN)".into())?
}

fn sysctl(netns: &Netns, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    // /proc/sys/net shows the namespace of the thread that opens it.
    netns
        .run(|| std::fs::write(&path, value))
        .and_then(|written| written)
        .doing(|| format!("write {value} to {path} inside the lab"))
}

/// The bridge's ports carry a number, so that long names that begin alike stay apart.
fn port_name(n: usize, service: &str) -> String {
    let short: String = service.chars().take(11).collect();
    format!("{short}-{n}")
}

/// A pair of links: `name` here as a port of the bridge, `peer` in another namespace.
async fn add_veth(
    handle: &Handle,
    bridge: u32,
    name: &str,
    peer: &str,
    netns: &Netns,
) -> Result<()> {
    let peer = LinkUnspec::new_with_name(peer).setns_by_fd(netns.as_fd().as_raw_fd()).build();
    let pair: LinkMessage = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .controller(bridge)
        .up()
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    handle.link().add(pair).execute().await.doing(|| format!("make the link {name}"))
}

async fn find_link(handle: &Handle, name: &str) -> Result<Option<LinkMessage>> {
    let mut found = pin!(handle.link().get().match_name(name).execute());
    match found.try_next().await {
        Err(rtnetlink::Error::NetlinkError(error))
            if error.raw_code().abs() == rustix::io::Errno::NODEV.raw_os_error() =>
        {
            Ok(None)
        }
        found => found.doing(|| format!("look up the link {name}")),
    }
}

async fn index_of(handle: &Handle, name: &str) -> Result<u32> {
    let found = find_link(handle, name).await?;
    found.map(|link| link.header.index).ok_or_else(|| Error::Io {
        doing: format!("look up the link {name}"),
        source: rustix::io::Errno::NODEV.into(),
    })
}

async fn link_up(handle: &Handle, name: &str) -> Result<()> {
    let index = index_of(handle, name).await?;
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.doing(|| format!("set the link {name} up"))
}

async fn add_address(handle: &Handle, link: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
    let index = index_of(handle, link).await?;
    let add = handle.address().add(index, address.into(), prefix);
    add.execute().await.doing(|| format!("give {link} the address {address}/{prefix}"))
}

async fn delete_link(handle: &Handle, name: &str) -> Result<()> {
    let Some(link) = find_link(handle, name).await? else { return Ok(()) };
    handle.link().del(link.header.index).execute().await.doing(|| format!("delete the link {name}"))
}

/// Keeps the kernel from giving the host's link an IPv6 address of its own. A kernel without IPv6
/// refuses, and then there is nothing to keep it from.
async fn quiet_ipv6(handle: &Handle, name: &str) {
    let Ok(index) = index_of(handle, name).await else { return };
    let none = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let message = LinkUnspec::new_with_index(index)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![none]))
        .build();
    if let Err(error) = handle.link().set(message).execute().await {
        tracing::debug!(%error, "the host's link keeps its IPv6 address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_a_kind_that_the_kernel_does_not_know_is_something_missing() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root (a network namespace is made)");
            return;
        }
        let kind = |name: &str| {
            let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Other(
                name.to_owned(),
            ));
            let link = link.name("x".to_owned()).build();
            within(&new_netns().unwrap(), async |handle| {
                handle.link().add(link).execute().await.doing(|| "make it".into())
            })
            .map_err(|error| lacks(error, "links of no kind", "none", "CONFIG_NONE"))
        };
        let error = kind("no-such-kind").unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Machine, "{error}");
        assert!(error.to_string().contains("modprobe none"), "{error}");
        trial().unwrap();
    }

    #[test]
    fn port_names_fit_and_differ() {
        let names = ["order-flow-simulator", "order-flow-simulator-2", "nginx"];
        let ports: Vec<_> = names.iter().enumerate().map(|(n, s)| port_name(n + 20, s)).collect();
        assert!(ports.iter().all(|p| p.len() <= 15), "{ports:?}");
        assert_ne!(ports[0], ports[1]);
    }
}
