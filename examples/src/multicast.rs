//! The sockets that send and receive RADIO/DISH datagrams, to multicast groups or to one host. Knows
//! nothing of what is in them but their form.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::datagram;
use crate::endpoint::{Interface, UdpEndpoint};

/// What the system may keep for a reader that is late; it gives less where it allows less.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// The system's table of sockets may lack one where others come and go while it is read: with 50 at a time, one
/// read of about 100 did.
const TABLE_READS_MAX: u32 = 20;

/// Sends.
#[derive(Debug)]
pub struct Radio {
    socket: UdpSocket,
    address: SocketAddr,
    datagram: Vec<u8>,
}

/// Why a message was not sent.
#[derive(Debug)]
pub enum NotSent {
    /// It, or its topic, is too long for a datagram.
    TooLong,
    /// The system refused.
    Refused(io::Error),
}

impl Radio {
    /// Opens a socket that sends to `endpoint`; a group's datagrams pass at most `hops` - 1 routers, and
    /// are heard on this host, too.
    ///
    /// # Errors
    ///
    /// One line that names the endpoint and the reason.
    pub fn open(endpoint: &UdpEndpoint, hops: u32) -> Result<Self, String> {
        Self::try_open(endpoint, hops)
            .map_err(|reason| format!("cannot send to {endpoint}: {reason}"))
    }

    fn try_open(endpoint: &UdpEndpoint, hops: u32) -> Result<Self, String> {
        let address = endpoint.address;
        if address.port() == 0 {
            return Err("the port must be from 1 to 65535".into());
        }
        if address.ip().is_unspecified() {
            return Err("name the host, or a group: * is for those who listen".into());
        }
        let explain = |error: io::Error| explain(&error, endpoint);
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).map_err(explain)?;
        if let Some(group) = endpoint.group() {
            socket.set_multicast_ttl_v4(hops).map_err(explain)?;
            socket.set_multicast_loop_v4(true).map_err(explain)?;
            let (interface, index) = interface(&socket, endpoint).map_err(explain)?;
            if endpoint.interface.is_some() {
                sockopt::set_ip_multicast_if_with_ifindex(&socket, &group, &interface, index)
                    .map_err(|errno| explain(errno.into()))?;
            }
        }
        Ok(Self { socket, address, datagram: Vec::new() })
    }

    /// Sends one message; returns the bytes of its datagram.
    ///
    /// # Errors
    ///
    /// It was not sent. A group without listeners is no error.
    pub fn send(&mut self, topic: &[u8], body: &[u8]) -> Result<usize, NotSent> {
        if !datagram::write(&mut self.datagram, topic, body) {
            return Err(NotSent::TooLong);
        }
        self.socket.send_to(&self.datagram, self.address).map_err(NotSent::Refused)
    }
}

/// Receives.
#[derive(Debug)]
pub struct Dish {
    socket: UdpSocket,
}

impl Dish {
    /// Joins the group of `endpoint`, or takes what is sent to its address. Any number of processes may
    /// join a group on one host, and each gets everything.
    ///
    /// # Errors
    ///
    /// One line that names the endpoint and the reason.
    pub fn open(endpoint: &UdpEndpoint) -> Result<Self, String> {
        Self::try_open(endpoint)
            .map_err(|error| format!("cannot listen on {endpoint}: {}", explain(&error, endpoint)))
    }

    fn try_open(endpoint: &UdpEndpoint) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = match endpoint.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
        // Beyond what the system allows only with the right to; the other call takes what it can get.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        }
        let group = endpoint.group();
        if group.is_some() {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        // To the group and not to every address: what others send to this port is not for us.
        bind(&socket, &endpoint.address)?;
        let socket = UdpSocket::from(socket);
        if let Some(group) = group {
            let (interface, index) = interface(&socket, endpoint)?;
            sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &interface, index)?;
        }
        Ok(Self { socket })
    }

    /// Where it listens: with port 0, the system chose.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next datagram, or none for now.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        loop {
            match self.socket.recv(buffer) {
                Ok(len) => return Ok(Some(&buffer[..len])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// For a poller; to be used while `self` lives.
    pub fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// How many datagrams the system had no room for; `None` where it does not say.
    pub fn dropped(&self) -> Option<u64> {
        let inode = inode_of(self.socket.as_fd())?;
        let is_ipv6 = self.address().ok()?.is_ipv6();
        let table = if is_ipv6 { "/proc/self/net/udp6" } else { "/proc/self/net/udp" };
        (0..TABLE_READS_MAX).find_map(|_| drops_of(&fs::read_to_string(table).ok()?, inode))
    }
}

fn inode_of(fd: BorrowedFd<'_>) -> Option<u64> {
    fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok().map(|data| data.ino())
}

/// The last column of the line whose tenth is `inode` (proc_net_udp(5)).
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    let mut lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_ours = |columns: &Vec<&str>| columns.get(9).is_some_and(|it| it.parse() == Ok(inode));
    lines.find(is_ours)?.get(12)?.parse().ok()
}

