//! What the tests ask of a Redis server, and how they hold a fault.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_faults::undo::Guard;
use temblor_faults::{Fault, Reverted};
use temblor_host::netns::Netns;
use temblor_host::target::Target;
use temblor_tests::wait_for;

/// Where Redis listens.
pub(crate) const PORT: u16 = 6379;
/// Longer than anything that works takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for anything that is not broken: both ends are on this machine.
pub(crate) const SHORT: Duration = Duration::from_millis(500);

/// A connection from a namespace to a server, as patient as that at every step.
pub(crate) fn connect(from: &Netns, to: &Target, patience: Duration) -> io::Result<TcpStream> {
    let address = SocketAddr::new(first_address(to), PORT);
    let stream = from.run(|| TcpStream::connect_timeout(&address, patience))??;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

pub(crate) fn first_address(target: &Target) -> IpAddr {
    *target.addresses.first().unwrap_or_else(|| panic!("{} has no address", target.service))
}

/// Sends a command and reads the first of the answer.
pub(crate) fn command(mut stream: &TcpStream, command: &str) -> io::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

/// Connects and asks; how long it took.
pub(crate) fn ping(from: &Netns, to: &Target, patience: Duration) -> io::Result<Duration> {
    let start_ns = now_ns();
    let stream = connect(from, to, patience)?;
    match command(&stream, "PING")?.as_str() {
        "+PONG\r\n" => Ok(Duration::from_nanos(now_ns() - start_ns)),
        other => Err(io::Error::other(other.to_owned())),
    }
}

/// Waits until a server answers.
pub(crate) fn answers(from: &Netns, to: &Target) {
    wait_for(&format!("an answer of {}", to.service), PATIENCE, || ping(from, to, SHORT).ok());
}

/// Puts a fault in place, looks at the world, waits for an effect, and undoes it.
pub(crate) fn held(fault: &dyn Fault, guard: &Guard, during: impl FnOnce()) -> Reverted {
    let name = fault.name();
    fault.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(!fault.plan().is_empty(), "{name} plans nothing");
    let mut injected = fault.inject(guard).unwrap_or_else(|e| panic!("{name}: {e}"));
    during();
    wait_for(&format!("an effect of {name}"), PATIENCE, || {
        (injected.effect().unwrap().count > 0).then_some(())
    });
    let reverted = injected.revert().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(reverted.verified, "something of {name} is left");
    assert!(reverted.effect.count > 0, "{name}: {:?}", reverted.effect);
    reverted
}

/// A new network namespace, known to nobody by name.
pub(crate) fn new_netns() -> Netns {
    let thread = std::thread::spawn(|| {
        // SAFETY: a new network namespace for this thread alone; no file is affected.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        Netns::of_this_thread().unwrap()
    });
    thread.join().unwrap()
}

/// Joins two namespaces by a link with these addresses.
pub(crate) fn join(a: &Netns, a_address: &str, b: &Netns, b_address: &str) {
    let b_path = format!("/proc/{}/fd/{}", std::process::id(), b.as_fd().as_raw_fd());
    run_in(a, &format!("ip link add e0 type veth peer name e0 netns {b_path}"));
    for (netns, address) in [(a, a_address), (b, b_address)] {
        run_in(netns, "ip link set lo up");
        run_in(netns, "ip link set e0 up");
        run_in(netns, &format!("ip addr add {address}/24 dev e0"));
    }
}

fn run_in(netns: &Netns, command: &str) {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let ended = netns.run(|| Command::new(words[0]).args(&words[1..]).output()).unwrap().unwrap();
    assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
}
