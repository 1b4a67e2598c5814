//! Opens an endpoint: options, monitor, then bind or connect, with errors that say what to do.
//! Knows nothing of receiving.

use std::ffi::CString;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::connection::Handshakes;
use super::endpoint::{Attach, Endpoint, TcpHost, Transport};
use super::ffi::{Errno, Socket};
use super::incoming::Incoming;
use super::journal::Journal;
use super::link::Link;
use super::monitor::Monitor;
use super::zeromq::ZeroMq;
use super::{SocketKind, SourceConfig, SourceCounts, ipc_file};
use crate::error::Error;

/// How patient a source is with its peers. One set of values for all; tests have less time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Between libzmq's own attempts to connect, from and to; with jitter, doubled each time.
    pub(super) reconnect_min: Duration,
    pub(super) reconnect_max: Duration,
    /// For a TCP connection to be established.
    pub(super) connect: Duration,
    /// For a ZeroMQ handshake to be finished.
    pub(super) handshake: Duration,
    /// Before an endpoint that libzmq has given up is connected anew, from and to.
    pub(super) revive_min: Duration,
    pub(super) revive_max: Duration,
}

impl Patience {
    /// libzmq itself says within microseconds that it goes on, so half a second of silence is
    /// certain. An upper limit of two seconds keeps a restarted publisher's outage short, and 10,000 gateways from hammering
    /// one that is down.
    pub(super) const NORMAL: Self = Self {
        reconnect_min: Duration::from_millis(100),
        reconnect_max: Duration::from_secs(2),
        connect: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        revive_min: Duration::from_millis(500),
        revive_max: Duration::from_secs(2),
    };
}

/// Connections that may wait to be accepted: thousands of publishers that restart at once.
const BACKLOG: i32 = 4096;

/// With ZMQ_RATE's default of 100, one datagram in a hundred lost of a publisher of 10 Mbit/s cost three messages in four;
/// with 10,000 or more, none. 100,000 takes 0.7 MB for each publisher.
const MULTICAST_KBITS_PER_SECOND: i32 = 100_000;

impl ZeroMq {
    /// See [`super::Source::open`].
    pub(crate) fn open(
        context: &zmq::Context,
        endpoint: &Endpoint,
        config: &SourceConfig,
    ) -> Result<Self, Error> {
        Self::open_with(context, endpoint, config, Patience::NORMAL)
    }

    pub(super) fn open_with(
        context: &zmq::Context,
        endpoint: &Endpoint,
        config: &SourceConfig,
        patience: Patience,
    ) -> Result<Self, Error> {
        let fail = |reason| Error::Endpoint { endpoint: endpoint.to_string(), reason };
        check_before_opening(endpoint).map_err(fail)?;
        let no_socket = |errno| fail(format!("cannot create a ZeroMQ socket: {errno}"));
        let kind = match config.socket {
            SocketKind::Sub => zmq::SUB,
            SocketKind::Pull => zmq::PULL,
        };
        let mut socket = Socket::new(context, kind).map_err(no_socket)?;
        set_options(socket.zmq(), config, patience)
            .and_then(|()| set_handshake_timer(socket.zmq(), endpoint, config, patience))
            .and_then(|()| set_multicast_rate(socket.zmq(), endpoint))
            .and_then(|()| config.security.apply(socket.zmq(), endpoint.attach()))
            .map_err(|error| no_socket(Errno::from(error)))?;
        let monitor = Monitor::start(context, &mut socket).map_err(no_socket)?;
        let now = Instant::now();
        // From here on the monitor is stopped in order, also on errors.
        let mut source = Self {
            socket,
            monitor,
            endpoint: endpoint.clone(),
            address: endpoint.to_string(),
            ipc_file: None,
            heartbeat: config.heartbeat,
            handshakes: has_own_handshake_timer(endpoint, config)
                .then(|| Handshakes::with_timeout(patience.handshake)),
            incoming: Incoming::with_limit(config.message_bytes_max),
            unsent_changes: 0,
            link: Link::new(endpoint.attach(), patience.revive_min, patience.revive_max),
            journal: Journal::new(endpoint.attach(), now),
            counts: SourceCounts::default(),
            needs_drain: true,
            monitor_unread_since: Some(now),
        };
        if config.socket == SocketKind::Sub {
            config.subscribe.iter().for_each(|prefix| source.subscribe(prefix));
        }
        source.attach().map_err(|errno| fail(explain(errno, endpoint)))?;
        Ok(source)
    }

