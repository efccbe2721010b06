use std::time::Duration;

use temblor_host::netns::Netns;
use temblor_host::target::Target;

use super::*;
use crate::nft::OwnedTable;

fn shape(netns: Netns, to: &[&str], ports: &[u16], direction: Direction, dose: Dose) -> Shape {
    Shape {
        from: Target::of_namespace("api", netns, vec![]),
        to: to.iter().map(|a| Peer { name: "db".into(), address: a.parse().unwrap() }).collect(),
        ports: ports.into(),
        direction,
        dose,
        seed: None,
    }
}

const DELAY: Dose = Dose::Latency { delay: Duration::from_millis(1), jitter: Duration::ZERO };

fn elsewhere() -> Netns {
    Netns::open(std::fs::File::open("/proc/self/exe").unwrap()).unwrap()
}

#[test]
fn what_is_chosen_goes_to_the_queue_and_what_passed_is_counted_behind_it() {
    let shape = shape(elsewhere(), &["10.0.0.5"], &[5432], Direction::Out, DELAY);
    let text = table(
        &shape,
        "temblor_1_1",
        &parts(&shape),
        Some(EchoIds { through: 7, beside: 8 }),
        Some(&[40_000]),
    );
    assert_eq!(
        text,
        r#"table inet temblor_1_1 {
	flags owner
	comment "network.latency of api"
	chain queue_out {
		queue num 40000 bypass
	}
	chain outgoing {
		type filter hook output priority 350; policy accept;
		oifname "lo" accept
		icmp type echo-request icmp id 8 accept
		icmp type echo-request icmp id 7 goto queue_out
		icmpv6 type echo-request icmpv6 id 8 accept
		icmpv6 type echo-request icmpv6 id 7 goto queue_out
		ip daddr 10.0.0.5 meta l4proto { tcp, udp } th dport { 5432 } counter goto queue_out comment "part 0"
	}
	chain gone {
		type filter hook output priority 351; policy accept;
		oifname "lo" accept
		icmp type echo-request icmp id 8 accept
		icmp type echo-request icmp id 7 accept
		icmpv6 type echo-request icmpv6 id 8 accept
		icmpv6 type echo-request icmpv6 id 7 accept
		ip daddr 10.0.0.5 meta l4proto { tcp, udp } th dport { 5432 } counter accept comment "part 1"
	}
}
"#
    );
}

#[test]
fn copies_are_known_before_the_loopback_is_spared() {
    let shape = shape(elsewhere(), &[], &[], Direction::In, Dose::Duplicate { share: 0.5 });
    let parts = parts(&shape);
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["in from everybody", "in from everybody", "copies in"]);
    let text = table(&shape, "temblor_1_1", &parts, None, None);
    assert!(text.contains("chain queue_in {\n\t}"), "{text}");
    let rules: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("chain incoming"))
        .skip(2)
        .map(str::trim)
        .take(4)
        .collect();
    assert_eq!(rules[0], "meta mark 0x7e3b1043 counter accept comment \"part 2\"");
    assert_eq!(rules[1], "iifname \"lo\" accept");
    assert!(rules[2].starts_with("icmpv6 type { nd-router-solicit"));
    assert_eq!(rules[3], "counter goto queue_in comment \"part 0\"");
}

#[test]
fn a_peer_named_twice_is_one_rule() {
    let to = ["10.0.0.5", "10.0.0.5", "10.0.0.0/24", "0.0.0.0/0", "::/0"];
    let shape = shape(elsewhere(), &to, &[], Direction::Both, DELAY);
    let matched: Vec<String> = parts(&shape)
        .into_iter()
        .filter(|part| part.way == Way::Out && part.counts == Counts::Handed)
        .map(|part| part.matched)
        .collect();
    assert_eq!(
        matched,
        ["ip daddr 10.0.0.5 ", "ip daddr 10.0.0.0/24 ", "meta nfproto ipv4 ", "meta nfproto ipv6 "]
    );
}

#[test]
fn nft_accepts_whatever_is_asked_for() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let netns = crate::network::partition::empty_netns().unwrap();
    for to in [&[][..], &["10.0.0.5"], &["0.0.0.0/0", "fd00::/8"]] {
        for ports in [&[][..], &[5432], &[1, 80, 65_535]] {
            for direction in [Direction::Both, Direction::In, Direction::Out] {
                for dose in [DELAY, Dose::Duplicate { share: 0.1 }] {
                    let shape = shape(netns.clone(), to, ports, direction, dose);
                    let name = crate::nft::next_name();
                    let echo = Some(EchoIds { through: 1, beside: u16::MAX });
                    let parts = parts(&shape);
                    let commands = table(&shape, &name, &parts, echo, None);
                    match OwnedTable::create(&netns, name, commands) {
                        Ok(made) => {
                            let chains: Vec<&str> = Way::all(direction)
                                .into_iter()
                                .flat_map(Way::counting_chains)
                                .collect();
                            let listing = made.list_chains(&chains).unwrap();
                            let counters = crate::nft::listing::counters(&listing, parts.len());
                            assert!(counters.is_some(), "{listing}");
                        }
                        Err(error) => {
                            // All else that was tried before Linux 5.12 is there.
                            assert!(error.to_string().contains("Linux 5.12"), "{error}");
                        }
                    }
                }
            }
        }
    }
}
