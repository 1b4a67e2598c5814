//! Listening sockets: where clients connect, and how they are accepted.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::stream::{Stream, set_client_options};
use super::tls::Acceptor;
use crate::error::ParseError;

/// Connections that may wait to be accepted. The kernel lowers it to net.core.somaxconn, 4096 by default.
const BACKLOG: i32 = 4096;

/// Where to listen (`--listen`).
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use zmq2ws::{Gateway, ListenAddr};
///
/// let anywhere: SocketAddr = "[::1]:0".parse().unwrap();
/// let builder = Gateway::builder()
///     .listen(anywhere)
///     .listen(([127, 0, 0, 1], 8080))
///     .listen(ListenAddr::Tcp("localhost:8081".into()))
///     .listen(ListenAddr::Unix("/run/zmq2ws/http.sock".into()));
/// builder.check()?;
/// assert_eq!("systemd".parse(), Ok(ListenAddr::Systemd));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// `HOST:PORT`; port 0 lets the system choose one.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `systemd`: the sockets that the service manager opened.
    Systemd,
}

impl FromStr for ListenAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = ParseError::new("expected HOST:PORT, [IPV6]:PORT, unix:PATH or systemd");
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // sockaddr_un holds 108 bytes, the last of them zero.
            return match path.len() {
                1..108 if !path.contains('\0') => Ok(Self::Unix(path.into())),
                _ => Err(ParseError::new("expected unix: and a path of 1 to 107 bytes")),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err(expected) };
        if port.parse::<u16>().is_err() {
            return Err(ParseError::new(
                "expected HOST:PORT, [IPV6]:PORT, unix:PATH or systemd: the port is not a number up to 65535",
            ));
        }
        let is_ipv6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !is_ipv6) || host.contains(['\0', '/']) {
            return Err(expected);
        }
        Ok(Self::Tcp(text.into()))
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for ListenAddr {
    /// An address and a port; port 0 lets the system choose one.
    fn from(address: (I, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

/// A socket that accepts clients.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    place: Place,
    /// `None` where clients speak without TLS.
    tls: Option<Acceptor>,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    /// The path is removed with the listener.
    Unix(PathBuf),
    /// A Unix socket whose path is the service manager's.
    Inherited,
}

/// What a TCP listener is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpOptions {
    /// TCP_USER_TIMEOUT of the accepted sockets: for so long may bytes that were sent stay unacknowledged.
    pub(crate) user_timeout: Duration,
    /// SO_REUSEPORT: other processes of the same user may listen there, too, and the kernel spreads clients over all.
    pub(crate) shares_port: bool,
}

/// A client that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    /// `None` for a Unix socket.
    pub(crate) ip: Option<IpAddr>,
}

/// Why nothing can listen at an address.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// Another program listens at the port.
    InUse,
    /// Anything else: the reason, and what to do.
    Other(String),
}

