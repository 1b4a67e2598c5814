//! Speaks to a gateway from any thread. Decides what can be decided there; the rest is done by the loop.

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use super::certificate::Certificate;
use super::{ClientStream, Stats};
use crate::connection::{Connections, Newcomer, Upgraded};
use crate::error::ConfigError;
use crate::event_loop::{Mailbox, Post, Stop, Unposted};
use crate::hooks::{ClientInfo, CloseCode, Guarded};
use crate::http::{Subscribe, Target};
use crate::message::PARTS_MAX;
use crate::net::Stream;

/// What a host may have read of a connection that it hands over: the largest request, and as much as servers usually read at
/// once.
const ALREADY_READ_BYTES_MAX: usize = 64 << 10;

/// Speaks to a running gateway from any thread: [`Clone`], [`Send`] and [`Sync`].
///
/// [`Self::publish`], [`Self::adopt`], [`Self::adopt_websocket`], [`Self::drain`] and [`Self::shutdown`] do not wait;
/// [`Self::reload_tls`] does only for files.
/// [`Self::stats`], [`Self::clients`] and [`Self::disconnect`] wait for the loop's next turn, as long as that takes; on the
/// loop's own thread, in a hook or beside [`Gateway::turn`](crate::Gateway::turn), they fail instead. Of another gateway a hook
/// may ask, but nothing sees to it that no hook of that one asks back: then both wait forever.
///
/// # Examples
///
/// ```
/// use zmq2ws::Gateway;
///
/// let running = Gateway::builder().listen(([127, 0, 0, 1], 0)).spawn()?;
/// let handle = running.handle();
/// handle.publish("weather.oslo", ["4.5", "°C"])?;
/// assert_eq!(handle.stats()?.clients, 0);
/// handle.shutdown();
/// running.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) mailbox: Mailbox,
    /// How long stopping takes that is not told how long.
    pub(super) drain: Duration,
    pub(super) user_timeout: Duration,
    pub(super) message_bytes_max: usize,
    pub(super) topics_max: usize,
    pub(super) certificate: Option<Certificate>,
}

