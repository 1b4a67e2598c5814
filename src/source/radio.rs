//! Receives what ZeroMQ's RADIO sockets send by UDP (RFC 48), from a multicast group or to an address of this machine.
//! Knows neither topics nor clients.
//!
//! A datagram is a byte for the length of the group's name, the name, and the body. Anybody can send one and say that he is
//! somebody else, so who sent it is not even asked for.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use super::datagrams::{DATAGRAM_BYTES_MAX, Datagrams};
use super::endpoint::Endpoint;
use super::journal::Journal;
use super::prefixes::Prefixes;
use super::udp::{Interface, UdpAddress};
use super::{Arrival, Budget, Drained, SourceConfig, SourceCounts};
use crate::error::{DropReason, Error};
use crate::message::Part;

/// What may wait in the kernel, which counts it twice: about 10,000 small datagrams, as many messages as ZeroMQ lets wait for
/// a publisher, since there one of 64 bytes takes 768.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// An interface that was deleted and made anew has lost its groups, and nobody says so. It is silent no longer than ZeroMQ
/// pauses at most between two attempts to connect.
const JOIN_INTERVAL: Duration = Duration::from_secs(5);

/// A socket for the datagrams of RADIO sockets. See the [calling rule](super); the descriptor is level-triggered.
pub(crate) struct Radio {
    datagrams: Datagrams,
    membership: Option<Membership>,
    address: String,
    prefixes: Prefixes,
    message_bytes_max: usize,
    buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
    /// The group and the body.
    parts: [Part; 2],
    /// What the kernel said last of how many it dropped.
    dropped: u32,
    /// Whether something was lost since the last message was handed on.
    follows_loss: bool,
    journal: Journal,
    counts: SourceCounts,
    needs_drain: bool,
}

/// A group that is to be joined for as long as the socket is open.
struct Membership {
    group: Ipv4Addr,
    interface: Option<Interface>,
    /// Of an interface that is known by its name, when it was joined.
    index: Option<u32>,
    join_at: Instant,
    is_member: bool,
}

impl Radio {
    /// Opens `endpoint`, whose address is `address`: bound to or connected to is the same, since datagrams know no
    /// connection.
    pub(super) fn open(
        endpoint: &Endpoint,
        address: &UdpAddress,
        config: &SourceConfig,
    ) -> Result<Self, Error> {
        let fail = |reason| Error::Endpoint { endpoint: endpoint.to_string(), reason };
        let socket = bind(address).map_err(|error| fail(explain_bind(&error, address)))?;
        let now = Instant::now();
        let mut membership = address.group().map(|group| Membership {
            group,
            interface: address.interface.clone(),
            index: None,
            join_at: now + JOIN_INTERVAL,
            is_member: true,
        });
        if let Some(membership) = &mut membership {
            let interface = membership.interface.clone();
            membership
                .join(&socket)
                .map_err(|error| fail(explain_join(&error, interface.as_ref())))?;
        }
        let no_socket = |error: io::Error| fail(format!("cannot prepare a UDP socket: {error}"));
        let datagrams = Datagrams::new(socket).map_err(no_socket)?;
        let local = datagrams.local_address().map_err(no_socket)?;
        let mut radio = Self {
            datagrams,
            membership,
            address: UdpAddress { address: local, ..address.clone() }.to_string(),
            prefixes: Prefixes::default(),
            message_bytes_max: config.message_bytes_max,
            buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
            parts: [Part::new(), Part::new()],
            dropped: 0,
            follows_loss: false,
            journal: Journal::new(endpoint.attach(), now),
            counts: SourceCounts::default(),
            needs_drain: true,
        };
        radio.tell_buffer_size();
        config.subscribe.iter().for_each(|prefix| radio.subscribe(prefix));
        Ok(radio)
    }

    fn tell_buffer_size(&self) {
        // The kernel tells the doubled size.
        let bytes = self.datagrams.socket().recv_buffer_size().unwrap_or(0) / 2;
        if bytes < RECEIVE_BUFFER_BYTES {
            log::info!(
                "source {}: the kernel keeps up to {} KiB of datagrams; with net.core.rmem_max={RECEIVE_BUFFER_BYTES} a burst \
                 may be larger",
                self.address,
                bytes >> 10,
            );
        }
    }

