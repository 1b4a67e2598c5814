//! An Engine.IO session and the Socket.IO client in it: what it says, what it is owed, and who carries it. It outlives its
//! connections. Knows no socket and no clock.
//!
//! ```text
//!            GET                       2probe on a WebSocket, then 5
//!   Nobody ──────▶ Poll ──answered──▶ Nobody ─────────────────────────▶ Socket
//! ```
//!
//! While it polls the cursor is the session's, and waits in its feed between two requests as that of a client whose socket
//! takes nothing. A WebSocket takes the cursor over.

mod carrier;
mod host;
mod poll;
mod sessions;
mod socket;

pub(crate) use carrier::EngineCarrier;
pub(crate) use poll::PACKETS;
pub(crate) use sessions::{Ended, EngineSessions, Heard, SessionKey};

use std::net::IpAddr;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use rand::Rng;
use rand::rngs::StdRng;

use crate::error::CloseReason;
use crate::feed::{Answer, Answering, Feeds, Owner, Subscription, Wish};
use crate::memory::Charge;
use crate::message::Id;
use crate::session::Timing;
use crate::wire::engine_io::{self, Packet};
use crate::wire::{json_scan, socket_io};
use poll::EnginePoll;
use socket::EngineSocket;

/// Bytes of a session's own packets that wait: a client that causes more does not listen.
const OWN_BYTES_MAX: usize = 1 << 10;

/// While a WebSocket is probed polls are answered so often, with nothing if need be: the client waits for one to end before
/// it goes on, and comes back at once while it has not heard of the probe.
const PROBE_STEP: Duration = Duration::from_millis(100);

/// Random bytes of an id: 128 bits cannot be guessed.
const SECRET_BYTES: usize = 16;

/// What nobody may guess of a session's id.
type Secret = [u8; SECRET_BYTES];

/// One session.
#[derive(Debug)]
struct EngineIo {
    secret: Secret,
    /// Whose session counts among those of its address.
    ip: Option<IpAddr>,
    wish: Wish,
    _wish_charge: Charge,
    since: Option<Id>,
    /// The cursor, unless a WebSocket has it.
    subscription: Option<Subscription>,
    /// A WebSocket has a cursor that the client does not want any more.
    has_left: bool,
    /// What is said to a client that resumes, behind what it missed.
    welcome: Option<Box<[u8]>>,
    carrier: Carrier,
    probe: Option<Probe>,
    /// The body of a request is under way.
    is_posting: bool,
    client: Client,
    /// Its own packets, which come before messages.
    own: Vec<u8>,
    heartbeat: Heartbeat,
    /// The next answer to a poll says goodbye.
    is_leaving: bool,
    /// The host program has ended it, for everybody but its client, whose next poll is told this.
    farewell: Option<Farewell>,
    /// The host program is to hear what topics its client gets.
    is_untold: bool,
    /// The earliest deadline that is queued for it.
    scheduled: Option<Instant>,
}

/// The connection by which a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Nobody,
    Poll(Owner),
    Socket(Owner),
}

/// A WebSocket that a session may go on by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    owner: Owner,
    /// It is given up then.
    until: Instant,
    /// Nothing but the answer to the probe may be sent on it.
    is_answered: bool,
    /// When a poll that waits is answered with nothing.
    noop: Noop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noop {
    Idle,
    At(Instant),
    Due,
}

/// The Socket.IO side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// It has not joined.
    Expected {
        until: Instant,
    },
    /// So many binary messages belong to what it said last.
    Joined {
        attachments: u32,
    },
    Left,
}

/// What a client that polls is told at the end, one answer after the other: a client that finds both in one takes the
/// second one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// That it was put out, so that it does not come back by itself.
    Disconnect,
    /// That this is the end.
    Close,
}

/// Only a pong counts: what else a client says does not make up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    Quiet { ping_at: Instant },
    Awaiting { until: Instant },
}

/// What joining takes besides the session.
struct Joining<'a> {
    owner: Owner,
    random: &'a mut StdRng,
    has_recovery: bool,
}

fn new_secret(random: &mut StdRng) -> Secret {
    let mut secret = [0; SECRET_BYTES];
    random.fill_bytes(&mut secret);
    secret
}

/// Why a session ends, and what a poll that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    reason: CloseReason,
    packet: &'static [u8],
}

impl End {
    const fn new(reason: CloseReason) -> Self {
        Self { reason, packet: engine_io::CLOSE }
    }
}

/// What a poll is to be answered.
#[derive(Debug)]
enum Filling {
    Nothing,
    /// Something, but others come first.
    Later,
    Some {
        own: Vec<u8>,
        answer: Option<Answer>,
        /// The session has said goodbye, and ends.
        is_last: bool,
    },
}

