//! The machine's IPv4 addresses, and which of them ROS uses.
//!
//! RustDDS joins multicast groups and announces its addresses once, when a
//! participant is made. So when an address comes, or comes back, the
//! participant must be made again.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

/// New addresses must stay the same for this long, because those of an
/// interface come one after the other.
const SETTLED: Duration = Duration::from_secs(2);
/// The participant is made again at most this often, since each one stays
/// visible to subscribers for a while.
const BETWEEN: Duration = Duration::from_secs(10);

/// An address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub ip: Ipv4Addr,
    pub interface: String,
    /// The interface's number, which differs after it was removed and came
    /// back.
    pub index: u32,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.ip, self.interface)
    }
}

/// Names addresses for people.
pub fn list(addresses: &[Address]) -> String {
    if addresses.is_empty() {
        return "no address".to_owned();
    }
    let all: Vec<_> = addresses.iter().map(Address::to_string).collect();
    all.join(", ")
}

/// A part of the configuration's `networks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// All addresses of an interface, by its name.
    Interface(String),
    /// The addresses in a range; an address alone is a range of one.
    Range { network: u32, mask: u32 },
}

impl Network {
    /// Reads `192.168.1.5`, `192.168.1.0/24` or `wlan0`.
    ///
    /// # Errors
    ///
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let begins_like_an_address = text.starts_with(|c: char| c.is_ascii_digit());
        if begins_like_an_address {
            let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
            let address: Option<Ipv4Addr> = address.parse().ok();
            let bits: Option<u32> = bits.parse().ok().filter(|bits| *bits <= 32);
            let (Some(address), Some(bits)) = (address, bits) else {
                return Err(format!(
                    "'{text}' is no IPv4 address (192.168.1.5) and no network (192.168.1.0/24)"
                ));
            };
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let network = u32::from(address);
            if network & !mask != 0 {
                let network = Ipv4Addr::from(network & mask);
                return Err(format!(
                    "'{text}' has bits after the first {bits}; did you mean {network}/{bits}?"
                ));
            }
            return Ok(Self::Range { network, mask });
        }
        let is_name = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        if text.is_empty() || text.len() > 15 || !text.chars().all(is_name) {
            return Err(format!(
                "'{text}' is no IPv4 address, network, or name of an interface such as wlan0"
            ));
        }
        Ok(Self::Interface(text.to_owned()))
    }

    fn contains(&self, address: &Address) -> bool {
        match self {
            Self::Interface(name) => address.interface == *name,
            Self::Range { network, mask } => u32::from(address.ip) & mask == *network,
        }
    }
}

/// The addresses that the machine has now and ROS may use, sorted: all of them
/// if there are no `networks`.
///
/// # Errors
///
/// The kernel does not list them.
pub fn usable(networks: &[Network]) -> io::Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for found in getifaddrs()? {
        let Some(ip) = found.address.as_ref().and_then(|any| any.as_sockaddr_in()) else {
            continue;
        };
        let address = Address {
            ip: ip.ip(),
            // An interface that went away in this moment has no number.
            index: if_nametoindex(found.interface_name.as_str()).unwrap_or(0),
            interface: found.interface_name,
        };
        if networks.is_empty() || networks.iter().any(|network| network.contains(&address)) {
            addresses.push(address);
        }
    }
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// What a look at the addresses showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Addresses that the participant uses and that are gone.
    pub gone: Vec<Address>,
    /// Whether the participant must be made again.
    pub must_join: bool,
}

/// Compares the addresses that the participant was made with to those that the
/// machine has.
#[derive(Debug)]
pub struct Watch {
    /// Those that the participant has used without interruption.
    used: Vec<Address>,
    /// Those that it does not use, and since when they have been the same.
    new: (Vec<Address>, Duration),
    /// When the participant was made.
    joined: Duration,
}

impl Watch {
    /// The participant was made with these addresses.
    pub const fn new(used: Vec<Address>, now: Duration) -> Self {
        Self {
            used,
            new: (Vec::new(), now),
            joined: now,
        }
    }

