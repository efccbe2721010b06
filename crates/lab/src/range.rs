//! IPv4 ranges, and the choice of one that nobody uses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 range in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    first: u32,
    prefix: u8,
}

/// Where labs live unless they are told otherwise: private, and far from what routers, Docker,
/// Kubernetes and libvirt take by default.
pub(crate) const CANDIDATES: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(10, 231, 0, 0), 24),
    (Ipv4Addr::new(10, 231, 1, 0), 24),
    (Ipv4Addr::new(10, 232, 0, 0), 24),
    (Ipv4Addr::new(172, 30, 231, 0), 24),
    (Ipv4Addr::new(192, 168, 231, 0), 24),
    (Ipv4Addr::new(198, 18, 231, 0), 24),
];

impl Range {
    /// The range of this length that holds the address.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { first: u32::from(address) & mask(prefix), prefix }
    }

    /// Its length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether two ranges have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.first & mask == other.first & mask
    }

    /// How many addresses hosts can have.
    #[must_use]
    pub fn hosts(self) -> u32 {
        (!mask(self.prefix)).saturating_sub(1)
    }

    /// The address of the n-th host, from 1.
    #[must_use]
    pub fn host(self, n: u32) -> Option<Ipv4Addr> {
        (1..=self.hosts()).contains(&n).then(|| Ipv4Addr::from(self.first + n))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "an IPv4 range such as 10.231.0.0/24 is wanted";
        let (address, prefix) = text.split_once('/').ok_or(wanted)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wanted)?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|p| (8..=29).contains(p))
            .ok_or_else(|| format!("{wanted}, with a length between /8 and /29"))?;
        let range = Self::new(address, prefix);
        if Ipv4Addr::from(range.first) != address {
            return Err(format!("{address} is not the first address of a /{prefix}: {range} is"));
        }
        Ok(range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

/// A range that the host uses already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) range: Range,
    /// By what, for people: `eth0 has 10.0.0.1`.
    pub(crate) by: String,
}

/// Who has some of the range.
pub(crate) fn conflict(range: Range, taken: &[Taken]) -> Option<&Taken> {
    taken.iter().find(|other| range.overlaps(other.range))
}

/// The first candidate that nobody uses.
pub(crate) fn choose(taken: &[Taken]) -> Option<Range> {
    CANDIDATES
        .iter()
        .map(|(address, prefix)| Range::new(*address, *prefix))
        .find(|range| conflict(*range, taken).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(ranges: &[&str]) -> Vec<Taken> {
        let taken = |r: &&str| Taken { range: r.parse().unwrap(), by: (*r).to_owned() };
        ranges.iter().map(taken).collect()
    }

    #[test]
    fn the_first_free_candidate_is_chosen() {
        for (used, expected) in [
            (&[][..], "10.231.0.0/24"),
            (&["192.0.2.0/24"], "10.231.0.0/24"),
            (&["10.231.0.128/29"], "10.231.1.0/24"),
            // A VPN's route to all of 10/8 is a reason to stay out of it.
            (&["10.0.0.0/8"], "172.30.231.0/24"),
            (&["10.0.0.0/8", "172.16.0.0/12"], "192.168.231.0/24"),
        ] {
            assert_eq!(choose(&taken(used)).unwrap().to_string(), expected, "{used:?}");
        }
        let all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"];
        assert_eq!(choose(&taken(&all)), None);
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_would_be_right() {
        for (text, said) in [
            ("10.0.0.0", "such as"),
            ("10.0.0/24", "such as"),
            ("10.0.0.0/30", "between /8 and /29"),
            ("10.0.0.0/x", "between /8 and /29"),
            ("10.0.0.7/24", "10.0.0.0/24 is"),
            ("::/64", "such as"),
        ] {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        /// Two ranges overlap exactly when one holds the other's first address.
        #[test]
        fn overlap_is_what_enumeration_says(a: u32, b: u32, p in 8u8..=29, q in 8u8..=29, near: bool) {
            let b = if near { a ^ (b & 0xffff) } else { b };
            let (x, y) = (Range::new(a.into(), p), Range::new(b.into(), q));
            let holds = |r: Range, v: u32| v >= r.first && v - r.first <= r.hosts() + 1;
            prop_assert_eq!(x.overlaps(y), holds(x, y.first) || holds(y, x.first));
            prop_assert_eq!(x.overlaps(y), y.overlaps(x));
        }

        #[test]
        fn a_range_is_written_as_it_is_read(a: u32, p in 8u8..=29) {
            let range = Range::new(a.into(), p);
            prop_assert_eq!(range.to_string().parse::<Range>(), Ok(range));
            prop_assert_eq!(range.host(0), None);
            prop_assert_eq!(range.host(range.hosts() + 1), None);
            prop_assert!(range.overlaps(Range::new(range.host(range.hosts()).unwrap(), 29)));
        }
    }
}