impl EngineIo {
    fn next_deadline(&self) -> Option<Instant> {
        let beat = match self.heartbeat {
            Heartbeat::Quiet { ping_at } => ping_at,
            Heartbeat::Awaiting { until } => until,
        };
        let client = match self.client {
            Client::Expected { until } => Some(until),
            Client::Joined { .. } | Client::Left => None,
        };
        let probe = self.probe.map(|probe| match probe.noop {
            Noop::At(noop_at) => noop_at.min(probe.until),
            Noop::Idle | Noop::Due => probe.until,
        });
        [Some(beat), client, probe].into_iter().flatten().min()
    }

    /// Does what is due for the session itself.
    fn handle_timeout(&mut self, now: Instant, timing: &Timing) -> Result<(), End> {
        if matches!(self.client, Client::Expected { until } if until <= now) {
            return Err(End::new(CloseReason::HandshakeTimeout));
        }
        if let Some(Probe { noop, .. }) = &mut self.probe
            && matches!(*noop, Noop::At(noop_at) if noop_at <= now)
        {
            *noop = Noop::Due;
        }
        match self.heartbeat {
            Heartbeat::Quiet { ping_at } if ping_at <= now => {
                self.heartbeat = Heartbeat::Awaiting { until: now + timing.ping_timeout };
                engine_io::append_packet(&mut self.own, engine_io::PING);
                Ok(())
            }
            Heartbeat::Awaiting { until } if until <= now => {
                Err(End::new(CloseReason::PingTimeout))
            }
            _ => Ok(()),
        }
    }

    /// The peer's TCP takes bytes again after a time in which it did not: the ping may have been among them.
    fn note_progress(&mut self, now: Instant, timing: &Timing) {
        if let Heartbeat::Awaiting { until } = &mut self.heartbeat {
            *until = now + timing.ping_timeout;
        }
    }

    /// Takes one packet.
    fn hear(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        joining: Joining<'_>,
        feeds: &mut Feeds,
        timing: &Timing,
    ) -> Result<(), End> {
        let violation = Err(End::new(CloseReason::Protocol));
        match packet {
            Packet::Close => Err(End { reason: CloseReason::Client, packet: engine_io::NOOP }),
            Packet::Ping(_) => violation,
            Packet::Pong => {
                if let Heartbeat::Awaiting { .. } = self.heartbeat {
                    self.heartbeat = Heartbeat::Quiet { ping_at: now + timing.ping_interval };
                }
                Ok(())
            }
            Packet::Upgrade | Packet::Ignored => Ok(()),
            Packet::Text(text) => self.hear_client(text, joining, feeds),
            Packet::Binary => match &mut self.client {
                Client::Joined { attachments } if *attachments > 0 => {
                    *attachments -= 1;
                    Ok(())
                }
                _ => violation,
            },
        }
    }

    fn hear_client(
        &mut self,
        text: &[u8],
        joining: Joining<'_>,
        feeds: &mut Feeds,
    ) -> Result<(), End> {
        use socket_io::Packet as Said;
        let violation = Err(End::new(CloseReason::Protocol));
        if matches!(self.client, Client::Joined { attachments } if attachments > 0) {
            return violation;
        }
        match (socket_io::Packet::parse(text), self.client) {
            (Some(Said::ConnectElsewhere(name)), _) => {
                self.say(&socket_io::invalid_namespace(name))
            }
            // Who only leaves and joins holds up the others.
            (Some(Said::Connect(_)), Client::Left) if !feeds.has_time_for_changes() => violation,
            (Some(Said::Connect(auth)), Client::Expected { .. } | Client::Left) => {
                self.join(auth, joining, feeds)
            }
            (Some(Said::Disconnect), Client::Joined { .. }) => {
                self.client = Client::Left;
                self.note_change(joining.owner, feeds);
                self.welcome = None;
                if !self.unsubscribe(feeds) {
                    self.has_left = true;
                }
                Ok(())
            }
            (Some(Said::Said { attachments }), Client::Joined { .. }) => {
                self.client = Client::Joined { attachments };
                Ok(())
            }
            (Some(Said::Elsewhere), Client::Joined { .. }) => Ok(()),
            _ => violation,
        }
    }