impl Handle {
    /// Publishes a message without ZeroMQ: it gets a number and goes to every client whose filter matches `topic`, in one
    /// order with those of all threads and of ZeroMQ. No part at all is one that is empty. What
    /// [`Builder::decode`](crate::Builder::decode) and [`Builder::sequence`](crate::Builder::sequence) say is for what
    /// comes from ZeroMQ.
    ///
    /// `Ok` means that it will be published, also when the gateway is told to stop right after it, unless
    /// [`Builder::map`](crate::Builder::map) is so slow that the end comes first. The bytes are copied.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] when as much waits for the loop as may
    /// ([`Builder::inbox_messages`](crate::Builder::inbox_messages), [`Builder::inbox_bytes`](crate::Builder::inbox_bytes)):
    /// messages come faster than they are sent. The others do not pass with time.
    pub fn publish(
        &self,
        topic: impl AsRef<[u8]>,
        parts: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), PublishError> {
        let topic = topic.as_ref();
        let room_bytes = self.mailbox.room_bytes().map_err(unpublished)?;
        let held_bytes_max = self.mailbox.limits().bytes_max;
        let (mut lens, mut bytes) = (Vec::new(), Vec::new());
        // Of the whole message: what there is no room for is measured, so that the host knows whether to try again, and
        // not copied.
        let (mut total, mut count) = (topic.len(), 0);
        if total <= room_bytes {
            bytes.extend_from_slice(topic);
        }
        for part in parts {
            let part = part.as_ref();
            let len = u32::try_from(part.len()).map_err(|_| PublishError::TooLarge)?;
            count += 1;
            total = total.saturating_add(part.len());
            let held_bytes = Post::held_bytes_of(total, count);
            if count > PARTS_MAX || total > self.message_bytes_max || held_bytes > held_bytes_max {
                return Err(PublishError::TooLarge);
            }
            if held_bytes <= room_bytes {
                lens.push(len.to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        if count == 0 {
            count = 1;
            lens.push([0; 4]);
        }
        let held_bytes = Post::held_bytes_of(total, count);
        if total > self.message_bytes_max || held_bytes > held_bytes_max {
            return Err(PublishError::TooLarge);
        }
        if held_bytes > room_bytes {
            return Err(PublishError::Full);
        }
        let post = Post { topic_bytes: topic.len(), lens, bytes };
        self.mailbox.post(post).map_err(unpublished)
    }

    /// Hands over a connection that the host's own server accepted. From here on it is served as if it had come to a listener
    /// of the gateway: requests, limits, timeouts, counters. `already_read` is what the host has read of it, usually a
    /// request that it looked at: the request line, the header, and whatever came behind it, byte for byte, 64 KiB at the most.
    /// It is taken in pieces of 16 KiB, as from a socket; what is kept meanwhile counts against
    /// [`Builder::max_memory`](crate::Builder::max_memory), and who would keep too much gets 503.
    ///
    /// The socket is made non-blocking, for all who share it. The host should not read from it or write to it any more.
    ///
    /// # Errors
    ///
    /// The connection is closed in each case. Where the gateway has no room for it, or too many of its address, that is told
    /// to the client with 503 and is no error here.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let running = zmq2ws::Gateway::builder().spawn()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ///
    /// let (mut stream, _) = listener.accept()?;
    /// let mut request = [0; 1024];
    /// let len = stream.read(&mut request)?;
    /// // The host decides by the path who is to answer.
    /// running.handle().adopt(stream, &request[..len])?;
    ///
    /// let mut answer = [0; 12];
    /// client.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"HTTP/1.1 200");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt(
        &self,
        stream: impl Into<ClientStream>,
        already_read: impl Into<Vec<u8>>,
    ) -> Result<(), AdoptError> {
        self.bring(stream.into(), already_read.into(), None)
    }

    /// Hands over a WebSocket whose handshake the host has answered with 101, without extensions and without a subprotocol. That
    /// the page that asks may do so (`Origin`) is then for the host to check.
    ///
    /// `target` is that of the request, such as `/live?topic=weather.&format=json`: its query says what the client gets, as
    /// on `/ws`; its path is not looked at. `already_read` is what came behind the request, as for [`Self::adopt`].
    ///
    /// The hook [`authorize`](crate::Builder::authorize) is asked as for others, but has no header field to look at
    /// ([`Request::is_adopted`](crate::Request::is_adopted)). Who may not come in is closed with 1008, and with 1013 where
    /// there is no room.
    ///
    /// # Errors
    ///
    /// As [`Self::adopt`]; [`AdoptError::Target`] as [`Self::check_target`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::os::unix::net::UnixStream;
    ///
    /// # let running = zmq2ws::Gateway::builder().spawn()?;
    /// # let handle = running.handle();
    /// // Here the host has answered the handshake, and the client a ping behind it.
    /// let (host, mut client) = UnixStream::pair()?;
    /// handle.adopt_websocket(host, "/live?topic=weather.", b"\x89\x80\0\0\0\0")?;
    /// let mut pong = [0; 2];
    /// client.read_exact(&mut pong)?;
    /// assert_eq!(pong, *b"\x8a\0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt_websocket(
        &self,
        stream: impl Into<ClientStream>,
        target: &str,
        already_read: impl Into<Vec<u8>>,
    ) -> Result<(), AdoptError> {
        let upgraded =
            Upgraded { target: target.as_bytes().to_vec(), subscribe: self.subscribe(target)? };
        self.bring(stream.into(), already_read.into(), Some(upgraded))
    }

    /// Checks the target of a request before the host answers its handshake: [`Self::adopt_websocket`] will understand it, too.
    /// What is wrong with it can still be told to the client, with 400.
    ///
    /// # Errors
    ///
    /// [`AdoptError::Target`] with the reason.
    ///
    /// # Examples
    ///
    /// ```
    /// # let running = zmq2ws::Gateway::builder().spawn()?;
    /// # let handle = running.handle();
    /// assert!(handle.check_target("/live?topic=weather.&format=json").is_ok());
    /// let error = handle.check_target("/live?format=xml").unwrap_err();
    /// assert!(error.to_string().ends_with("unknown format: expected raw, json or parts"));
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn check_target(&self, target: &str) -> Result<(), AdoptError> {
        self.subscribe(target).map(drop)
    }

    /// What the query of a WebSocket's request says that the client gets.
    fn subscribe(&self, target: &str) -> Result<Subscribe, AdoptError> {
        let refused = |refusal: crate::http::Refusal| AdoptError::Target(refusal.reason);
        let query = Target::parse("GET", target.as_bytes()).map_err(refused)?.query;
        Subscribe::from_query(query, self.topics_max).map_err(refused)
    }

    fn bring(
        &self,
        ClientStream(stream): ClientStream,
        mut input: Vec<u8>,
        upgraded: Option<Upgraded>,
    ) -> Result<(), AdoptError> {
        if input.len() > ALREADY_READ_BYTES_MAX {
            return Err(AdoptError::TooMuch);
        }
        // What is counted is what is held.
        input.shrink_to_fit();
        let (stream, ip) =
            Stream::adopted(stream, self.user_timeout).map_err(AdoptError::Stream)?;
        let newcomer = Newcomer { stream, ip, input, upgraded };
        self.mailbox.bring(newcomer).map_err(|unposted| match unposted {
            Unposted::Full => AdoptError::Full,
            Unposted::Stopped => AdoptError::Stopped,
        })
    }

    /// What the gateway counts. Some of it is found by looking at every client: about 10 ms where there are 100,000.
    ///
    /// # Errors
    ///
    /// The gateway has stopped, or this is its own thread: see [`Gateway::stats`](crate::Gateway::stats).
    pub fn stats(&self) -> Result<Stats, AskError> {
        self.ask(Stats::of)
    }

    /// Everyone who gets messages now; a Socket.IO session is one client, by whatever connections. Takes the loop about 10 ms
    /// where there are 100,000.
    ///
    /// # Errors
    ///
    /// The gateway has stopped, or this is its own thread: see [`Gateway::clients`](crate::Gateway::clients).
    pub fn clients(&self) -> Result<Vec<ClientInfo>, AskError> {
        self.ask(|connections| connections.clients())
    }

    /// Closes the clients that `filter` picks, and returns how many. A WebSocket is told `code` where the frame that is
    /// under way ends; event streams and polls end. A Socket.IO client hears from its server that it is disconnected, by
    /// which it does not come back by itself, unless the code says that it may: [`CloseCode::RESTART`] and
    /// [`CloseCode::TRY_AGAIN_LATER`] end its session only. `filter` is called on the loop's thread; who makes it panic stays.
    ///
    /// # Errors
    ///
    /// The gateway has stopped, or this is its own thread: see [`Gateway::disconnect`](crate::Gateway::disconnect).
    ///
    /// # Examples
    ///
    /// ```
    /// # let running = zmq2ws::Gateway::builder().spawn()?;
    /// # let handle = running.handle();
    /// let user = 42;
    /// let closed = handle.disconnect(move |client| client.tag == Some(user), zmq2ws::CloseCode::POLICY)?;
    /// assert_eq!(closed, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect(
        &self,
        filter: impl FnMut(&ClientInfo) -> bool + Send + 'static,
        code: CloseCode,
    ) -> Result<usize, AskError> {
        let filter = Guarded::new("filter", filter);
        self.ask(move |connections| connections.disconnect(filter, code))
    }