    /// Compares. An address that was away and is back is a new one, because the
    /// kernel forgot that it belongs to a multicast group.
    pub fn look(&mut self, present: &[Address], now: Duration) -> Change {
        let mut gone = Vec::new();
        self.used.retain(|address| {
            let stays = present.contains(address);
            if !stays {
                gone.push(address.clone());
            }
            stays
        });
        let new = present
            .iter()
            .filter(|address| !self.used.contains(address));
        let new: Vec<_> = new.cloned().collect();
        if new != self.new.0 {
            self.new = (new, now);
        }
        let settled = now.saturating_sub(self.new.1) >= SETTLED;
        let rested = now.saturating_sub(self.joined) >= BETWEEN;
        Change {
            gone,
            must_join: !self.new.0.is_empty() && settled && rested,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: [u8; 4], interface: &str, index: u32) -> Address {
        Address {
            ip: Ipv4Addr::from(ip),
            interface: interface.to_owned(),
            index,
        }
    }

    fn wlan() -> Address {
        address([192, 168, 1, 5], "wlan0", 3)
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(100 + seconds)
    }

    #[test]
    fn networks_are_addresses_ranges_or_interfaces() {
        let contains = |text: &str| Network::parse(text).unwrap().contains(&wlan());
        for text in [
            "192.168.1.5",
            "192.168.1.0/24",
            "0.0.0.0/0",
            "wlan0",
            "192.168.1.5/32",
        ] {
            assert!(contains(text), "{text}");
        }
        for text in [
            "192.168.1.6",
            "192.168.2.0/24",
            "eth0",
            "wlan",
            "10.0.0.0/8",
        ] {
            assert!(!contains(text), "{text}");
        }
        for (text, part) in [
            ("192.168.1", "is no IPv4 address"),
            ("192.168.1.0/33", "is no IPv4 address"),
            ("192.168.1.5/24", "did you mean 192.168.1.0/24?"),
            ("", "name of an interface"),
            ("fe80::1", "name of an interface"),
            ("a name with spaces", "name of an interface"),
        ] {
            let error = Network::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_is_listed_and_filtered() {
        let all = usable(&[]).unwrap();
        let loopback = |address: &Address| address.ip.is_loopback();
        // Not in a network namespace whose loopback is down.
        if all.iter().any(loopback) {
            let only = usable(&[Network::parse("127.0.0.0/8").unwrap()]).unwrap();
            assert!(!only.is_empty() && only.iter().all(loopback), "{only:?}");
        }
        assert_eq!(
            usable(&[Network::parse("no-such-one").unwrap()]).unwrap(),
            []
        );
    }

    #[test]
    fn a_new_address_is_joined_once_it_has_settled() {
        let mut watch = Watch::new(vec![], at(0));
        assert!(!watch.look(&[], at(20)).must_join);
        assert!(!watch.look(&[wlan()], at(21)).must_join);
        let two = [wlan(), address([10, 0, 0, 1], "eth0", 2)];
        assert!(!watch.look(&two, at(23)).must_join, "it still changes");
        assert!(watch.look(&two, at(25)).must_join);
        let mut watch = Watch::new(two.to_vec(), at(25));
        assert_eq!(watch.look(&two, at(60)), Change::default());
    }

    #[test]
    fn an_address_that_comes_back_is_a_new_one() {
        let mut watch = Watch::new(vec![wlan()], at(0));
        let change = watch.look(&[], at(20));
        assert_eq!(change.gone, [wlan()]);
        assert!(!change.must_join, "there is nothing to join");
        assert_eq!(watch.look(&[], at(21)), Change::default(), "said once");
        assert!(!watch.look(&[wlan()], at(22)).must_join);
        assert!(watch.look(&[wlan()], at(24)).must_join);
    }

    #[test]
    fn an_interface_that_was_replaced_between_two_looks_is_a_new_one() {
        let mut watch = Watch::new(vec![wlan()], at(0));
        let replaced = address([192, 168, 1, 5], "wlan0", 4);
        watch.look(std::slice::from_ref(&replaced), at(20));
        assert!(watch.look(&[replaced], at(22)).must_join);
    }

    #[test]
    fn an_interface_with_a_loose_contact_does_not_make_participants_all_the_time() {
        let mut watch = Watch::new(vec![wlan()], at(0));
        watch.look(&[], at(1));
        watch.look(&[wlan()], at(2));
        assert!(!watch.look(&[wlan()], at(9)).must_join);
        assert!(watch.look(&[wlan()], at(10)).must_join);
    }
}