    /// Lets the client in: at once, or where it resumes, behind what it missed.
    fn join(&mut self, auth: &[u8], joining: Joining<'_>, feeds: &mut Feeds) -> Result<(), End> {
        let Joining { owner, random, has_recovery } = joining;
        let sid = BASE64URL_NOPAD.encode(&new_secret(random));
        // Makes the client's private id another one each time.
        let nonce = has_recovery.then(|| sid[..10].replace('-', "_"));
        let resumed = nonce.as_ref().and_then(|_| Resumed::from_auth(auth, feeds));
        let since = resumed.as_ref().map(|resumed| resumed.since).or(self.since);
        self.since = None;
        let is_recovered =
            resumed.as_ref().is_some_and(|it| feeds.can_resume(&self.wish.filter, it.since));
        feeds.count_change(&self.wish.filter);
        let subscription = feeds.subscribe(self.wish.clone(), owner, since);
        // A WebSocket sees to it when it serves the cursor: it may be stalled in what the client had before.
        feeds.set_blocked(&subscription, !matches!(self.carrier, Carrier::Poll(_)));
        let pid = nonce.map(|nonce| match &resumed {
            Some(resumed) if is_recovered => resumed.pid.to_owned(),
            _ => format!("{}-{nonce}", feeds.position(&subscription)),
        });
        let welcome = socket_io::connected(&sid, pid.as_deref());
        let is_behind = is_recovered && feeds.mark_seam(&subscription);
        self.subscription = Some(subscription);
        self.client = Client::Joined { attachments: 0 };
        self.note_change(owner, feeds);
        if is_behind {
            self.welcome = Some(welcome.into());
            return Ok(());
        }
        self.say(&welcome)
    }

    fn say(&mut self, packet: &[u8]) -> Result<(), End> {
        if self.own.len() > OWN_BYTES_MAX {
            return Err(End::new(CloseReason::Protocol));
        }
        engine_io::append_packet(&mut self.own, packet);
        Ok(())
    }

    /// Welcomes the client where it has got what it missed by the cursor `subscription`.
    fn welcome(&mut self, subscription: &Subscription, feeds: &mut Feeds) {
        if self.welcome.is_some()
            && feeds.pass_seam(subscription)
            && let Some(welcome) = self.welcome.take()
        {
            engine_io::append_packet(&mut self.own, &welcome);
        }
    }

    /// What the poll of `reader` is answered, if there is something. `is_stopping`: no answer follows one that says
    /// something.
    fn fill(&mut self, reader: Owner, is_stopping: bool, feeds: &mut Feeds) -> Filling {
        let is_leaving = self.is_leaving || is_stopping;
        let subscription = self.subscription.take();
        let mut packets = Answering::Waiting;
        if let Some(own) = &subscription {
            self.welcome(own, feeds);
            packets = feeds.packets(own, reader, is_leaving);
            if matches!(packets, Answering::Waiting) {
                // What it missed may have turned out to be nothing.
                self.welcome(own, feeds);
            }
        }
        self.subscription = subscription;
        let answer = match packets {
            Answering::Ready(answer) => Some(answer),
            Answering::Later if self.own.is_empty() => return Filling::Later,
            Answering::Later | Answering::Waiting => None,
        };
        let mut own = std::mem::take(&mut self.own);
        let mut is_last = is_leaving;
        if own.is_empty() && answer.is_none() {
            let noop = self.probe.as_mut().map(|probe| &mut probe.noop);
            match noop {
                _ if self.is_leaving => {}
                Some(noop) if *noop == Noop::Due => {
                    *noop = Noop::Idle;
                    own.extend_from_slice(engine_io::NOOP);
                    is_last = false;
                }
                _ => return Filling::Nothing,
            }
        }
        self.carrier = Carrier::Nobody;
        self.set_blocked(feeds, true);
        Filling::Some { own, answer, is_last }
    }

    fn set_blocked(&self, feeds: &mut Feeds, is_blocked: bool) {
        if let Some(subscription) = &self.subscription {
            feeds.set_blocked(subscription, is_blocked);
        }
    }

    /// Says whether there was a cursor to end.
    fn unsubscribe(&mut self, feeds: &mut Feeds) -> bool {
        let subscription = self.subscription.take();
        subscription.iter().for_each(|subscription| feeds.unsubscribe(subscription));
        subscription.is_some()
    }
}

/// Where a client was that comes back.
struct Resumed<'a> {
    /// Its private id, which it keeps if it misses nothing.
    pid: &'a str,
    since: Id,
}

impl<'a> Resumed<'a> {
    /// What a client says when it joins; `None` where it says nothing of it, or nothing that we could have told it. The id
    /// with which a private id begins stands for the offset of a client that has not got an event yet.
    fn from_auth(auth: &'a [u8], feeds: &Feeds) -> Option<Self> {
        let pid = json_scan::text_member(auth, "pid")?;
        let (begun, nonce) = pid.rsplit_once('-')?;
        let begun: Id = begun.parse().ok()?;
        let is_nonce = nonce.len() <= 64
            && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let since = match json_scan::text_member(auth, "offset") {
            Some(offset) => offset.parse().ok()?,
            None => begun,
        };
        let is_of_one_run = feeds.is_own(begun) == feeds.is_own(since);
        (is_nonce && is_of_one_run).then_some(Self { pid, since })
    }
}
