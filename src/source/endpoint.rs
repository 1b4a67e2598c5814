//! Reads the ZeroMQ endpoints that users type, so strictly that libzmq meets only what it copes
//! with. Opens nothing.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::security::needs_system_libzmq;
use super::udp::UdpAddress;

/// Far above any real endpoint; what a log line and a C string can take.
const ENDPOINT_BYTES_MAX: usize = 1024;

/// `sun_path` of Linux is 108 bytes with its NUL (unix(7)).
const IPC_PATH_BYTES_MAX: usize = 107;

/// The longest host name (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Whether an endpoint is connected to or bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attach {
    /// Connect to a publisher; ZeroMQ keeps trying until it is there, and again when it is gone.
    Connect,
    /// Bind, so that any number of publishers connect here.
    Bind,
}

/// A ZeroMQ endpoint that is well-formed and of a transport that this build has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    text: String,
    attach: Attach,
    transport: Transport,
}

/// What opening needs to know beyond the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Tcp(TcpHost),
    Ipc,
    Inproc,
    Pgm,
    Epgm,
    Udp(UdpAddress),
}

/// The kind of host decides whether the socket is to speak IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TcpHost {
    /// `*`
    Any,
    Ipv4,
    /// In brackets.
    Ipv6,
    /// A host name, or to bind the name of an interface.
    Name,
}

impl Endpoint {
    /// Reads `TRANSPORT://ADDRESS`:
    ///
    /// | transport | address |
    /// |---|---|
    /// | `tcp` | `HOST:PORT`, IPv6 in brackets |
    /// | `tcp` to bind | also `*` as host, and `*` or 0 as port |
    /// | `tcp` to connect | also `SOURCE:PORT;HOST:PORT` |
    /// | `ipc` | a path of up to 107 bytes, or `@NAME` in Linux's abstract namespace; not `*` |
    /// | `inproc` | a name within the ZeroMQ context |
    /// | `pgm`, `epgm` | `INTERFACE;GROUP:PORT`, where libzmq was built with it |
    /// | `udp` | `GROUP:PORT` or `INTERFACE;GROUP:PORT`, or an address of this machine and a port; to bind also `*` as port |
    ///
    /// # Errors
    ///
    /// One sentence: what is wrong and what is possible. It names neither the flag nor the value.
    pub(crate) fn parse(text: &str, attach: Attach) -> Result<Self, String> {
        if text.len() > ENDPOINT_BYTES_MAX {
            return Err(format!("longer than {ENDPOINT_BYTES_MAX} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("contains a control character".into());
        }
        let Some((scheme, address)) = text.split_once("://") else {
            return Err("expected TRANSPORT://ADDRESS, such as tcp://127.0.0.1:5556".into());
        };
        let transport = match scheme {
            "tcp" => Transport::Tcp(parse_tcp(address, attach)?),
            "ipc" => parse_ipc(address)?,
            "inproc" => parse_inproc(address)?,
            "pgm" | "epgm" if has_multicast() => {
                parse_multicast(address)?;
                if scheme == "pgm" { Transport::Pgm } else { Transport::Epgm }
            }
            "pgm" | "epgm" => return Err(needs_system_libzmq(&format!("{scheme}://"))),
            "udp" => Transport::Udp(UdpAddress::parse(address, attach)?),
            _ => return Err(format!("unknown transport; supported are {}", supported())),
        };
        Ok(Self { text: text.into(), attach, transport })
    }

    /// Whether it is connected to or bound.
    pub(crate) fn attach(&self) -> Attach {
        self.attach
    }

    /// True when it stays within the process: of use to a host program, never on a command line.
    pub(crate) fn is_inproc(&self) -> bool {
        self.transport == Transport::Inproc
    }

    /// True when it receives datagrams, from RADIO sockets and not from [`SocketKind::Sub`]'s or [`SocketKind::Pull`]'s
    /// peers.
    ///
    /// [`SocketKind::Sub`]: crate::SocketKind::Sub
    /// [`SocketKind::Pull`]: crate::SocketKind::Pull
    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.transport, Transport::Udp(_))
    }

    /// As it was typed. Contains no control character, so no NUL.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What follows `://`.
    pub(super) fn address(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, address)| address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Both multicast transports are one library, so one capability.
fn has_multicast() -> bool {
    zmq::has("pgm") == Some(true)
}

fn supported() -> &'static str {
    if has_multicast() {
        "tcp://, ipc://, inproc://, udp://, pgm:// and epgm://"
    } else {
        "tcp://, ipc://, inproc:// and udp://"
    }
}

