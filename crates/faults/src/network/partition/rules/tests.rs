use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use super::*;
use crate::Fault as _;
use crate::network::Direction;

fn partition(
    service: &str,
    to: &[(&str, &str)],
    ports: &[u16],
    direction: Direction,
    action: Action,
) -> Partition {
    Partition {
        from: Target::of_namespace(service, Netns::of_this_thread().unwrap(), vec![]),
        to: to
            .iter()
            .map(|(name, a)| Peer { name: (*name).into(), address: a.parse().unwrap() })
            .collect(),
        ports: ports.into(),
        direction,
        action,
    }
}

fn text(partition: &Partition) -> String {
    let own: Vec<IpAddr> = partition
        .to
        .iter()
        .map(|peer| match peer.address.address() {
            IpAddr::V4(_) => IpAddr::from([10, 9, 9, 9]),
            IpAddr::V6(_) => "fd99::9".parse().unwrap(),
        })
        .collect();
    table(partition, "temblor_1_1", &parts(partition), &own)
}

#[test]
fn dropping_turns_back_what_goes_out_and_drops_what_comes_in() {
    let made = partition(
        "trading-api",
        &[("postgres", "10.0.0.5"), ("postgres", "fd00::5")],
        &[],
        Direction::Both,
        Action::Drop,
    );
    let expected = r#"table inet temblor_1_1 {
	flags owner
	comment "network.partition of trading-api"
	chain returned {
		type filter hook prerouting priority -350; policy accept;
		iifname "lo" meta mark 0x7e3b1042 counter drop
	}
	chain outgoing {
		type route hook output priority 350; policy accept;
		oifname "lo" accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip daddr 10.0.0.5 counter meta mark set 0x7e3b1042 ip daddr set 10.9.9.9 accept comment "part 0"
		ip6 daddr fd00::5 counter meta mark set 0x7e3b1042 ip6 daddr set fd99::9 accept comment "part 1"
	}
	chain incoming {
		type filter hook input priority -350; policy accept;
		iifname "lo" accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip saddr 10.0.0.5 counter drop comment "part 2"
		ip6 saddr fd00::5 counter drop comment "part 3"
	}
}
"#;
    assert_eq!(text(&made), expected);
}

#[test]
fn rejecting_answers_each_protocol_in_its_own_way() {
    let made = partition(
        "api",
        &[("10.0.0.5", "10.0.0.5")],
        &[6379, 5432, 6379],
        Direction::Out,
        Action::Reject,
    );
    let expected = r#"table inet temblor_1_1 {
	flags owner
	comment "network.partition of api"
	chain outgoing {
		type filter hook output priority 350; policy accept;
		oifname "lo" accept
		tcp flags & rst == rst accept
		icmp type destination-unreachable accept
		icmpv6 type destination-unreachable accept
		ip daddr 10.0.0.5 tcp dport { 5432, 6379 } counter reject with tcp reset comment "part 0"
		ip daddr 10.0.0.5 udp dport { 5432, 6379 } counter reject with icmp type port-unreachable comment "part 1"
	}
}
"#;
    assert_eq!(text(&made), expected);
}

#[test]
fn parts_are_named_for_people() {
    let names = |ports: &[u16], direction, action| -> Vec<String> {
        let made = partition("api", &[("db", "10.0.0.5")], ports, direction, action);
        parts(&made).iter().map(Part::name).collect()
    };
    assert_eq!(
        names(&[], Direction::Both, Action::Drop),
        ["out to db (10.0.0.5)", "in from db (10.0.0.5)"]
    );
    assert_eq!(
        names(&[5432], Direction::Out, Action::Reject),
        ["out to db (10.0.0.5), port 5432, TCP", "out to db (10.0.0.5), port 5432, UDP"]
    );
    assert_eq!(names(&[2, 1], Direction::In, Action::Drop), ["in from db (10.0.0.5), ports 1, 2"]);
    assert_eq!(
        names(&[], Direction::In, Action::Reject),
        ["in from db (10.0.0.5), TCP", "in from db (10.0.0.5), all but TCP"]
    );
}

#[test]
fn a_plan_says_every_change_and_who_undoes_it() {
    let made = partition("api", &[("db", "10.0.0.5")], &[5432], Direction::Both, Action::Drop);
    let plan = made.plan();
    let inode = made.from.netns.inode();
    let pid = std::process::id();
    let said: Vec<(&str, &str)> =
        plan.iter().map(|change| (change.what.as_str(), change.undo.as_str())).collect();
    let table = format!(
        "add an nftables table inet temblor_{pid}_N with an owner, in the network namespace of \
         api (inode {inode})"
    );
    assert_eq!(
        said,
        [
            (
                table.as_str(),
                "the kernel, when the table's owner closes its socket: at the end of the fault, \
                 or when this program dies"
            ),
            ("drop what goes out to db (10.0.0.5), port 5432", "ends with the table"),
            ("drop what comes in from db (10.0.0.5), port 5432", "ends with the table"),
        ]
    );
}

fn any_peer() -> impl Strategy<Value = Peer> {
    // Zeroing the bits past the length makes every draw a network.
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(bits, len)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        (IpAddr::from(Ipv4Addr::from_bits(bits & mask)), len)
    });
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(bits, len)| {
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        (IpAddr::from(Ipv6Addr::from_bits(bits & mask)), len)
    });
    (".*", prop_oneof![v4, v6]).prop_map(|(name, (address, len))| Peer {
        name,
        address: Prefix::new(address, len).unwrap(),
    })
}

fn any_partition() -> impl Strategy<Value = Partition> {
    (
        ".*",
        prop::collection::vec(any_peer(), 1..8),
        prop::collection::vec(1u16.., 0..5),
        prop_oneof![Just(Direction::Both), Just(Direction::Out), Just(Direction::In)],
        prop_oneof![Just(Action::Drop), Just(Action::Reject)],
    )
        .prop_map(|(service, to, ports, direction, action)| {
            let mut made = partition(&service, &[], &ports, direction, action);
            made.to = to;
            made
        })
}

/// Whether nft itself, in a namespace of its own, would accept the rules.
fn nft_accepts(netns: &Netns, rules: &str) -> Result<(), String> {
    netns
        .run(|| {
            let mut nft = Command::new("nft")
                .args(["--check", "--file", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
            let ended = nft.wait_with_output().unwrap();
            if ended.status.success() {
                Ok(())
            } else {
                Err(format!("{}\n{rules}", String::from_utf8_lossy(&ended.stderr)))
            }
        })
        .unwrap()
}

#[test]
fn nft_accepts_whatever_is_asked_for() {
    if !(rustix::process::geteuid().is_root() && temblor_host::kernel_at_least(5, 12)) {
        eprintln!("skipped: needs root and Linux 5.12 (nft checks rules against the kernel)");
        return;
    }
    let netns = std::thread::spawn(|| {
        // SAFETY: a new network namespace for this thread alone; no file is affected.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        Netns::of_this_thread().unwrap()
    })
    .join()
    .unwrap();
    assert!(nft_accepts(&netns, "table inet t {\n\tflags nonsense\n}\n").is_err());
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    proptest!(config, |(made in any_partition())| {
        let accepted = nft_accepts(&netns, &text(&made));
        prop_assert!(accepted.is_ok(), "{}", accepted.unwrap_err());
        // Every rule has its own number, so that every counter finds its part.
        let numbered = parts(&made).len();
        for number in 0..=numbered {
            let found = text(&made).matches(&format!("comment \"part {number}\"")).count();
            prop_assert_eq!(found, usize::from(number < numbered));
        }
    });
}
