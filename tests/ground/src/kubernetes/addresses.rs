//! The addresses of an instance: three /24 networks that follow from its number, so that several instances run at once.

use std::fmt;
use std::net::Ipv4Addr;

/// The addresses of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    number: u8,
}

/// An IPv4 network of 256 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network24 {
    second: u8,
    third: u8,
}

impl Network24 {
    /// The address of this network that ends with `last`.
    #[must_use]
    pub fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, self.third, last)
    }
}

impl fmt::Display for Network24 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/24", self.address(0))
    }
}

impl Addresses {
    /// The addresses of the instance with this number.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self { number }
    }

    /// The number they follow from.
    #[must_use]
    pub fn number(self) -> u8 {
        self.number
    }

    /// The network between the machine and the node.
    #[must_use]
    pub fn link(self) -> Network24 {
        Network24 { second: 213, third: self.number }
    }

    /// The network of pods.
    #[must_use]
    pub fn pods(self) -> Network24 {
        Network24 { second: 214, third: self.number }
    }

    /// The network of Services.
    #[must_use]
    pub fn services(self) -> Network24 {
        Network24 { second: 215, third: self.number }
    }

    /// The machine's end of the link.
    #[must_use]
    pub fn machine(self) -> Ipv4Addr {
        self.link().address(1)
    }

    /// The node: the API server, the broker, the database and the tests' venue listen here.
    #[must_use]
    pub fn node(self) -> Ipv4Addr {
        self.link().address(2)
    }

    /// The node's address on the pods' bridge.
    #[must_use]
    pub fn pods_gateway(self) -> Ipv4Addr {
        self.pods().address(1)
    }

    /// The Service `kubernetes`.
    #[must_use]
    pub fn api_service(self) -> Ipv4Addr {
        self.services().address(1)
    }

    /// The Service `kube-dns`.
    #[must_use]
    pub fn dns_service(self) -> Ipv4Addr {
        self.services().address(10)
    }

    /// The machine's network device of the link.
    #[must_use]
    pub fn machine_device(self) -> String {
        format!("tapekeeper{}", self.number)
    }
}

/// The lowest number that none of `taken` has.
///
/// # Errors
///
/// Fails when all 256 are taken.
pub(super) fn free_number(taken: &[u8]) -> anyhow::Result<u8> {
    (0..=u8::MAX).find(|number| !taken.contains(number)).ok_or_else(|| anyhow::anyhow!("there are 256 instances already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_share_no_network() {
        let (first, second) = (Addresses::of(0), Addresses::of(1));
        assert_eq!(first.node(), Ipv4Addr::new(10, 213, 0, 2));
        assert_eq!(second.node(), Ipv4Addr::new(10, 213, 1, 2));
        assert_eq!(second.pods().to_string(), "10.214.1.0/24");
        assert_eq!(second.services().to_string(), "10.215.1.0/24");
    }

    #[test]
    fn a_device_name_fits_the_kernels_fifteen_characters() {
        assert!(Addresses::of(255).machine_device().len() <= 15);
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        assert_eq!(free_number(&[0, 1, 3]).unwrap(), 2);
        assert_eq!(free_number(&[]).unwrap(), 0);
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert!(free_number(&all).is_err());
    }
}
