//! Two network namespaces joined by a link, which nobody but this test has ever heard of: they
//! have no name anywhere, and are gone when the last handle to them is.

#![expect(unreachable_pub, reason = "it is included in each program that uses it")]

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;
use std::time::Duration;

use temblor_faults::network::{Action, Direction, Partition, Peer};
use temblor_faults::undo::Guard;
use temblor_host::netns::Netns;
use temblor_host::target::Target;

/// `a` is cut off from `b`; `b` has two addresses of each family.
pub struct Pair {
    pub a: Netns,
    pub b: Netns,
}

pub const A4: &str = "10.77.0.1";
pub const B4: &str = "10.77.0.2";
pub const OTHER4: &str = "10.77.0.3";
pub const A6: &str = "fd77::1";
pub const B6: &str = "fd77::2";
pub const OTHER6: &str = "fd77::3";

/// Says why a test is skipped where it cannot run.
pub fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (it makes network namespaces)");
        return false;
    }
    let owner = temblor_host::kernel_at_least(5, 12);
    if !owner {
        eprintln!("skipped: needs Linux 5.12 (tables that end with their owner)");
    }
    owner
}

/// A new network namespace with nothing in it.
pub fn new_netns() -> Netns {
    std::thread::spawn(|| {
        // SAFETY: a new network namespace for this thread alone; no file is affected.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        Netns::of_this_thread().unwrap()
    })
    .join()
    .unwrap()
}

/// A path at which another process can open the namespace while this one lives.
pub fn path(netns: &Netns) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

/// Runs a command in a namespace and gives what it printed.
pub fn run_in(netns: &Netns, command: &str) -> String {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let ended = netns.run(|| Command::new(words[0]).args(&words[1..]).output()).unwrap().unwrap();
    assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

impl Pair {
    pub fn new() -> Self {
        let (a, b) = (new_netns(), new_netns());
        run_in(&a, &format!("ip link add e0 type veth peer name e0 netns {}", path(&b)));
        // Addresses after links: IPv6 asks for its neighbours a second late the other way round.
        for netns in [&a, &b] {
            run_in(netns, "ip link set lo up");
            run_in(netns, "ip link set e0 up");
        }
        for (netns, addresses) in [(&a, &[A4, A6][..]), (&b, &[B4, OTHER4, B6, OTHER6])] {
            for address in addresses {
                let len = if address.contains(':') { "64 nodad" } else { "24" };
                run_in(netns, &format!("ip addr add {address}/{len} dev e0"));
            }
        }
        let pair = Self { a, b };
        // Nobody listens, so a connect is refused as
        // soon as the two can talk.
        for address in [B4, B6] {
            let to = SocketAddr::new(address.parse().unwrap(), 1);
            let talks = (0..100).any(|_| {
                let tried = pair.a.run(|| TcpStream::connect_timeout(&to, BOUND / 100)).unwrap();
                tried.unwrap_err().kind() == io::ErrorKind::ConnectionRefused
            });
            assert!(talks, "{address} does not answer");
        }
        pair
    }

    /// A partition of `a` from one address of `b`.
    pub fn partition(&self, to: &str, direction: Direction, action: Action) -> Partition {
        Partition {
            from: Target::of_namespace(
                "client",
                self.a.clone(),
                vec![A4.parse().unwrap(), A6.parse().unwrap()],
            ),
            to: vec![Peer { name: "server".into(), address: to.parse().unwrap() }],
            ports: vec![],
            direction,
            action,
        }
    }

    /// Listens in `b`.
    pub fn listen(&self, address: &str) -> TcpListener {
        let address: IpAddr = address.parse().unwrap();
        self.b.run(|| TcpListener::bind((address, 0))).unwrap().unwrap()
    }

    /// Connects from `a`.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.a.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(400))).unwrap()
    }

    /// A connection that is known to work, as (side in `a`, side in `b`).
    pub fn connection(&self, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let ours = self.connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        assert_flows(&ours, &theirs, BOUND);
        assert_flows(&theirs, &ours, BOUND);
        (ours, theirs)
    }
}

/// Longer than anything that works takes, on a machine with other things to do.
pub const BOUND: Duration = Duration::from_secs(5);
/// Long enough for anything that is not cut: both ends are on this machine.
pub const SHORT: Duration = Duration::from_millis(300);

/// Sends a byte and sees it arrive.
#[track_caller]
pub fn assert_flows(from: &TcpStream, to: &TcpStream, within: Duration) {
    io::Write::write_all(&mut &*from, b"x").unwrap();
    receive(to, within).unwrap();
}

/// Waits for a byte.
pub fn receive(mut stream: &TcpStream, within: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(within)).unwrap();
    stream.read_exact(&mut [0])
}

/// Whether a failed read or connect is for want of time.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A journal that goes with the test's directory.
pub fn guard() -> Guard {
    let dir = std::env::temp_dir().join(format!("temblor-faults-{}", std::process::id()));
    Guard::without_guardian(&dir).unwrap()
}
