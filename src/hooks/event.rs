//! What a host program hears of clients. Decides nothing.

use std::fmt;
use std::net::IpAddr;

use crate::error::CloseReason;
use crate::metrics::Transport;
use crate::topics::Filter;

/// A client, as long as its connection lives, or its Socket.IO session; never the same for two of one gateway.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use std::time::Instant;
/// use zmq2ws::{ClientId, Event, Gateway};
///
/// let mut since: HashMap<ClientId, Instant> = HashMap::new();
/// let gateway = Gateway::builder()
///     .on_event(move |event| match event {
///         Event::Connected { client, .. } => drop(since.insert(client.id, Instant::now())),
///         Event::Closed { client, .. } => {
///             let Some(since) = since.remove(&client.id) else { return };
///             println!("{} was here for {:?}", client.id, since.elapsed());
///         }
///         _ => {}
///     })
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

impl ClientId {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Who a client is.
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// for client in handle.clients()? {
///     println!("{} by {} from {:?}, user {:?}", client.id, client.transport, client.peer, client.tag);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The client's name for this program.
    pub id: ClientId,
    /// How it is connected.
    pub transport: Transport,
    /// The address of the connection's other end, for Socket.IO of the one that opened the session; `None` on Unix sockets.
    pub peer: Option<IpAddr>,
    /// What [`Access::with_tag`](crate::Access::with_tag) said of its last request.
    pub tag: Option<u64>,
}

/// What happened to a client; what the hook [`on_event`](crate::Builder::on_event) gets.
///
/// A client of WebSocket or Server-Sent Events is connected once and closed once. So is one of Socket.IO: it is a client as
/// long as its session lives, whatever connections that takes, by polling and by WebSocket. A long-poll is a client from its
/// request to its answer. Who asks for pages only is no client.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Event, Gateway};
///
/// let mut lags = 0;
/// let gateway = Gateway::builder()
///     .on_event(move |event| match event {
///         Event::Connected { client, .. } => println!("{} came by {}", client.id, client.transport),
///         Event::Subscribed { client, topics, .. } => {
///             println!("{} gets {} prefixes", client.id, topics.prefixes().count());
///         }
///         Event::Lagged { .. } => lags += 1,
///         Event::Closed { client, reason, .. } => println!("{} left: {reason}", client.id),
///         _ => {}
///     })
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Somebody became a client.
    #[non_exhaustive]
    Connected {
        /// Who.
        client: &'a ClientInfo,
    },
    /// A client gets these topics from now on: right behind [`Self::Connected`], on ZWS whenever it changes its mind, on
    /// Socket.IO when it has joined, and none when it has left.
    #[non_exhaustive]
    Subscribed {
        /// Who.
        client: &'a ClientInfo,
        /// What.
        topics: Topics<'a>,
    },
    /// A client that could not keep up misses messages from here on, whether its format can tell it or not. Once for each
    /// such stretch.
    #[non_exhaustive]
    Lagged {
        /// Who.
        client: &'a ClientInfo,
    },
    /// A client is one no more.
    #[non_exhaustive]
    Closed {
        /// Who.
        client: &'a ClientInfo,
        /// Why.
        reason: CloseReason,
    },
}

/// What happened, to whomever.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happened<'a> {
    Connected,
    Subscribed(Topics<'a>),
    Lagged,
    Closed(CloseReason),
}

impl<'a> Happened<'a> {
    pub(super) fn to(self, client: &'a ClientInfo) -> Event<'a> {
        match self {
            Self::Connected => Event::Connected { client },
            Self::Subscribed(topics) => Event::Subscribed { client, topics },
            Self::Lagged => Event::Lagged { client },
            Self::Closed(reason) => Event::Closed { client, reason },
        }
    }
}

/// Topics that a client gets.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Event, Gateway};
///
/// let gateway = Gateway::builder()
///     .on_event(|event| {
///         let Event::Subscribed { topics, .. } = event else { return };
///         let is_everything = topics.prefixes().any(|prefix| prefix.is_empty());
///         let wants_news = topics.exact().any(|topic| topic == b"news");
///         println!("everything: {is_everything}, news: {wants_news}");
///     })
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Topics<'a> {
    filter: Option<&'a Filter>,
}

impl<'a> Topics<'a> {
    /// `None` is no topic at all.
    pub(crate) fn new(filter: Option<&'a Filter>) -> Self {
        Self { filter }
    }

    /// What topics start with that the client gets, sorted; an empty one is everything.
    pub fn prefixes(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.filter.into_iter().flat_map(Filter::prefixes)
    }

    /// Whole topics that the client gets besides, sorted.
    pub fn exact(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.filter.into_iter().flat_map(Filter::exact)
    }
}

/// What a WebSocket is told that the host closes (RFC 6455 section 7.4).
///
/// # Examples
///
/// ```
/// use zmq2ws::CloseCode;
///
/// assert!(CloseCode::application(4001).is_some());
/// assert!(CloseCode::application(1001).is_none(), "that is the protocol's");
///
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// // User 7 has logged out.
/// handle.disconnect(|client| client.tag == Some(7), CloseCode::POLICY)?;
/// // Everybody is to come back: at once where there is another gateway, otherwise when this one has less to do.
/// # let has_another = true;
/// let code = if has_another { CloseCode::RESTART } else { CloseCode::TRY_AGAIN_LATER };
/// handle.disconnect(|_| true, code)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1008: it may not stay, for example because it logged out.
    pub const POLICY: Self = Self(1008);
    /// 1012: it may come back at once.
    pub const RESTART: Self = Self(1012);
    /// 1013: it may come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// A code between this program and its pages: 4000 to 4999, otherwise `None`.
    pub fn application(code: u16) -> Option<Self> {
        (4000..=4999).contains(&code).then_some(Self(code))
    }

    pub(crate) fn number(self) -> u16 {
        self.0
    }

    /// Whether the client may come back by itself.
    pub(crate) fn may_return(self) -> bool {
        [Self::RESTART, Self::TRY_AGAIN_LATER].contains(&self)
    }
}
