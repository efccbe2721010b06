//! A worse wire by netem, on real interfaces; most of it wants a kernel that has netem.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use support::*;
use temblor_faults::network::{Direction, Dose, Peer, Shape, netem};
use temblor_faults::{Error, Injected, Kind, Refusal};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn shape(pair: &Pair, to: &[&str], dose: Dose, direction: Direction) -> Shape {
    Shape {
        from: Target::of_namespace("client", pair.a.clone(), vec![A4.parse().unwrap()]),
        to: to
            .iter()
            .map(|a| Peer { name: "server".into(), address: a.parse().unwrap() })
            .collect(),
        ports: vec![],
        direction,
        dose,
        seed: Some(7),
    }
}

/// A pair, where the kernel has netem; else the reason why the test is skipped.
fn pair_with_netem() -> Option<Pair> {
    if !possible() {
        return None;
    }
    let pair = Pair::new();
    let dose = Dose::Loss { share: 0.5 };
    match netem::fits(&shape(&pair, &[], dose, Direction::Both)) {
        Ok(()) => Some(pair),
        Err(why @ Error::Missing { .. }) => {
            eprintln!("skipped: {why}");
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// All that traffic control has in a namespace, but for the counters.
fn traffic_control(netns: &Netns) -> String {
    let links = run_in(netns, "ip -o link show");
    let names: Vec<&str> =
        links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next()).collect();
    let filters: String = names
        .iter()
        .map(|name| run_in(netns, &format!("tc filter show dev {name} ingress")))
        .collect();
    run_in(netns, "tc qdisc show") + &names.join(" ") + &filters
}

struct Echo {
    server: UdpSocket,
    client: UdpSocket,
}

impl Echo {
    /// Datagrams from `a` to an address of `b`; nobody sends them back but [`Echo::round_trip`].
    fn new(pair: &Pair, address: &str) -> Self {
        let server = pair.b.run(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
        let own = if address.contains(':') { A6 } else { A4 };
        let client = pair.a.run(|| UdpSocket::bind((own, 0))).unwrap().unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        server.connect(client.local_addr().unwrap()).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(BOUND)).unwrap();
        }
        Self { server, client }
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement of the world, in a test")]
    fn round_trip(&self) -> Duration {
        let began = Instant::now();
        self.client.send(b"ping").unwrap();
        self.server.recv(&mut [0; 8]).unwrap();
        self.server.send(b"pong").unwrap();
        self.client.recv(&mut [0; 8]).unwrap();
        began.elapsed()
    }

    fn median(&self) -> Duration {
        let mut all: Vec<Duration> = (0..41).map(|_| self.round_trip()).collect();
        all.sort_unstable();
        all[all.len() / 2]
    }

    /// Sends so many datagrams of `bytes`, and says how many came.
    fn count(&self, sent: u32, bytes: usize) -> u32 {
        let mut came = 0;
        self.server.set_read_timeout(Some(SHORT)).unwrap();
        for number in 0..sent {
            self.client.send(&vec![0; bytes]).unwrap();
            // A receiver's buffer is small: it is emptied on the way.
            if number % 50 == 49 {
                self.server.set_nonblocking(true).unwrap();
                while self.server.recv(&mut [0; 2000]).is_ok() {
                    came += 1;
                }
                self.server.set_nonblocking(false).unwrap();
            }
        }
        while self.server.recv(&mut [0; 2000]).is_ok() {
            came += 1;
        }
        came
    }
}

fn apply(shape: &Shape) -> Box<dyn Injected> {
    netem::apply(shape, &guard()).unwrap()
}

fn assert_near(what: &str, seen: f64, asked: f64, within: f64) {
    eprintln!("{what}: asked {asked}, seen {seen}");
    assert!((seen - asked).abs() <= within, "{what}: asked {asked}, seen {seen}");
}

#[test]
fn a_queue_of_somebody_elses_is_left_as_it_is() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let tbf = "tc qdisc add dev e0 root handle 5: tbf rate 100mbit burst 32k latency 50ms";
    run_in(&pair.a, tbf);
    let before = traffic_control(&pair.a);
    let dose = Dose::Latency { delay: MS(20), jitter: MS(0) };
    let asked = shape(&pair, &[], dose, Direction::Out);
    for refused in [netem::fits(&asked).unwrap_err(), netem::plan(&asked).unwrap_err()] {
        assert!(matches!(refused, Error::Refused(Refusal::ForeignQdisc { .. })), "{refused}");
        assert!(refused.to_string().contains("e0 has the qdisc tbf 5:"), "{refused}");
    }
    assert_eq!(netem::apply(&asked, &guard()).err().unwrap().kind(), Kind::Input);
    assert_eq!(traffic_control(&pair.a), before);
    run_in(&pair.a, "tc qdisc del dev e0 root");
    run_in(&pair.a, "tc qdisc add dev e0 ingress");
    let before = traffic_control(&pair.a);
    let asked = Shape { direction: Direction::In, ..asked };
    let refused = netem::fits(&asked).unwrap_err();
    assert!(refused.to_string().contains("e0 has the qdisc ingress ffff:"), "{refused}");
    assert_eq!(traffic_control(&pair.a), before);
}

#[test]
fn a_kernel_without_netem_is_left_as_it_is() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let dose = Dose::Latency { delay: MS(20), jitter: MS(0) };
    let asked = shape(&pair, &[], dose, Direction::Both);
    let Err(missing) = netem::fits(&asked) else { return };
    assert_eq!(missing.kind(), Kind::Missing);
    let before = traffic_control(&pair.a);
    // It is found out half way: whatever had been made is undone.
    assert_eq!(netem::apply(&asked, &guard()).err().unwrap().kind(), Kind::Missing);
    assert_eq!(traffic_control(&pair.a), before);
}