    /// What the kernel may keep, as it counts.
    #[cfg(test)]
    pub(super) fn datagrams_bytes_max(&self) -> usize {
        self.datagrams.socket().recv_buffer_size().expect("an open socket")
    }

    /// As when the interface is deleted.
    #[cfg(test)]
    pub(super) fn leave_group(&mut self) {
        let membership = self.membership.as_ref().expect("a group");
        let interface = InterfaceIndexOrAddress::Index(1);
        let socket = self.datagrams.socket();
        socket.leave_multicast_v4_n(&membership.group, &interface).expect("a member");
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.address
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.datagrams.fd()
    }

    pub(super) fn note_ready(&mut self) {
        self.needs_drain = true;
    }

    pub(super) fn needs_drain(&self) -> bool {
        self.needs_drain
    }

    pub(super) fn counts(&self) -> &SourceCounts {
        &self.counts
    }

    /// See [`super::Source::drain`]. What is dropped or not wanted takes from the budget, too.
    pub(super) fn drain(
        &mut self,
        budget: Budget,
        on_message: &mut dyn FnMut(Arrival<'_>) -> bool,
    ) -> Drained {
        let Budget { mut messages, mut bytes } = budget;
        self.needs_drain = true;
        while messages > 0 && bytes > 0 {
            let datagram = match self.datagrams.receive(&mut self.buffer) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => {
                    // What was dropped after the last datagram: perhaps none comes for long.
                    self.note_dropped(self.datagrams.dropped());
                    self.needs_drain = false;
                    return Drained::Empty;
                }
                Err(error) => {
                    log::debug!("source {}: {error}", self.address);
                    self.needs_drain = false;
                    return Drained::Empty;
                }
            };
            self.note_dropped(datagram.dropped_before);
            messages -= 1;
            bytes = bytes.saturating_sub(datagram.len);
            if !self.take_in(datagram.len) {
                self.counts.passed_over += 1;
                continue;
            }
            let follows_loss = std::mem::take(&mut self.follows_loss);
            if !on_message(Arrival { parts: &self.parts, follows_loss }) {
                return Drained::More;
            }
        }
        Drained::More
    }

    /// Makes parts of the first `len` bytes of the buffer, where they are a message that is wanted.
    fn take_in(&mut self, len: usize) -> bool {
        let Some((group, body)) = parse(&self.buffer[..len]) else {
            self.count_drops(DropReason::Malformed, 1, len);
            return false;
        };
        if !self.prefixes.match_start_of(group) {
            return false;
        }
        let bytes = group.len() + body.len();
        if bytes > self.message_bytes_max {
            self.count_drops(DropReason::TooLarge, 1, bytes);
            return false;
        }
        self.parts = [Part::from(group), Part::from(body)];
        self.counts.messages += 1;
        self.counts.bytes += bytes as u64;
        true
    }

    /// The kernel has dropped so many in all, as far as is known.
    fn note_dropped(&mut self, dropped: Option<u32>) {
        let Some(dropped) = dropped else { return };
        let count = dropped.wrapping_sub(self.dropped);
        // What was asked for may be ahead of what a datagram says that arrived before.
        if count == 0 || count > u32::MAX / 2 {
            return;
        }
        self.dropped = dropped;
        self.follows_loss = true;
        self.count_drops(DropReason::Overflow, count.into(), 0);
    }

    fn count_drops(&mut self, reason: DropReason, count: u64, bytes: usize) {
        self.counts.dropped[reason as usize] += count;
        self.journal.note_dropped(reason, count, bytes);
    }

    /// Nobody can be asked, so what is not wanted is left out here.
    pub(super) fn subscribe(&mut self, prefix: &[u8]) {
        self.prefixes.insert(prefix);
        self.counts.subscriptions = self.prefixes.len() as u64;
    }

