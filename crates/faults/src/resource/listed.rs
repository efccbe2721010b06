//! What the kernel of a network namespace lists of its TCP connections.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use temblor_host::netns::Netns;

const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) local: IpAddr,
    pub(super) port: u16,
    pub(super) remote: SocketAddr,
    state: u8,
    /// Of a listening socket: connections that wait to be accepted.
    pub(super) waiting: u64,
    pub(super) inode: u64,
}

impl Row {
    pub(super) fn is_established(&self) -> bool {
        self.state == ESTABLISHED
    }

    pub(super) fn is_listening(&self) -> bool {
        self.state == LISTEN
    }
}

/// The sockets of a namespace whose own port is `port`, the server's side of its connections.
pub(super) fn at_port(netns: &Netns, port: u16) -> io::Result<Vec<Row>> {
    // Most lines of a busy server's namespace may be of other ports: they are not taken apart.
    let wanted = format!(":{port:04X} ");
    let mut rows = read(netns, |line| line.contains(&wanted))?;
    rows.retain(|row| row.port == port);
    Ok(rows)
}

/// The listening sockets of a namespace.
pub(super) fn listening(netns: &Netns) -> io::Result<Vec<Row>> {
    let mut rows = read(netns, |line| line.contains(" 0A "))?;
    rows.retain(Row::is_listening);
    Ok(rows)
}

/// Connections of a namespace that found their listener's queue full, since it was made.
pub(super) fn overflows(netns: &Netns) -> io::Result<u64> {
    let text = inside(netns, || fs::read_to_string("/proc/thread-self/net/netstat"))??;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut both = names.split(' ').zip(values.split(' '));
    let found = both.find(|(name, _)| *name == "ListenOverflows");
    found.and_then(|(_, value)| value.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The sockets that a process has open, by inode.
pub(super) fn sockets_of(pid: u32) -> io::Result<HashSet<u64>> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect())
}

/// Runs `work` in a namespace. No right is needed where it is the one that the caller is in.
pub(super) fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if Netns::of_this_thread()? == *netns { Ok(work()) } else { netns.run(work) }
}

fn read(netns: &Netns, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Row>> {
    let texts = inside(netns, || {
        ["tcp", "tcp6"].map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")))
    })?;
    let mut rows = Vec::new();
    for text in texts {
        match text {
            Ok(text) => rows.extend(text.lines().filter(|line| is_wanted(line)).filter_map(row)),
            // A kernel without IPv6 has no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let waiting = u64::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()?;
    let inode = fields.nth(4)?.parse().ok()?;
    Some(Row { local: local.ip(), port: local.port(), remote, state, waiting, inode })
}

/// `0100007F:1538`: words of four bytes, each in the machine's own order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word =
        |at: usize| Some(u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000003 00:00000000 00000000   101        0 1683 1 0 100 0 0 10 0
   1: 0100007F:1538 0200000A:9C40 01 00000000:00000000 00:00000000 00000000   101        0 1684 1 0 100 0 0 10 0
   2: 0200000A:9C40 0100007F:1538 01 00000000:00000000 00:00000000 00000000     0        0 1685 1 0 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:1538 0000000000000000FFFF00000200000A:9C41 01 00000000:00000000 00:00000000 00000000 0 0 1686 1 0
   4: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1687 1 0
   5: short:1538 
";
        let rows: Vec<Row> = text.lines().filter_map(row).collect();
        let lines: Vec<String> = rows
            .iter()
            .map(|r| format!("{} {} {} {} {}", r.local, r.remote, r.state, r.waiting, r.inode))
            .collect();
        assert_eq!(
            lines,
            [
                "127.0.0.1 0.0.0.0:0 10 3 1683",
                "127.0.0.1 10.0.0.2:40000 1 0 1684",
                "10.0.0.2 127.0.0.1:5432 1 0 1685",
                "127.0.0.1 10.0.0.2:40001 1 0 1686",
                "::1 [::]:0 10 0 1687",
            ]
        );
        assert!(rows[0].is_listening() && rows[1].is_established());
    }
}