    fn attach(&mut self) -> Result<(), Errno> {
        let address = c_string(&self.endpoint);
        let socket = self.socket.zmq();
        socket.set_ipv6(wants_ipv6(&self.endpoint))?;
        if self.endpoint.attach() == Attach::Connect {
            return self.socket.connect(&address);
        }
        match self.socket.bind(&address) {
            // `*` is both families where the system has IPv6, and IPv4 alone where it has not.
            Err(errno)
                if *self.endpoint.transport() == Transport::Tcp(TcpHost::Any)
                    && !matches!(
                        errno.kind(),
                        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
                    ) =>
            {
                self.socket.zmq().set_ipv6(false)?;
                self.socket.bind(&address)?;
            }
            bound => bound?,
        }
        if *self.endpoint.transport() == Transport::Ipc {
            self.ipc_file = ipc_file::IpcFile::bound_at(self.endpoint.address());
        }
        if let Ok(Ok(last_endpoint)) = self.socket.zmq().get_last_endpoint()
            && !last_endpoint.is_empty()
        {
            self.address = last_endpoint;
        }
        Ok(())
    }
}

/// The endpoint for libzmq.
pub(super) fn c_string(endpoint: &Endpoint) -> CString {
    CString::new(endpoint.as_str()).expect("an endpoint contains no control character")
}

/// Refuses what libzmq would do damage with.
fn check_before_opening(endpoint: &Endpoint) -> Result<(), String> {
    match (endpoint.transport(), endpoint.attach()) {
        (Transport::Ipc, Attach::Bind) => ipc_file::check_free(endpoint.address()),
        // libzmq aborts the process when it finds later, in its own thread, that it may not.
        (Transport::Pgm, _) => {
            use rustix::net::{AddressFamily, Protocol, SocketType, ipproto};
            let protocol: Option<Protocol> = Some(ipproto::RAW);
            match rustix::net::socket(AddressFamily::INET, SocketType::RAW, protocol) {
                Ok(_) => Ok(()),
                Err(_) => Err("pgm:// needs CAP_NET_RAW; epgm:// does not".into()),
            }
        }
        _ => Ok(()),
    }
}

fn set_options(
    socket: &zmq::Socket,
    config: &SourceConfig,
    patience: Patience,
) -> Result<(), zmq::Error> {
    socket.set_rcvhwm(config.rcvhwm.max(0))?;
    socket.set_maxmsgsize(part_bytes_max(config.message_bytes_max))?;
    socket.set_reconnect_ivl(millis(patience.reconnect_min))?;
    socket.set_reconnect_ivl_max(millis(patience.reconnect_max))?;
    socket.set_connect_timeout(millis(patience.connect))?;
    socket.set_backlog(BACKLOG)?;
    // No ZMTP heartbeats: libzmq aborts the process when one times out while a full queue stops it from reading, and
    // peers of ZMTP 3.0 do not answer them. The kernel looks for dead hosts instead: see `connection`.
    // Subscriptions wait in a queue to be sent, all of them at once for a publisher that comes back, and what does not
    // fit is lost without a word (libzmq issue 2258). How long it becomes, Source::set_subscribed bounds.
    socket.set_sndhwm(0)?;
    Ok(())
}

