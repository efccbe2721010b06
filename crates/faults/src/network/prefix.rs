//! An address or a network, as a packet filter matches it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::Refusal;

/// One address, or all addresses that begin alike. No bit is set past the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The network of `len` bits that begins like `address`.
    ///
    /// # Errors
    /// The length is more than the address has, or the address has bits set past it (the
    /// refusal names the network that was probably meant).
    pub fn new(address: IpAddr, len: u8) -> Result<Self, Refusal> {
        let Some(network) = masked(address, len) else {
            return Err(Refusal::NotAnAddress { given: format!("{address}/{len}") });
        };
        let prefix = Self { address: network, len };
        if network != address {
            return Err(Refusal::HostBits { address, len, network: prefix });
        }
        Ok(prefix)
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits of it are fixed.
    #[must_use]
    pub fn len_bits(self) -> u8 {
        self.len
    }

    /// Whether it is one address alone.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.len == bits(self.address)
    }

    /// Whether `address` lies in it. Families do not mix.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        bits(address) == bits(self.address) && masked(address, self.len) == Some(self.address)
    }

    /// An address in it that a single host could have: not the network's own, where there is
    /// another.
    pub(super) fn some_host(self) -> IpAddr {
        if bits(self.address) - self.len < 2 {
            return self.address;
        }
        match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | 1).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | 1).into(),
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, len: u8) -> Option<IpAddr> {
    let past = u32::from(bits(address).checked_sub(len)?);
    // A shift by the whole width is not defined; it means that nothing is left.
    Some(match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(past).unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(past).unwrap_or(0)).into()
        }
    })
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self { address, len: bits(address) }
    }
}

impl FromStr for Prefix {
    type Err = Refusal;

    fn from_str(given: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::NotAnAddress { given: given.to_owned() };
        match given.split_once('/') {
            None => Ok(given.parse::<IpAddr>().map_err(|_| wrong())?.into()),
            Some((address, len)) => {
                Self::new(address.parse().map_err(|_| wrong())?, len.parse().map_err(|_| wrong())?)
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for (given, shown) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("10.0.0.5/32", "10.0.0.5"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("fd00:0::5", "fd00::5"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(given.parse::<Prefix>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_says_what_would_be_right() {
        for (given, says) in [
            ("10.0.0.5/24", "the network is 10.0.0.0/24"),
            ("fd00::1/64", "the network is fd00::/64"),
            ("10.0.0.0/33", "neither an IP address nor a prefix"),
            ("::/129", "neither an IP address nor a prefix"),
            ("postgres", "`postgres` is neither"),
            ("10.0.0.0/", "neither"),
            ("", "neither"),
        ] {
            let said = given.parse::<Prefix>().unwrap_err().to_string();
            assert!(said.contains(says), "{given}: {said}");
        }
    }

    proptest! {
        #[test]
        fn a_network_contains_what_begins_like_it(address: u32, other: u32, len in 0u8..=32) {
            let address = IpAddr::from(Ipv4Addr::from_bits(address));
            let prefix = Prefix { address: masked(address, len).unwrap(), len };
            prop_assert!(prefix.contains(address));
            prop_assert!(prefix.contains(prefix.some_host()));
            // The same, said another way: the texts of the first `len` bits agree.
            let (IpAddr::V4(first), other) = (address, Ipv4Addr::from_bits(other)) else { unreachable!() };
            let digits = |a: Ipv4Addr| format!("{:032b}", a.to_bits())[..usize::from(len)].to_owned();
            prop_assert_eq!(prefix.contains(other.into()), digits(first) == digits(other));
            prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        }
    }
}
