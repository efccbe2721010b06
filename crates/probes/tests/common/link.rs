//! Two network namespaces joined by a link. They have no names and no mounts: the last handle takes
//! them, and all that is in them, away.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use temblor_host::netns::Netns;

pub(crate) struct World {
    pub(crate) client: Netns,
    pub(crate) server: Netns,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { client: namespace(), server: namespace() };
        let other = format!("/proc/{}/fd/{}", std::process::id(), world.server.as_fd().as_raw_fd());
        let mac = |last| format!("02:00:00:00:77:0{last}");
        ip(
            &world.client,
            &format!(
                "link add c address {} type veth peer name s address {} netns {other}",
                mac(1),
                mac(2)
            ),
        );
        for (netns, link, last) in [(&world.client, "c", 1), (&world.server, "s", 2)] {
            ip(netns, "link set lo up");
            ip(netns, &format!("addr add 10.77.0.{last}/24 dev {link}"));
            ip(netns, &format!("addr add fd77::{last}/64 dev {link} nodad"));
            ip(netns, &format!("link set {link} up"));
            // Known neighbours: a link that has just come up loses the first question about
            // them, and the second comes a second later.
            let peer = 3 - last;
            for address in [format!("10.77.0.{peer}"), format!("fd77::{peer}")] {
                let lladdr = mac(peer);
                ip(netns, &format!("neigh add {address} lladdr {lladdr} dev {link} nud permanent"));
            }
        }
        world
    }
}

fn namespace() -> Netns {
    std::thread::spawn(|| {
        // SAFETY: only the network namespace is unshared, which touches no memory and no
        // descriptor, and this thread ends at once.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        Netns::of_this_thread().unwrap()
    })
    .join()
    .unwrap()
}

fn ip(netns: &Netns, command: &str) {
    let status = netns
        .run(|| Command::new("ip").args(command.split_whitespace()).status().unwrap())
        .unwrap();
    assert!(status.success(), "ip {command}");
}