#[test]
fn a_target_that_nobody_reaches_is_refused() {
    if !possible() {
        return;
    }
    let alone = Target::of_namespace("hermit", new_netns(), vec![]);
    let asked = Shape {
        from: alone,
        to: vec![],
        ports: vec![],
        direction: Direction::Out,
        dose: Dose::Loss { share: 0.5 },
        seed: None,
    };
    let refused = netem::fits(&asked).unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::NoInterface { .. })), "{refused}");
}

#[test]
fn a_delay_is_added_for_the_peer_alone_and_taken_off_again() {
    let Some(pair) = pair_with_netem() else { return };
    let before = traffic_control(&pair.a);
    for (to, other, direction) in [
        (B4, OTHER4, Direction::Out),
        (B6, OTHER6, Direction::Out),
        (B4, OTHER4, Direction::In),
        (B6, OTHER6, Direction::Both),
    ] {
        let (hit, spared) = (Echo::new(&pair, to), Echo::new(&pair, other));
        let base = hit.median();
        let dose = Dose::Latency { delay: MS(100), jitter: MS(0) };
        let mut fault = apply(&shape(&pair, &[to], dose, direction));
        let times = if direction == Direction::Both { 2.0 } else { 1.0 };
        let added = (hit.median().saturating_sub(base)).as_secs_f64() * 1e3;
        assert_near("added ms", added, 100.0 * times, 5.0 * times);
        assert!(spared.median() < MS(50), "{:?}", spared.median());
        let effect = fault.effect().unwrap();
        assert_eq!(effect.measure, "packets delayed");
        assert!(effect.count as f64 >= 41.0 * times, "{effect:?}");
        fault.set_level(0.5).unwrap();
        let added = (hit.median().saturating_sub(base)).as_secs_f64() * 1e3;
        assert_near("added ms at half", added, 50.0 * times, 5.0 * times);
        let reverted = fault.revert().unwrap();
        assert!(reverted.verified);
        assert_eq!(traffic_control(&pair.a), before);
        assert!(hit.median() < MS(50));
    }
}

#[test]
fn packets_keep_their_order_however_the_delay_wavers() {
    let Some(pair) = pair_with_netem() else { return };
    let echo = Echo::new(&pair, B4);
    // netem lets packets go on the processor that is at hand, and each has a backlog of its own at
    // the other end of a veth; so it is one processor that sends.
    let mut one = rustix::thread::CpuSet::new();
    one.set(0);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    let dose = Dose::Latency { delay: MS(20), jitter: MS(20) };
    let fault = apply(&shape(&pair, &[], dose, Direction::Out));
    for number in 0..200_u32 {
        echo.client.send(&number.to_be_bytes()).unwrap();
    }
    let mut came = [0; 4];
    for number in 0..200_u32 {
        echo.server.recv(&mut came).unwrap();
        assert_eq!(u32::from_be_bytes(came), number);
    }
    assert!(fault.revert().unwrap().verified);
}

