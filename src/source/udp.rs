//! Reads the address of a `udp://` endpoint. Opens nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::endpoint::{self, Attach};

/// IFNAMSIZ of Linux is 16 bytes with its NUL (netdevice(7)).
const INTERFACE_BYTES_MAX: usize = 15;

/// What datagrams are sent to: a multicast group, or an address of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct UdpAddress {
    /// Where a group is joined; the system's choice where it is not given.
    pub(super) interface: Option<Interface>,
    pub(super) address: SocketAddr,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Interface {
    /// By one of its addresses.
    Address(Ipv4Addr),
    Name(String),
}

impl UdpAddress {
    /// Reads `[INTERFACE;]HOST:PORT`.
    pub(super) fn parse(text: &str, attach: Attach) -> Result<Self, String> {
        let Some((network, port)) = text.rsplit_once(':') else {
            return Err("expected GROUP:PORT, such as udp://239.192.1.1:5556".into());
        };
        endpoint::check_port(port, attach)?;
        // What is no number is `*`.
        let port = port.parse().unwrap_or(0);
        let (interface, host) = match network.split_once(';') {
            Some((interface, host)) => (Some(parse_interface(interface)?), host),
            None => (None, network),
        };
        let ip = parse_host(host)?;
        if interface.is_some() && !ip.is_multicast() {
            return Err("an interface before ';' is for multicast groups only \
                        (224.0.0.0 to 239.255.255.255)"
                .into());
        }
        Ok(Self { interface, address: SocketAddr::new(ip, port) })
    }

    /// The group, where it is one.
    pub(super) fn group(&self) -> Option<Ipv4Addr> {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_multicast() => Some(ip),
            _ => None,
        }
    }
}

impl fmt::Display for UdpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("udp://")?;
        match &self.interface {
            Some(Interface::Address(address)) => write!(f, "{address};")?,
            Some(Interface::Name(name)) => write!(f, "{name};")?,
            None => {}
        }
        self.address.fmt(f)
    }
}

fn parse_interface(text: &str) -> Result<Interface, String> {
    if let Ok(address) = text.parse() {
        return Ok(Interface::Address(address));
    }
    let is_like_an_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if text.len() > INTERFACE_BYTES_MAX || is_like_an_address || !endpoint::is_name(text) {
        return Err("the part before ';' is neither an interface nor its IPv4 address".into());
    }
    Ok(Interface::Name(text.into()))
}

fn parse_host(host: &str) -> Result<IpAddr, String> {
    if host == "*" {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bracketed {
        Some(inside) => inside.parse().map(IpAddr::V6).ok(),
        None => host.parse().map(IpAddr::V4).ok(),
    };
    match ip {
        Some(IpAddr::V6(ip)) if ip.is_multicast() => {
            Err("IPv6 groups are not supported: take an IPv4 one, such as 239.192.1.1".into())
        }
        Some(ip) => Ok(ip),
        None => {
            Err("expected a multicast group (224.0.0.0 to 239.255.255.255), an IP address of this \
                     machine (IPv6 in brackets), or *"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn read(text: &str) -> Result<UdpAddress, String> {
        UdpAddress::parse(text, Attach::Bind)
    }

    #[test]
    fn addresses_are_read_and_written() {
        for (text, has_interface, is_group) in [
            ("239.192.1.1:5556", false, true),
            ("224.0.0.1:1", false, true),
            ("192.168.1.17;239.192.1.1:65535", true, true),
            ("eth0.7;239.255.255.255:5556", true, true),
            ("127.0.0.1:5556", false, false),
            ("[::1]:5556", false, false),
            ("223.255.255.255:5556", false, false),
            ("255.255.255.255:5556", false, false),
        ] {
            for attach in [Attach::Connect, Attach::Bind] {
                let address = UdpAddress::parse(text, attach).unwrap();
                assert_eq!(address.to_string(), format!("udp://{text}"));
                assert_eq!(address.interface.is_some(), has_interface, "{text}");
                assert_eq!(address.group().is_some(), is_group, "{text}");
            }
        }
        assert_eq!(read("*:5556").unwrap().to_string(), "udp://0.0.0.0:5556");
        assert_eq!(read("lo;239.1.1.1:*").unwrap().to_string(), "udp://lo;239.1.1.1:0");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part_of_reason) in [
            ("", "expected GROUP:PORT"),
            ("239.192.1.1", "expected GROUP:PORT"),
            ("239.192.1.1:", "the port must be a number"),
            ("239.192.1.1:65536", "the port must be a number"),
            ("239.192.1.1:-1", "the port must be a number"),
            (":5556", "expected a multicast group"),
            ("240.0.0.256:5556", "expected a multicast group"),
            ("localhost:5556", "expected a multicast group"),
            ("::1:5556", "expected a multicast group"),
            ("[::1:5556", "expected a multicast group"),
            ("[fe80::1%lo]:5556", "expected a multicast group"),
            ("[239.192.1.1]:5556", "expected a multicast group"),
            ("*;239.192.1.1:5556", "neither an interface"),
            (";239.192.1.1:5556", "neither an interface"),
            ("a;b;239.192.1.1:5556", "expected a multicast group"),
            ("256.0.0.1;239.192.1.1:5556", "neither an interface"),
            ("[::1];239.192.1.1:5556", "neither an interface"),
            ("an-interface-too-long;239.192.1.1:5556", "neither an interface"),
            ("eth0;10.0.0.1:5556", "for multicast groups only"),
            ("eth0;*:5556", "for multicast groups only"),
            ("[ff02::1]:5556", "IPv6 groups are not supported"),
            ("eth0;[ff02::1]:5556", "IPv6 groups are not supported"),
        ] {
            let reason = read(text).expect_err(text);
            assert!(reason.contains(part_of_reason), "{text}: {reason}");
            assert!(!reason.contains('\n'), "{text}: {reason}");
        }
        for port in ["0", "*"] {
            let text = format!("239.192.1.1:{port}");
            assert!(UdpAddress::parse(&text, Attach::Connect).is_err());
            assert!(UdpAddress::parse(&text, Attach::Bind).is_ok());
        }
    }

    #[test]
    fn no_text_panics_and_what_is_read_is_read_again() {
        let mut random = Random::from_env();
        let pieces = [
            "239.192.1.1",
            "127.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[ff02::1]",
            "*",
            "lo",
            "eth0",
            ";",
            ";",
            ":",
            ":",
            ":5556",
            ":0",
            "[",
            "]",
            "%",
            "é",
            " ",
            ".",
            "1",
        ];
        let mut read_count = 0;
        for _ in 0..20_000 {
            let text: String =
                (0..random.below(7)).map(|_| pieces[random.below(pieces.len())]).collect();
            let Ok(address) = read(&text) else { continue };
            let written = address.to_string();
            let again = read(written.strip_prefix("udp://").unwrap());
            assert_eq!(again, Ok(address), "{text}");
            read_count += 1;
        }
        assert!(read_count > 20, "{read_count}: too few to mean anything");
    }
}