    pub(super) fn unsubscribe(&mut self, prefix: &[u8]) {
        self.prefixes.remove(prefix);
        self.counts.subscriptions = self.prefixes.len() as u64;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let join_at = self.membership.as_ref().map(|it| it.join_at);
        [join_at, self.journal.next_deadline()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(membership) = &mut self.membership
            && membership.join_at <= now
        {
            membership.join_at = now + JOIN_INTERVAL;
            self.follows_loss |= membership.renew(self.datagrams.socket(), &self.address);
        }
        self.journal.handle_timeout(now, &self.address);
    }
}

impl Membership {
    fn join(&mut self, socket: &Socket) -> io::Result<()> {
        let interface = match &self.interface {
            None => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
            Some(Interface::Address(address)) => InterfaceIndexOrAddress::Address(*address),
            Some(Interface::Name(name)) => {
                let index = rustix::net::netdevice::name_to_index(socket, name)?;
                if let Some(gone) = self.index.replace(index).filter(|it| *it != index) {
                    // A socket may be in few groups, and those of what is gone count.
                    let gone = InterfaceIndexOrAddress::Index(gone);
                    let _ = socket.leave_multicast_v4_n(&self.group, &gone);
                }
                InterfaceIndexOrAddress::Index(index)
            }
        };
        socket.join_multicast_v4_n(&self.group, &interface)
    }

    /// What the system's routes led to before counts as well, of the few groups that a socket may be in, and may bring
    /// everything twice. It cannot be named: all are left, and the one that was just joined is joined again.
    fn forget_former(&mut self, socket: &Socket) -> io::Result<()> {
        if self.interface.is_some() {
            return Ok(());
        }
        let any = InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED);
        while socket.leave_multicast_v4_n(&self.group, &any).is_ok() {}
        self.join(socket)
    }

    /// Joins again, where the interface has lost the group, or the system's routes lead to another one now. Returns whether
    /// that was so.
    fn renew(&mut self, socket: &Socket, address: &str) -> bool {
        match self.join(socket).and_then(|()| self.forget_former(socket)) {
            Ok(()) => {
                log::info!(
                    "source {address}: joined the group again, on an interface that had lost it"
                );
                self.is_member = true;
                true
            }
            // It is joined.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                self.is_member = true;
                false
            }
            Err(error) => {
                if std::mem::replace(&mut self.is_member, false) {
                    let reason = explain_join(&error, self.interface.as_ref());
                    log::warn!("source {address}: not in the group, trying again: {reason}");
                }
                false
            }
        }
    }
}

/// The group and the body of a datagram.
pub(super) fn parse(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&group_len, rest) = datagram.split_first()?;
    rest.split_at_checked(group_len.into())
}

/// A socket bound to a group gets nothing but what is sent to it, and without IP_MULTICAST_ALL only where it joined it
/// itself: no other program's groups.
fn bind(address: &UdpAddress) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address.address), Type::DGRAM.cloexec(), None)?;
    // Every socket that is bound so gets all of it. Of other datagrams only the last one bound would.
    let is_shared = address.group().is_some();
    // The system, asked for a free port, takes what may be shared for free.
    socket.set_reuse_address(is_shared && address.address.port() != 0)?;
    match address.address.is_ipv4() {
        true => socket.set_multicast_all_v4(false)?,
        false => socket.set_only_v6(true)?,
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(&address.address.into())?;
    socket.set_reuse_address(is_shared)?;
    Ok(socket)
}

/// What went wrong and what to do.
fn explain_bind(error: &io::Error, address: &UdpAddress) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse if address.group().is_some() => {
            "another program has the port for itself: stop it, or choose another port"
        }
        ErrorKind::AddrInUse => "stop the other program, or choose another port",
        ErrorKind::AddrNotAvailable => {
            "it is neither a multicast group nor an address of this machine"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => return error.to_string(),
    };
    format!("{error} ({advice})")
}

fn explain_join(error: &io::Error, interface: Option<&Interface>) -> String {
    let is_missing = error.raw_os_error() == Some(libc::ENODEV);
    let advice = match interface {
        Some(Interface::Name(_)) if is_missing => {
            "there is no such interface, or it has no multicast".into()
        }
        Some(Interface::Address(address)) if is_missing => {
            format!("no interface of this machine has the address {address}")
        }
        None if is_missing => {
            "there is no route to the group: name an interface, as in udp://127.0.0.1;239.192.1.1:5556".into()
        }
        _ => return format!("cannot join the group: {error}"),
    };
    format!("cannot join the group: {error} ({advice})")
}