/// As the system wants it: an address, or else the number of a name; neither leaves the choice to it.
fn interface(socket: &UdpSocket, endpoint: &UdpEndpoint) -> io::Result<(Ipv4Addr, u32)> {
    match &endpoint.interface {
        Some(Interface::Address(address)) => Ok((*address, 0)),
        Some(Interface::Name(name)) => Ok((Ipv4Addr::UNSPECIFIED, name_to_index(socket, name)?)),
        None => Ok((Ipv4Addr::UNSPECIFIED, 0)),
    }
}

/// The system's words, and what to do where they do not say it.
fn explain(error: &io::Error, endpoint: &UdpEndpoint) -> String {
    let is_missing = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    let is_missing = is_missing == Some(rustix::io::Errno::NODEV);
    match &endpoint.interface {
        None if is_missing => format!(
            "{error} (there is no route to the group: name an interface, as in udp://127.0.0.1;239.192.1.1:5556)"
        ),
        Some(_) if is_missing || error.kind() == io::ErrorKind::AddrNotAvailable => {
            format!("{error} (`ip address` shows this machine's interfaces and their addresses)")
        }
        _ => error.to_string(),
    }
}

/// `udp://ADDRESS`, as it can be typed to reach `endpoint` at `address`.
pub fn reachable(endpoint: &UdpEndpoint, address: SocketAddr) -> String {
    let mut reachable = endpoint.clone();
    reachable.address.set_port(address.port());
    reachable.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn udp(text: &str) -> UdpEndpoint {
        let Endpoint::Udp(endpoint) = Endpoint::to_connect(text).unwrap() else { panic!("{text}") };
        endpoint
    }

    fn wait(dish: &Dish, buffer: &mut [u8]) -> Vec<u8> {
        dish.socket.set_nonblocking(false).unwrap();
        dish.receive(buffer).unwrap().unwrap().to_vec()
    }

    #[test]
    fn everyone_who_joined_a_group_hears_what_is_sent_to_it() {
        let first = udp("udp://127.0.0.1;239.192.71.1:0");
        let dish = Dish::open(&first).unwrap();
        let shared = udp(&reachable(&first, dish.address().unwrap()));
        let dishes = [dish, Dish::open(&shared).unwrap()];
        let mut radio = Radio::open(&shared, 1).unwrap();
        assert_eq!(radio.send(b"topic", b"body").unwrap(), 10);
        for dish in &dishes {
            assert_eq!(wait(dish, &mut [0; 100]), b"\x05topicbody");
            assert_eq!(dish.dropped(), Some(0));
        }
    }

    #[test]
    fn the_gateways_forms_of_addresses_are_sent_to_and_listened_on() {
        for text in ["udp://lo;239.192.71.9:0", "udp://[::1]:0", "udp://*:0"] {
            let endpoint = udp(text);
            let dish = Dish::open(&endpoint).unwrap_or_else(|reason| panic!("{reason}"));
            let reachable = reachable(&endpoint, dish.address().unwrap());
            let radio = Radio::open(&udp(&reachable.replace("0.0.0.0", "127.0.0.1")), 1);
            radio.unwrap_or_else(|reason| panic!("{reason}")).send(b"t", b"b").unwrap();
            assert_eq!(wait(&dish, &mut [0; 100]), b"\x01tb", "{text}");
            assert_eq!(dish.dropped(), Some(0));
        }
        for text in ["udp://nowhere0;239.192.71.9:5556", "udp://192.0.2.1;239.192.71.9:5556"] {
            for reason in [Dish::open(&udp(text)).err(), Radio::open(&udp(text), 1).err()] {
                let reason = reason.unwrap();
                assert!(reason.contains(text) && reason.contains("ip address"), "{reason}");
            }
        }
        let reason = Radio::open(&udp("udp://*:5556"), 1).err().unwrap();
        assert!(reason.contains("name the host"), "{reason}");
    }

    #[test]
    fn what_does_not_fit_is_told_and_not_sent() {
        let endpoint = udp("udp://127.0.0.1:0");
        let dish = Dish::open(&endpoint).unwrap();
        let mut radio =
            Radio::open(&udp(&reachable(&endpoint, dish.address().unwrap())), 1).unwrap();
        assert!(matches!(radio.send(&[b't'; 256], b""), Err(NotSent::TooLong)));
        assert!(matches!(radio.send(b"t", &[b'b'; 8192]), Err(NotSent::TooLong)));
        radio.send(b"t", b"fits").unwrap();
        assert_eq!(wait(&dish, &mut [0; 100]), b"\x01tfits");
    }

    #[test]
    fn one_host_has_one_reader_and_nobody_takes_its_place() {
        let endpoint = udp("udp://127.0.0.1:0");
        let dish = Dish::open(&endpoint).unwrap();
        let taken = udp(&reachable(&endpoint, dish.address().unwrap()));
        assert!(Dish::open(&taken).err().unwrap().contains(&taken.to_string()));
        assert!(Radio::open(&endpoint, 1).err().unwrap().contains("port"));
    }

    #[test]
    fn the_systems_count_of_drops_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             101: 0100007F:15B4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 42\n";
        assert_eq!(drops_of(table, 4711), Some(42));
        assert_eq!(drops_of(table, 4712), None);
    }
}
