//! Reads the endpoints that users type. Opens nothing.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

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

/// `udp://[INTERFACE-IP;]IP:PORT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpEndpoint {
    /// A multicast group, or one host.
    pub address: SocketAddrV4,
    /// Which interface a group is sent to and joined on; `None` leaves it to the routes.
    pub interface: Option<Ipv4Addr>,
}

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
                udp://INTERFACE-IP;GROUP:PORT or epgm://INTERFACE;GROUP:PORT"
                .into());
        }
        Ok(endpoint)
    }

    /// As it was typed; has no control character.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where nobody tells the sender that he is there.
    pub fn is_multicast(&self) -> bool {
        self.text.starts_with("epgm:") || self.text.starts_with("pgm:")
    }

    /// With an address in brackets.
    pub fn is_ipv6(&self) -> bool {
        self.text.starts_with("tcp://[")
    }
}

impl UdpEndpoint {
    fn parse(address: &str) -> Result<Self, String> {
        let help = "udp:// takes IPv4 addresses: udp://GROUP:PORT, udp://INTERFACE-IP;GROUP:PORT \
            or udp://IP:PORT";
        let (interface, address) = match address.split_once(';') {
            Some((interface, address)) => {
                (Some(interface.parse::<Ipv4Addr>().map_err(|_| help)?), address)
            }
            None => (None, address),
        };
        let address: SocketAddrV4 = address.parse().map_err(|_| help)?;
        if address.ip().is_unspecified() || address.ip().is_broadcast() {
            return Err(help.into());
        }
        if interface.is_some() && !address.ip().is_multicast() {
            return Err("an interface is for a multicast group (224.0.0.0 to \
                239.255.255.255) only"
                .into());
        }
        Ok(Self { address, interface })
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
        match self.interface {
            Some(interface) => write!(f, "udp://{interface};{}", self.address),
            None => write!(f, "udp://{}", self.address),
        }
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
            "epgm://eth0;239.192.1.1:5556",
        ] {
            assert_eq!(Endpoint::to_connect(text).unwrap().to_string(), text);
        }
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
            "udp://0.0.0.0:5556",
            "udp://host:5556",
            "udp://[::1]:5556",
            "udp://eth0;239.192.1.1:5556",
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
