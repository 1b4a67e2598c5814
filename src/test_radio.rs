//! A sender of RADIO datagrams on a plain socket, for the tests of sources and those over the whole gateway.
#![allow(dead_code, reason = "each test target uses a part of this")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// What a RADIO socket sends for a message of `group` (RFC 48).
pub(crate) fn datagram(group: &[u8], body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(group.len()).expect("a group of up to 255 bytes");
    [&[len], group, body].concat()
}

/// A multicast group on loopback that no other test uses, with a port of the system's choice.
pub(crate) fn loopback_group() -> String {
    static GROUPS: AtomicU16 = AtomicU16::new(0);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let number = GROUPS.fetch_add(1, Ordering::Relaxed) % 250;
    format!("udp://127.0.0.1;239.{number}.{high}.{low}:*")
}

/// Sends to where a gateway listens.
pub(crate) struct Radio {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Radio {
    /// Sends to `endpoint`, `udp://IP:PORT` or `udp://INTERFACE-IP;GROUP:PORT`.
    #[track_caller]
    pub(crate) fn open(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("udp://").unwrap();
        let (interface, to) = address.split_once(';').unwrap_or(("", address));
        let to: SocketAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        if let Ok(interface) = interface.parse::<Ipv4Addr>() {
            socket2::SockRef::from(&socket).set_multicast_if_v4(&interface).unwrap();
        }
        Self { socket, to }
    }

    #[track_caller]
    pub(crate) fn send(&self, group: &[u8], body: &[u8]) {
        self.send_bytes(&datagram(group, body));
    }

    /// Sends a datagram that may be no message.
    #[track_caller]
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        match self.socket.send_to(bytes, self.to) {
            Ok(sent) => assert_eq!(sent, bytes.len()),
            Err(error) if self.to.ip().is_multicast() => panic!(
                "{error}: multicast does not work on loopback here (is lo up, and is there a rule against it?)"
            ),
            Err(error) => panic!("{error}"),
        }
    }
}