/// Whether handshakes are timed by [`Handshakes`]. With security, libzmq refuses ZMTP 1 and 2, so that its own timer does
/// no harm. The bytes of an ipc connection are not counted by the kernel.
fn has_own_handshake_timer(endpoint: &Endpoint, config: &SourceConfig) -> bool {
    matches!(endpoint.transport(), Transport::Tcp(_)) && config.security.is_none()
}

fn set_handshake_timer(
    socket: &zmq::Socket,
    endpoint: &Endpoint,
    config: &SourceConfig,
    patience: Patience,
) -> Result<(), zmq::Error> {
    let is_own = has_own_handshake_timer(endpoint, config);
    socket.set_handshake_ivl(if is_own { 0 } else { millis(patience.handshake) })
}

/// From a socket that receives, PGM takes only how much may be missing and still be repaired: what a publisher of this
/// rate sends in ZMQ_RECOVERY_IVL (10 s).
fn set_multicast_rate(socket: &zmq::Socket, endpoint: &Endpoint) -> Result<(), zmq::Error> {
    match endpoint.transport() {
        Transport::Pgm | Transport::Epgm => socket.set_rate(MULTICAST_KBITS_PER_SECOND),
        Transport::Tcp(_) | Transport::Ipc | Transport::Inproc | Transport::Udp(_) => Ok(()),
    }
}

/// ZMQ_MAXMSGSIZE, the cap on an announced part, for messages of up to `message_bytes_max`. A part
/// above it costs the connection, so it is far above what is merely dropped; it is never below the
/// 276 bytes that handshakes need.
fn part_bytes_max(message_bytes_max: usize) -> i64 {
    i64::try_from(message_bytes_max.saturating_mul(4)).unwrap_or(i64::MAX).max(1 << 20)
}

/// Whole milliseconds for libzmq, at least 1: there 0 means off.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// ZMQ_IPV6 makes libzmq prefer IPv6 for every name, also where the publisher listens on IPv4
/// alone, and take only the first address. So it is on for IPv6 addresses, for `*`, and for names
/// that have no IPv4 address.
fn wants_ipv6(endpoint: &Endpoint) -> bool {
    match endpoint.transport() {
        Transport::Tcp(TcpHost::Any | TcpHost::Ipv6) => true,
        Transport::Tcp(TcpHost::Name) if endpoint.attach() == Attach::Connect => {
            let destination = endpoint.address().rsplit(';').next().unwrap_or_default();
            let addresses: Vec<SocketAddr> =
                destination.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
            !addresses.is_empty() && addresses.iter().all(SocketAddr::is_ipv6)
        }
        _ => false,
    }
}

/// What went wrong and what to do.
fn explain(errno: Errno, endpoint: &Endpoint) -> String {
    let is_tcp = matches!(endpoint.transport(), Transport::Tcp(_));
    let is_multicast = matches!(endpoint.transport(), Transport::Pgm | Transport::Epgm);
    let advice = match errno.kind() {
        ErrorKind::InvalidInput | ErrorKind::NotFound if is_multicast => {
            "no such interface, or not an address of one, on this machine"
        }
        _ if errno.0 == zmq_sys::errno::ENOCOMPATPROTO => "this transport needs a SUB socket",
        _ if errno.0 == zmq_sys::errno::ENODEV => {
            "no such address or interface on this machine: bind an IP address, or * for all"
        }
        _ if errno.0 == zmq_sys::errno::EMFILE => "too many open files, or ZeroMQ sockets",
        ErrorKind::AddrInUse if is_tcp => "stop the other program, or choose another port",
        ErrorKind::AddrInUse => "choose another name",
        ErrorKind::AddrNotAvailable => "it is not an address of this machine",
        ErrorKind::PermissionDenied if is_tcp => "ports below 1024 need CAP_NET_BIND_SERVICE",
        ErrorKind::NotFound => "its directory does not exist",
        _ => return errno.to_string(),
    };
    format!("{errno} ({advice})")
}
