//! Reads the endpoints that users type. Opens nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What `--connect` and `--bind` understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// libzmq's: `tcp`, `ipc`, `pgm`, `epgm`.
    Zmq(ZmqEndpoint),
    /// Datagrams on a plain socket.
    Udp(UdpEndpoint),
}

/// An endpoint for libzmq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZmqEndpoint {
    text: String,
}

/// `udp://[INTERFACE;]IP:PORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpEndpoint {
    /// A multicast group, or one host.
    pub address: SocketAddr,
    /// Which interface a group is sent to and joined on; `None` leaves it to the routes.
    pub interface: Option<Interface>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// By one of its addresses.
    Address(Ipv4Addr),
    /// By its name.
    Name(String),
}

/// IFNAMSIZ of Linux is 16 bytes with its NUL (netdevice(7)).
const INTERFACE_BYTES_MAX: usize = 15;

impl Endpoint {
    /// For `--connect`.
    ///
    /// # Errors
    ///
    /// One sentence that says what is possible.
    pub fn to_connect(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("udp", address)) => UdpEndpoint::parse(address).map(Self::Udp),
            _ => ZmqEndpoint::parse(text).map(Self::Zmq),
        }
    }

    /// For `--bind`.
    ///
    /// # Errors
    ///
    /// As [`Self::to_connect`]; multicast has no end that binds.
    pub fn to_bind(text: &str) -> Result<Self, String> {
        let is_multicast = |scheme: &str| ["udp", "epgm", "pgm"].contains(&scheme);
        match text.split_once("://") {
            Some((scheme, _)) if is_multicast(scheme) => {
                Err(format!("{scheme}:// has no end that binds: use --connect on both"))
            }
            _ => ZmqEndpoint::parse(text).map(Self::Zmq),
        }
    }

    /// What is libzmq's.
    pub fn zmq(&self) -> Option<&ZmqEndpoint> {
        match self {
            Self::Zmq(endpoint) => Some(endpoint),
            Self::Udp(_) => None,
        }
    }
}

impl ZmqEndpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let is_port = |port: &str| port == "*" || port.parse::<u16>().is_ok();
        let has_port = |address: &str| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && is_port(port))
        };
        let is_valid = match text.split_once("://") {
            _ if text.chars().any(char::is_control) => false,
            Some(("tcp", address)) => has_port(address),
            Some(("ipc", path)) => !path.is_empty(),
            // Without a group and a port, libzmq ends the process.
            Some(("pgm" | "epgm", address)) => {
                let parts = address.split_once(';');
                parts.is_some_and(|(interface, group)| !interface.is_empty() && has_port(group))
            }
            _ => false,
        };
        let endpoint = Self { text: text.to_owned() };
        if !is_valid {
            return Err("an endpoint is tcp://HOST:PORT, ipc://PATH, udp://GROUP:PORT, \
                udp://INTERFACE;GROUP:PORT or epgm://INTERFACE;GROUP:PORT"
                .into());
        }
        Ok(endpoint)
    }

    /// As it was typed; has no control character.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where listeners are unknown to the sender.
    pub fn is_multicast(&self) -> bool {
        self.text.starts_with("epgm:") || self.text.starts_with("pgm:")
    }

    /// With an address in brackets.
    pub fn is_ipv6(&self) -> bool {
        self.text.starts_with("tcp://[")
    }
}

impl UdpEndpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let help = "udp:// takes IP addresses: udp://GROUP:PORT, udp://INTERFACE;GROUP:PORT, \
            udp://IPV4:PORT, udp://[IPV6]:PORT, or to listen udp://*:PORT";
        let (interface, address) = match text.split_once(';') {
            Some((interface, address)) => (Some(Interface::parse(interface)?), address),
            None => (None, text),
        };
        let address: SocketAddr = match address.strip_prefix("*:") {
            Some(port) => (Ipv4Addr::UNSPECIFIED, port.parse::<u16>().map_err(|_| help)?).into(),
            None => address.parse().map_err(|_| help)?,
        };
        match address.ip() {
            IpAddr::V4(ip) if ip.is_broadcast() => return Err(help.into()),
            IpAddr::V6(ip) if ip.is_multicast() => {
                return Err(
                    "IPv6 groups are not supported: take an IPv4 one, such as 239.192.1.1".into()
                );
            }
            _ => {}
        }
        let endpoint = Self { address, interface };
        if endpoint.interface.is_some() && endpoint.group().is_none() {
            return Err("an interface is for a multicast group (224.0.0.0 to \
                239.255.255.255) only"
                .into());
        }
        Ok(endpoint)
    }

    /// The group, where it is one.
    pub fn group(&self) -> Option<Ipv4Addr> {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_multicast() => Some(ip),
            _ => None,
        }
    }
}

impl Interface {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let is_like_an_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let is_name = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
        if text.len() > INTERFACE_BYTES_MAX || is_like_an_address || !is_name {
            return Err("the part before ';' is neither an interface nor its IPv4 address".into());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zmq(endpoint) => f.write_str(endpoint.as_str()),
            Self::Udp(endpoint) => endpoint.fmt(f),
        }
    }
}

impl fmt::Display for UdpEndpoint {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_shown_as_they_were_typed() {
        for text in [
            "tcp://127.0.0.1:5556",
            "tcp://*:*",
            "tcp://[::1]:5556",
            "tcp://host.name:1",
            "ipc:///run/feed.sock",
            "ipc://@feed",
            "udp://239.192.1.1:5556",
            "udp://127.0.0.1;239.192.1.1:5556",
            "udp://127.0.0.1:5556",
            "udp://eth0;239.192.1.1:5556",
            "udp://[::1]:5556",
            "udp://0.0.0.0:5556",
            "epgm://eth0;239.192.1.1:5556",
        ] {
            assert_eq!(Endpoint::to_connect(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_star_is_every_address_of_this_host() {
        let every = Endpoint::to_connect("udp://*:5556").unwrap();
        assert_eq!(every.to_string(), "udp://0.0.0.0:5556");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "tcp://127.0.0.1",
            "tcp://:5556",
            "tcp://127.0.0.1:65536",
            "tcp://a\0b:1",
            "ipc://",
            "norm://239.1.1.1",
            "udp://239.192.1.1",
            "udp://host:5556",
            "udp://*",
            "udp://255.255.255.255:5556",
            "udp://[ff02::1]:5556",
            "udp://;239.192.1.1:5556",
            "udp://127.0.0;239.192.1.1:5556",
            "udp://much-too-long-a-name;239.192.1.1:5556",
            "udp://eth0;[::1]:5556",
            "udp://127.0.0.1;127.0.0.1:5556",
            "epgm://239.192.1.1:5556",
            "epgm://eth0;239.192.1.1",
            "epgm://;239.192.1.1:5556",
            "pgm://;239.192.1.1:5556",
        ] {
            assert!(Endpoint::to_connect(text).is_err(), "{text}");
        }
    }

    #[test]
    fn multicast_has_no_end_that_binds() {
        for text in ["udp://239.192.1.1:5556", "epgm://eth0;239.192.1.1:5556"] {
            assert!(Endpoint::to_bind(text).unwrap_err().contains("--connect"), "{text}");
        }
        assert!(Endpoint::to_bind("tcp://*:*").is_ok());
    }
}