fn parse_tcp(address: &str, attach: Attach) -> Result<TcpHost, String> {
    match (address.rsplit_once(';'), attach) {
        (None, _) => parse_host_and_port(address, attach),
        (Some(_), Attach::Bind) => Err("a source address is for connecting only".into()),
        (Some((source, destination)), Attach::Connect) => {
            // The source end is bound, so a free port may be left to the system; libzmq has no `*`
            // for its host.
            let source = parse_host_and_port(source, Attach::Bind)
                .and_then(|host| match host {
                    TcpHost::Any => Err("expected an address, not *".into()),
                    host => Ok(host),
                })
                .map_err(|reason| format!("source address before ';': {reason}"))?;
            let destination = parse_host_and_port(destination, Attach::Connect)?;
            if (source == TcpHost::Ipv6) != (destination == TcpHost::Ipv6)
                && destination != TcpHost::Name
            {
                return Err("source and destination must both be IPv4 or both be IPv6".into());
            }
            Ok(if source == TcpHost::Ipv6 { TcpHost::Ipv6 } else { destination })
        }
    }
}

fn parse_host_and_port(address: &str, attach: Attach) -> Result<TcpHost, String> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err("expected HOST:PORT, such as tcp://127.0.0.1:5556".into());
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err("expected HOST:PORT, with an IPv6 address in brackets: tcp://[::1]:5556".into());
    }
    check_port(port, attach)?;
    parse_host(host, attach)
}

pub(super) fn check_port(port: &str, attach: Attach) -> Result<(), String> {
    let number = match port {
        "*" => Some(0),
        _ if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse::<u16>().ok(),
        _ => None,
    };
    match (number, attach) {
        (Some(1..), _) | (Some(0), Attach::Bind) => Ok(()),
        (Some(0), Attach::Connect) => Err("a port to connect to is 1 to 65535".into()),
        (None, Attach::Connect) => Err("the port must be a number from 1 to 65535".into()),
        (None, Attach::Bind) => {
            Err("the port must be a number from 1 to 65535, or * for a free one".into())
        }
    }
}

fn parse_host(host: &str, attach: Attach) -> Result<TcpHost, String> {
    if host == "*" {
        return match attach {
            Attach::Bind => Ok(TcpHost::Any),
            Attach::Connect => Err("the host to connect to cannot be *".into()),
        };
    }
    if let Some(inside) = host.strip_prefix('[') {
        let Some(inside) = inside.strip_suffix(']') else {
            return Err("the bracket of the IPv6 address is not closed".into());
        };
        return check_ipv6(inside).map(|()| TcpHost::Ipv6);
    }
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    if host.len() > HOST_BYTES_MAX {
        return Err(format!("the host is longer than {HOST_BYTES_MAX} bytes"));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return match host.parse::<Ipv4Addr>() {
            Ok(_) => Ok(TcpHost::Ipv4),
            Err(_) => Err("the host is not a valid IPv4 address".into()),
        };
    }
    if !is_name(host) || !host.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err("the host is neither an address nor a name".into());
    }
    Ok(TcpHost::Name)
}

/// Checks an IPv6 address with an optional zone, `fe80::1%eth0` (RFC 4007 section 11).
fn check_ipv6(text: &str) -> Result<(), String> {
    let (address, zone_is_valid) = match text.split_once('%') {
        None => (text, true),
        Some((address, zone)) => (address, !zone.is_empty() && zone.len() < 16 && is_name(zone)),
    };
    if address.parse::<Ipv6Addr>().is_err() || !zone_is_valid {
        return Err("not a valid IPv6 address between the brackets".into());
    }
    Ok(())
}

/// Letters, digits, `.`, `-` and `_`: the names of hosts and interfaces.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn parse_ipc(path: &str) -> Result<Transport, String> {
    if path.is_empty() || path == "@" {
        return Err("the path is missing: ipc:///run/feed.sock".into());
    }
    // libzmq would invent a path in a new directory that no publisher can guess.
    if path.starts_with('*') {
        return Err("ipc://* is not supported: name a path, such as ipc:///run/feed.sock".into());
    }
    if path.len() > IPC_PATH_BYTES_MAX {
        return Err(format!("the path is longer than {IPC_PATH_BYTES_MAX} bytes"));
    }
    Ok(Transport::Ipc)
}