    /// Reads the files of [`Builder::tls_cert`](crate::Builder::tls_cert) and [`Builder::tls_key`](crate::Builder::tls_key)
    /// again, on the thread that calls this. Who connects from now on gets the new certificate; who is connected does not
    /// notice. Where the gateway has none, there is nothing to do.
    ///
    /// # Errors
    ///
    /// A file cannot be used: the error names it, and the certificate stays what it was.
    ///
    /// # Examples
    ///
    /// ```
    /// # let running = zmq2ws::Gateway::builder().spawn()?;
    /// let handle = running.handle();
    /// // The certificate was renewed.
    /// if let Err(error) = handle.reload_tls() {
    ///     eprintln!("the certificate stays the old one: {error}");
    /// }
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn reload_tls(&self) -> Result<(), ConfigError> {
        self.certificate.as_ref().map_or(Ok(()), Certificate::reload)
    }

    /// Lets the gateway stop within `timeout`: nobody new is accepted, what was published is sent, clients get what they are
    /// owed and a goodbye, spread over the time; who is left then is cut off. Then [`Gateway::run`](crate::Gateway::run)
    /// returns, at once where nobody is connected. Does not wait for that. Of several times, [`Self::shutdown`]'s included, the
    /// earliest end counts: zero ends it now.
    pub fn drain(&self, timeout: Duration) {
        // Longer than a day is no bound, and nothing that a clock could count to.
        let timeout = timeout.min(Duration::from_secs(86_400));
        self.mailbox.stop(Stop { within: timeout });
    }

