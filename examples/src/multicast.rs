//! The sockets that send and receive RADIO/DISH datagrams, to multicast groups or to one host. Knows
//! nothing of what is in them but their form.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::datagram;
use crate::endpoint::UdpEndpoint;

/// What the system may keep for a reader that is late; it gives less where it allows less.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

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
        let explain = |error: io::Error| format!("cannot send to {endpoint}: {error}");
        if endpoint.address.port() == 0 {
            return Err(format!("cannot send to {endpoint}: the port must be from 1 to 65535"));
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(explain)?;
        if endpoint.address.ip().is_multicast() {
            socket.set_multicast_ttl_v4(hops).map_err(explain)?;
            socket.set_multicast_loop_v4(true).map_err(explain)?;
        }
        if let Some(interface) = &endpoint.interface {
            sockopt::set_ip_multicast_if(&socket, interface)
                .map_err(|errno| explain(errno.into()))?;
        }
        Ok(Self { socket, address: endpoint.address.into(), datagram: Vec::new() })
    }

    /// Sends one message; returns the bytes of its datagram.
    ///
    /// # Errors
    ///
    /// It was not sent. That nobody listens is no error.
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
        Self::try_open(endpoint).map_err(|error| format!("cannot listen on {endpoint}: {error}"))
    }

    fn try_open(endpoint: &UdpEndpoint) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        // Beyond what the system allows only with the right to; the other call takes what it can get.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        }
        let group = *endpoint.address.ip();
        if group.is_multicast() {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        // To the group and not to every address: what others send to this port is not for us.
        bind(&socket, &endpoint.address)?;
        let socket = UdpSocket::from(socket);
        if group.is_multicast() {
            let interface = endpoint.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
            socket.join_multicast_v4(&group, &interface)?;
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
        drops_of(&fs::read_to_string("/proc/self/net/udp").ok()?, inode)
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

/// `udp://ADDRESS`, as it can be typed to reach `endpoint` at `address`.
pub fn reachable(endpoint: &UdpEndpoint, address: SocketAddr) -> String {
    let ip = *endpoint.address.ip();
    UdpEndpoint { address: SocketAddrV4::new(ip, address.port()), ..*endpoint }.to_string()
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