#[test]
fn a_share_is_lost_and_counted() {
    let Some(pair) = pair_with_netem() else { return };
    let echo = Echo::new(&pair, B4);
    let dose = Dose::Loss { share: 0.1 };
    for direction in [Direction::Out, Direction::In] {
        let mut fault = apply(&shape(&pair, &[B4], dose, direction));
        let (sent, came) = if direction == Direction::Out {
            (10_000, echo.count(10_000, 64))
        } else {
            let back = Echo {
                server: echo.client.try_clone().unwrap(),
                client: echo.server.try_clone().unwrap(),
            };
            (10_000, back.count(10_000, 64))
        };
        let effect = fault.effect().unwrap();
        assert_eq!(effect.count, u64::from(sent - came), "the kernel and the world agree");
        let seen = &effect.doses[0];
        assert_near("lost %", f64::from(sent - came) / 100.0, 10.0, 1.0);
        assert_near("lost %, by the kernel", seen.observed.unwrap(), 10.0, 1.0);
        assert_eq!(seen.holds(), Some(true));
        assert!(fault.revert().unwrap().verified);
    }
}

#[test]
fn packets_come_twice_late_or_damaged() {
    let Some(pair) = pair_with_netem() else { return };
    let before = traffic_control(&pair.a);
    let echo = Echo::new(&pair, B4);
    let fault = apply(&shape(&pair, &[], Dose::Duplicate { share: 0.5 }, Direction::Out));
    assert_near("came", f64::from(echo.count(2000, 64)), 3000.0, 200.0);
    assert!(fault.revert().unwrap().verified);

    let fault = apply(&shape(&pair, &[], Dose::Corrupt { share: 1.0 }, Direction::Out));
    let came = echo.count(500, 1000);
    assert!(came < 100, "{came} of 500 came although each was damaged");
    assert!(fault.revert().unwrap().verified);

    let dose = Dose::Reorder { share: 0.25, delay: MS(50) };
    let mut fault = apply(&shape(&pair, &[], dose, Direction::Out));
    let (mut overtaken, mut greatest) = (0, 0);
    let mut look = |bound: Duration| {
        let mut came = [0; 4];
        echo.server.set_read_timeout(Some(bound)).unwrap();
        while echo.server.recv(&mut came).is_ok() {
            let number = u32::from_be_bytes(came);
            overtaken += u32::from(number < greatest);
            greatest = greatest.max(number);
        }
    };
    for number in 0..1000_u32 {
        echo.client.send(&number.to_be_bytes()).unwrap();
        // A receiver's buffer is small: it is emptied on the way.
        if number % 50 == 49 {
            look(MS(1));
        }
    }
    look(SHORT);
    assert!(overtaken > 100, "{overtaken} of 1000 were overtaken");
    let effect = fault.effect().unwrap();
    assert_near("held back %", effect.doses[0].observed.unwrap(), 25.0, 5.0);
    assert!(fault.revert().unwrap().verified);
    assert_eq!(traffic_control(&pair.a), before);
}

#[test]
fn a_slower_wire_carries_what_was_asked() {
    let Some(pair) = pair_with_netem() else { return };
    let echo = Echo::new(&pair, B4);
    let dose = Dose::Bandwidth { bytes_per_second: 125_000 };
    let mut fault = apply(&shape(&pair, &[], dose, Direction::Out));
    // More than it holds, and then one for each that has passed, so that some wait at all times.
    for _ in 0..40 {
        echo.client.send(&[0; 1372]).unwrap();
    }
    fault.effect().unwrap();
    for _ in 0..200 {
        echo.server.recv(&mut [0; 2000]).unwrap();
        echo.client.send(&[0; 1372]).unwrap();
    }
    let effect = fault.effect().unwrap();
    let seen = effect.doses[0].observed.unwrap();
    assert_near("bytes a second", seen, 125_000.0, 125_000.0 * 0.05);
    assert!(fault.revert().unwrap().verified);
}

#[test]
fn ports_are_the_peers() {
    let Some(pair) = pair_with_netem() else { return };
    let (hit, spared) = (Echo::new(&pair, B4), Echo::new(&pair, B4));
    let dose = Dose::Loss { share: 1.0 };
    let ports = vec![hit.server.local_addr().unwrap().port()];
    let fault = apply(&Shape { ports, ..shape(&pair, &[B4], dose, Direction::Out) });
    assert_eq!(hit.count(50, 64), 0);
    assert_eq!(spared.count(50, 64), 50);
    assert!(fault.revert().unwrap().verified);
}

#[test]
fn what_dies_without_a_word_is_undone_from_the_record() {
    let Some(pair) = pair_with_netem() else { return };
    let before = traffic_control(&pair.a);
    let dose = Dose::Loss { share: 0.5 };
    let fault = apply(&shape(&pair, &[], dose, Direction::Both));
    assert_ne!(traffic_control(&pair.a), before);
    drop(fault);
    assert_eq!(traffic_control(&pair.a), before);
}