impl From<Errno> for ListenError {
    fn from(errno: Errno) -> Self {
        let hint = match errno {
            Errno::ADDRINUSE => return Self::InUse,
            Errno::ACCESS => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
            Errno::ADDRNOTAVAIL => " (this machine does not have that address)",
            _ => "",
        };
        Self::Other(format!("{}{hint}", io::Error::from(errno)))
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => write!(f, "{}", io::Error::from(Errno::ADDRINUSE)),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl Listener {
    /// Opens every socket that `address` stands for: a host name may have several addresses.
    pub(crate) fn open(
        address: &ListenAddr,
        options: TcpOptions,
    ) -> Result<Vec<Self>, ListenError> {
        let fail = ListenError::Other;
        match address {
            ListenAddr::Tcp(text) => {
                let resolved: Vec<_> = text
                    .to_socket_addrs()
                    .map_err(|error| fail(format!("cannot resolve the host: {error}")))?
                    .collect();
                let mut listeners: Vec<Self> = Vec::new();
                for socket_addr in resolved {
                    match listen_tcp(socket_addr, options) {
                        Ok(listener) => listeners.push(listener),
                        // `localhost` names ::1 also where IPv6 is switched off.
                        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if !listeners.is_empty() => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                match listeners.is_empty() {
                    true => Err(fail("the host has no address".into())),
                    false => Ok(listeners),
                }
            }
            ListenAddr::Unix(path) => Ok(vec![listen_unix(path).map_err(fail)?]),
            ListenAddr::Systemd => inherited_listeners(options.user_timeout).map_err(fail),
        }
    }

    /// Has clients speak TLS, where they come by TCP: a Unix socket does not leave this host.
    pub(crate) fn with_tls(mut self, acceptor: &Acceptor) -> Self {
        if let Place::Tcp(_) = self.place {
            self.tls = Some(acceptor.clone());
        }
        self
    }

    /// Accepts one waiting client; `None` when there is none.
    pub(crate) fn accept(&self) -> io::Result<Option<Accepted>> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            return match rustix::net::acceptfrom_with(&self.socket, flags) {
                Ok((socket, address)) => {
                    let ip = address
                        .and_then(|address| SocketAddr::try_from(address).ok())
                        .map(|address| address.ip().to_canonical());
                    let stream = match &self.tls {
                        None => Stream::new(socket),
                        Some(acceptor) => acceptor.accept(socket)?,
                    };
                    Ok(Some(Accepted { stream, ip }))
                }
                Err(Errno::WOULDBLOCK) => Ok(None),
                // The client went away while it waited (accept(2), "Error handling").
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// The address for people: a URL for TCP.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Tcp(address) if self.tls.is_some() => format!("https://{address}"),
            Place::Tcp(address) => format!("http://{address}"),
            Place::Unix(path) => format!("unix:{}", path.display()),
            Place::Inherited => "a Unix socket of the service manager".into(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix(path) = &self.place {
            // Nothing can be done about a path that somebody else removed.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen_tcp(address: SocketAddr, options: TcpOptions) -> Result<Listener, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Without it a restarted gateway waits for the old one's connections to time out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        // [::] is IPv6 only, so that it can be given beside 0.0.0.0, whatever the system's default is.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseport(&socket, options.shares_port)?;
    set_client_options(&socket, options.user_timeout)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok(Listener { socket, place: Place::Tcp(address), tls: None })
}

fn listen_unix(path: &PathBuf) -> Result<Listener, String> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(
                "there is something else than a socket; remove it or choose another path".into()
            );
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err("another program listens there".into());
        }
        // What a gateway that was killed left behind.
        Ok(_) => std::fs::remove_file(path).map_err(|error| error.to_string())?,
        Err(_) => {}
    }
    let socket = UnixListener::bind(path).map_err(|error| error.to_string())?;
    socket.set_nonblocking(true).map_err(|error| error.to_string())?;
    let socket = OwnedFd::from(socket);
    rustix::net::listen(&socket, BACKLOG).map_err(|errno| errno.to_string())?;
    Ok(Listener { socket, place: Place::Unix(path.clone()), tls: None })
}

/// The listening sockets that were passed to this process.
fn inherited_listeners(user_timeout: Duration) -> Result<Vec<Listener>, String> {
    let listener = |socket: OwnedFd| {
        let not_usable = |errno: Errno| format!("a socket that was passed cannot be used: {errno}");
        rustix::io::ioctl_fionbio(&socket, true).map_err(not_usable)?;
        let address = rustix::net::getsockname(&socket).map_err(not_usable)?;
        let place = match SocketAddr::try_from(address) {
            Ok(address) => {
                set_client_options(&socket, user_timeout).map_err(not_usable)?;
                Place::Tcp(address)
            }
            Err(_) => Place::Inherited,
        };
        Ok(Listener { socket, place, tls: None })
    };
    super::inherited::take_sockets()?.into_iter().map(listener).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpStream;

    #[test]
    fn addresses_are_checked_before_they_are_used() {
        for valid in ["127.0.0.1:0", "[::1]:80", "localhost:8080", "unix:/tmp/a", "systemd"] {
            assert_eq!(valid.parse::<ListenAddr>().unwrap().to_string(), valid);
        }
        for invalid in ["", "8080", "a:b", "a:65536", ":80", "::1:80", "unix:", "http://a:1"] {
            assert!(invalid.parse::<ListenAddr>().is_err(), "{invalid}");
        }
    }

    fn open(text: &str) -> Result<Listener, ListenError> {
        let address = text.parse().unwrap();
        let options = TcpOptions { user_timeout: Duration::from_secs(30), shares_port: false };
        Listener::open(&address, options).map(|mut all| all.remove(0))
    }

    #[test]
    fn a_port_is_shared_by_who_agrees() {
        let options = TcpOptions { user_timeout: Duration::from_secs(30), shares_port: true };
        let address = |listener: &Listener| listener.url().replace("http://", "").parse().unwrap();
        let first = Listener::open(&"127.0.0.1:0".parse().unwrap(), options).unwrap().remove(0);
        let second = Listener::open(&address(&first), options).unwrap().remove(0);
        assert_eq!(first.url(), second.url());
        let error = open(&first.url().replace("http://", "")).unwrap_err();
        assert!(matches!(error, ListenError::InUse), "{error}");
    }

    #[test]
    fn accepted_sockets_do_not_block_and_know_their_peer() {
        let listener = open("127.0.0.1:0").unwrap();
        assert!(listener.accept().unwrap().is_none());
        let address = listener.url().replace("http://", "");
        let mut client = TcpStream::connect(&address).unwrap();
        let mut accepted = listener.accept().unwrap().unwrap();
        assert_eq!(accepted.ip, Some(IpAddr::from([127, 0, 0, 1])));
        let mut buffer = [0; 8];
        let error = super::super::ByteStream::read(&mut accepted.stream, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(sockopt::tcp_nodelay(&accepted.stream).unwrap(), "inherited");
        assert_eq!(sockopt::tcp_user_timeout(&accepted.stream).unwrap(), 30_000, "inherited");
        client.write_all(b"x").unwrap();
    }

    #[test]
    fn an_address_in_use_is_named_with_what_to_do() {
        let first = open("127.0.0.1:0").unwrap();
        let error = open(&first.url().replace("http://", "")).unwrap_err();
        assert!(matches!(error, ListenError::InUse), "{error}");
    }

    #[test]
    fn a_unix_path_is_taken_over_only_from_the_dead() {
        let path = std::env::temp_dir().join(format!("zmq2ws-listener-{}", std::process::id()));
        let text = format!("unix:{}", path.display());
        std::fs::write(&path, "precious").unwrap();
        assert!(open(&text).unwrap_err().to_string().contains("else than a socket"));
        std::fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let listener = open(&text).unwrap();
        assert!(open(&text).unwrap_err().to_string().contains("another program"));
        drop(listener);
        assert!(!path.exists());
    }
}