fn parse_inproc(name: &str) -> Result<Transport, String> {
    if name.is_empty() {
        return Err("the name is missing: inproc://feed".into());
    }
    // libzmq asserts that whoever binds its authentication endpoint is a REP or ROUTER socket.
    if name.starts_with("zeromq.zap.") {
        return Err("inproc://zeromq.zap. belongs to ZeroMQ's authentication".into());
    }
    Ok(Transport::Inproc)
}

/// `[INTERFACE;]GROUP:PORT`. Nothing looser: libzmq asserts on some of what OpenPGM refuses.
fn parse_multicast(address: &str) -> Result<(), String> {
    let Some((network, port)) = address.rsplit_once(':') else {
        return Err("expected INTERFACE;GROUP:PORT, such as epgm://eth0;239.192.1.1:5555".into());
    };
    check_port(port, Attach::Connect)?;
    let (interface, group) = match network.split_once(';') {
        Some((interface, group)) => (Some(interface), group),
        None => (None, network),
    };
    if let Some(interface) = interface
        && (interface.is_empty() || interface.len() > HOST_BYTES_MAX || !is_name(interface))
    {
        return Err("the part before ';' is neither an interface nor its IPv4 address".into());
    }
    match group.parse::<Ipv4Addr>() {
        Ok(group) if group.is_multicast() => Ok(()),
        _ => {
            Err("the group is not an IPv4 multicast address (224.0.0.0 to 239.255.255.255)".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn accepts(attach: Attach, text: &str) {
        let endpoint =
            Endpoint::parse(text, attach).unwrap_or_else(|reason| panic!("{text}: {reason}"));
        assert_eq!(endpoint.to_string(), text);
        assert_eq!(endpoint.attach(), attach);
    }

    fn refuses(attach: Attach, text: &str, part_of_reason: &str) {
        let reason = Endpoint::parse(text, attach).expect_err(text);
        assert!(reason.contains(part_of_reason), "{text}: {reason}");
        assert!(!reason.contains('\n'), "{text}: {reason}");
    }

    #[test]
    fn what_can_be_connected_to() {
        for text in [
            "tcp://127.0.0.1:5556",
            "tcp://localhost:1",
            "tcp://a-b.example_1.com:65535",
            "tcp://[::1]:5556",
            "tcp://[::ffff:10.0.0.1]:5556",
            "tcp://[fe80::1%eth0]:5556",
            "tcp://192.168.1.17:0;192.168.1.1:5555",
            "tcp://eth0:*;feed.example:5555",
            "tcp://[::1]:0;[::1]:5555",
            "ipc:///run/feed.sock",
            "ipc://relative",
            "ipc://@abstract",
            "ipc:///with space/é",
            "inproc://feed",
            "udp://239.192.1.1:5556",
            "udp://192.168.1.17;239.192.1.1:5556",
            "udp://*:5556",
        ] {
            accepts(Attach::Connect, text);
        }
    }

    #[test]
    fn what_can_be_bound() {
        for text in [
            "tcp://*:*",
            "tcp://*:5556",
            "tcp://127.0.0.1:0",
            "tcp://eth0:5556",
            "tcp://[::]:*",
            "ipc:///run/feed.sock",
            "ipc://@abstract",
            "inproc://feed",
            "udp://239.192.1.1:*",
            "udp://eth0;239.192.1.1:5556",
            "udp://[::1]:0",
        ] {
            accepts(Attach::Bind, text);
        }
    }

    #[test]
    fn what_neither_can_be() {
        for attach in [Attach::Connect, Attach::Bind] {
            for (text, part_of_reason) in [
                ("", "expected TRANSPORT://ADDRESS"),
                ("127.0.0.1:5556", "expected TRANSPORT://ADDRESS"),
                ("tcp:/127.0.0.1:5556", "expected TRANSPORT://ADDRESS"),
                ("TCP://127.0.0.1:5556", "supported are tcp://, ipc://"),
                ("://x", "supported are"),
                ("norm://239.1.1.1", "supported are"),
                ("udp://239.1.1.1", "expected GROUP:PORT"),
                ("udp://239.1.1.1:x", "the port must be a number"),
                ("udp://eth0;10.0.0.1:5", "for multicast groups only"),
                ("ws://127.0.0.1:80", "supported are"),
                ("wss://127.0.0.1:80", "supported are"),
                ("tipc://{1,2,3}", "supported are"),
                ("vmci://1:2", "supported are"),
                ("gssapi://x:1", "supported are"),
                ("tcp://", "expected HOST:PORT"),
                ("tcp://127.0.0.1", "expected HOST:PORT"),
                ("tcp://:5556", "the host is missing"),
                ("tcp://127.0.0.1:", "the port must be a number"),
                ("tcp://127.0.0.1:65536", "the port must be a number"),
                ("tcp://127.0.0.1:+5", "the port must be a number"),
                ("tcp://127.0.0.1:5x", "the port must be a number"),
                ("tcp://127.0.0.1:５", "the port must be a number"),
                ("tcp://::1:5556", "in brackets"),
                ("tcp://[::1:5556", "not closed"),
                ("tcp://[]:5556", "not a valid IPv6 address"),
                ("tcp://[::1%]:5556", "not a valid IPv6 address"),
                ("tcp://[1.2.3.4]:5556", "not a valid IPv6 address"),
                ("tcp://300.1.1.1:5556", "not a valid IPv4 address"),
                ("tcp://1.2.3:5556", "not a valid IPv4 address"),
                ("tcp://a b:5556", "neither an address nor a name"),
                ("tcp://-a:5556", "neither an address nor a name"),
                ("tcp://é:5556", "neither an address nor a name"),
                ("tcp://a/b:5556", "neither an address nor a name"),
                ("ipc://", "the path is missing"),
                ("ipc://@", "the path is missing"),
                ("ipc://*", "name a path"),
                ("inproc://", "the name is missing"),
                ("inproc://zeromq.zap.01", "authentication"),
                ("ipc:///a\0b", "control character"),
                ("tcp://127.0.0.1:5556\n", "control character"),
            ] {
                refuses(attach, text, part_of_reason);
            }
            refuses(attach, &format!("ipc://{}", "p".repeat(108)), "longer than 107 bytes");
            refuses(attach, &format!("inproc://{}", "p".repeat(2000)), "longer than 1024 bytes");
            refuses(attach, &format!("tcp://{}:1", "p".repeat(256)), "longer than 255 bytes");
            accepts(attach, &format!("ipc://{}", "p".repeat(107)));
        }
    }

    #[test]
    fn wildcards_are_for_binding_and_sources_for_connecting() {
        refuses(Attach::Connect, "tcp://*:5556", "cannot be *");
        refuses(Attach::Connect, "tcp://127.0.0.1:*", "1 to 65535");
        refuses(Attach::Connect, "tcp://127.0.0.1:0", "1 to 65535");
        refuses(Attach::Connect, "tcp://*:0;127.0.0.1:5", "source address before ';'");
        refuses(Attach::Connect, "tcp://127.0.0.1;127.0.0.1:5", "source address before ';'");
        refuses(Attach::Connect, "tcp://127.0.0.1:0;[::1]:5", "both be IPv4 or both be IPv6");
        refuses(Attach::Bind, "tcp://127.0.0.1:0;127.0.0.1:5", "connecting only");
    }

    #[test]
    fn multicast_is_read_strictly() {
        for text in ["eth0;239.192.1.1:5555", "239.192.1.1:5555", "127.0.0.1;224.0.0.1:1"] {
            assert_eq!(parse_multicast(text), Ok(()), "{text}");
        }
        for text in
            ["239.192.1.1", "eth0;10.0.0.1:5", ";239.1.1.1:5", "a;b;239.1.1.1:5", "[ff02::1]:5"]
        {
            assert!(parse_multicast(text).is_err(), "{text}");
        }
        if !has_multicast() {
            refuses(
                Attach::Connect,
                "epgm://eth0;239.192.1.1:5555",
                "cargo build --release --config",
            );
        }
    }

    #[test]
    fn no_text_panics_the_parser() {
        let mut random = Random::from_env();
        let pieces = [
            "tcp",
            "ipc",
            "inproc",
            "epgm",
            "udp",
            "://",
            ":",
            ";",
            "[",
            "]",
            "*",
            "@",
            "%",
            "::1",
            "0",
            "65536",
            "127.0.0.1",
            "\0",
            "é",
            "\u{202e}",
            "/",
            "..",
            " ",
            "eth0",
            "-",
            "+1",
        ];
        for _ in 0..20_000 {
            let text: String =
                (0..random.below(9)).map(|_| pieces[random.below(pieces.len())]).collect();
            for attach in [Attach::Connect, Attach::Bind] {
                let _ = Endpoint::parse(&text, attach);
            }
        }
    }
}