    /// [Drains](Self::drain) the gateway within the time that [`Builder::drain`](crate::Builder::drain) says.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let running = zmq2ws::Gateway::builder().spawn()?;
    /// let handle = running.handle();
    /// handle.shutdown();
    /// // Somebody is in a hurry.
    /// handle.drain(Duration::from_millis(100));
    /// running.join()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.mailbox.stop(Stop { within: self.drain });
    }

    /// Has the loop answer, and waits for that.
    fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Connections<Stream>) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        if self.mailbox.is_own_thread() {
            // Once it has ended, there is nothing to wait for.
            return Err(match self.mailbox.is_closed() {
                true => AskError::Stopped,
                false => AskError::OwnThread,
            });
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let job = Box::new(move |connections: &mut Connections<Stream>| {
            // Whoever asked waits.
            let _ = answer.send(act(connections));
        });
        self.mailbox.ask(job).map_err(|_| AskError::Stopped)?;
        answered.recv().map_err(|_| AskError::Stopped)
    }
}

/// Why a message is not published.
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// use zmq2ws::PublishError;
///
/// match handle.publish("weather.oslo", ["4.5"]) {
///     Ok(()) => {}
///     Err(PublishError::Full) => println!("this one is left out: there will be a newer one"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublishError {
    /// Too much waits for the loop: try again later, or do without.
    Full,
    /// It has more bytes than [`Builder::max_message`](crate::Builder::max_message) or
    /// [`Builder::inbox_bytes`](crate::Builder::inbox_bytes) allows, topic included, or more than 4096 parts.
    TooLarge,
    /// The gateway has stopped, or was told to.
    Stopped,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many messages wait to be published",
            Self::TooLarge => "the message is larger than may be published",
            Self::Stopped => "the gateway has stopped",
        })
    }
}

impl std::error::Error for PublishError {}

fn unpublished(unposted: Unposted) -> PublishError {
    match unposted {
        Unposted::Full => PublishError::Full,
        Unposted::Stopped => PublishError::Stopped,
    }
}

/// Why a connection is not taken over; it is closed.
///
/// # Examples
///
/// ```
/// # let running = zmq2ws::Gateway::builder().spawn()?;
/// # let handle = running.handle();
/// use zmq2ws::AdoptError;
///
/// let no_connection = std::net::TcpListener::bind("127.0.0.1:0")?;
/// match handle.adopt(no_connection, []) {
///     Err(AdoptError::Stream(error)) => println!("{error}"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// More than 1024 connections wait to be taken over, or 4 MiB of what was read of them: the host accepts faster than the
    /// loop turns.
    Full,
    /// The gateway has stopped, or was told to.
    Stopped,
    /// More than 64 KiB was read of it already: it sends without waiting for an answer.
    TooMuch,
    /// It is no connected stream socket, or there is no descriptor left for a wrapped one.
    Stream(io::Error),
    /// The target of a WebSocket's request says nothing that could be followed: the one-line reason that a client would get.
    Target(&'static str),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too many connections wait to be taken over"),
            Self::Stopped => f.write_str("the gateway has stopped"),
            Self::TooMuch => f.write_str("more was read of the connection than can be handed over"),
            Self::Stream(error) => write!(f, "the connection cannot be used: {error}"),
            Self::Target(reason) => write!(f, "the request cannot be followed: {reason}"),
        }
    }
}

impl std::error::Error for AdoptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stream(error) => Some(error),
            Self::Full | Self::Stopped | Self::TooMuch | Self::Target(_) => None,
        }
    }
}

/// Why the loop does not answer.
///
/// # Examples
///
/// ```
/// let gateway = zmq2ws::Gateway::builder().build()?;
/// let handle = gateway.handle();
/// // This is the thread that would have to answer.
/// assert_eq!(handle.stats(), Err(zmq2ws::AskError::OwnThread));
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AskError {
    /// The gateway has stopped.
    Stopped,
    /// This is the thread that turns the gateway: it would wait for itself. [`Gateway`](crate::Gateway) itself can be asked
    /// there; a hook cannot ask at all.
    OwnThread,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the gateway has stopped",
            Self::OwnThread => "the gateway cannot be waited for on its own thread",
        })
    }
}

impl std::error::Error for AskError {}
