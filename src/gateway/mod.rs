//! The gateway as a whole: a configuration becomes sockets, and sockets become a loop that runs.

mod adopt;
mod builder;
mod certificate;
mod descriptor_budget;
mod handle;
mod running;
mod stats;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

pub use adopt::ClientStream;
pub use builder::Builder;
use builder::BuilderHooks;
use certificate::Certificate;
use descriptor_budget::DescriptorBudget;
pub use handle::{AdoptError, AskError, Handle, PublishError};
pub use running::Running;
pub use stats::{Stats, TransportStats};

use rand::TryRng;
use rand::rngs::SysRng;

use crate::config::{Config, SiteConfig};
use crate::connection::{Admission, Budget, Context, Limits, Pages, Site};
use crate::error::{ConfigError, Error};
use crate::event_loop::{EventLoop, InboxLimits, Parts};
use crate::feed::{self, Feeds};
use crate::history;
use crate::hooks::{Authorize, ClientInfo, CloseCode, Guarded, Hooks, Mapper, OnEvent};
use crate::http::assets::BuiltIn;
use crate::http::{self, Date, Role};
use crate::intake::{Decode, Intake, IntakeConfig};
use crate::memory::Memory;
use crate::message::{Epoch, TopicFrom};
use crate::metrics::Metrics;
use crate::net::{Directory, ListenAddr, ListenError, Listener, TcpOptions, probe_descriptors};
use crate::session::{EngineSessions, Timing};
use crate::source::{Security, Source, SourceConfig};
use crate::topics::Demand;
use crate::wire::{Deflater, Encoding};

/// Descriptors for a ZeroMQ context, which takes 5, and for each endpoint, which takes 7 with its monitor; and one of each
/// more, and the poller's. libzmq aborts where it gets none for its own pollers.
const CONTEXT_DESCRIPTORS: usize = 8;
const ENDPOINT_DESCRIPTORS: usize = 8;

/// One part in so many of `--max-memory` is for each of these: requests that are not complete, filters, and the files of
/// `--www`. History and last values have what `--history-bytes` says; the rest is for messages on their way.
const MEMORY_SHARE: usize = 8;

/// Everything: ZeroMQ sockets on one side, clients on the other, one thread between them.
///
/// [`Gateway::builder`] makes one. Nothing happens unless somebody calls [`Self::run`] or [`Self::turn`];
/// [`Builder::spawn`] does so on a thread of its own. Dropping a gateway closes everything at once, for which clients hear
/// no reason but the hook [`on_event`](Builder::on_event) does: no thread, descriptor or file is left. [`Handle::shutdown`] lets it say goodbye first.
///
/// A gateway stays on the thread that built it: it is not [`Send`], so that nothing in the way of a message is locked or
/// counted across threads. Its [`Handle`] goes anywhere. Gateways of one process know nothing of each other.
///
/// # Examples
///
/// ```
/// use zmq2ws::Gateway;
///
/// let gateway = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .listen(([127, 0, 0, 1], 0))
///     .build()?;
/// println!("clients connect to {}", gateway.listen_addresses()[0]);
/// let handle = gateway.handle();
/// // Anywhere, at any time:
/// handle.shutdown();
/// gateway.run()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
///
/// Who turns it asks it without a handle:
///
/// ```
/// use std::time::Duration;
/// use zmq2ws::{CloseCode, Gateway};
///
/// let mut gateway =
///     Gateway::builder().bind("tcp://127.0.0.1:*").metrics(([127, 0, 0, 1], 0)).build()?;
/// println!("{} {}", gateway.endpoints()[0], gateway.metrics_addresses()[0]);
/// gateway.turn(Some(Duration::from_millis(1)))?;
/// assert_eq!((gateway.stats().clients, gateway.clients().len()), (0, 0));
/// assert_eq!(gateway.disconnect(|client| client.tag == Some(7), CloseCode::POLICY), 0);
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[must_use = "dropping it closes everything: nothing is served before `run` or `turn`"]
pub struct Gateway {
    event_loop: EventLoop,
    handle: Handle,
}

impl Gateway {
    /// What is to be set, all of it optional.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Opens every endpoint and listener.
    fn open(
        config: Config,
        security: Security,
        certificate: Option<Certificate>,
        &DescriptorBudget { clients_max, connections_max }: &DescriptorBudget,
        zmq: &zmq::Context,
        hooks: BuilderHooks,
    ) -> Result<Self, Error> {
        let listeners = open_listeners(&config, certificate.as_ref())?;
        let sources = open_sources(&config, security, zmq)?;
        let BuilderHooks { authorize, map, on_event } = hooks;
        let (user_timeout, message_bytes_max) = (config.write_timeout, config.message_bytes_max);
        let (topics_max, drain) = (config.topics_max, config.drain);
        let parts = Parts {
            sources,
            listeners,
            intake: Intake::new(IntakeConfig {
                topic_from: config.topic_from,
                decode: config.decode,
                counter: config.sequence,
                message_bytes_max,
            }),
            connections_max,
            inbox: InboxLimits {
                messages_max: config.inbox_messages_max,
                bytes_max: config.inbox_bytes_max,
            },
            mapper: Mapper::new(map, message_bytes_max),
            adopted_role: serves_clients(&config),
            context: context(config, clients_max, authorize, on_event)?,
        };
        let event_loop = EventLoop::new(Instant::now(), parts)
            .map_err(|source| Error::System { action: "cannot create the poller", source })?;
        let mailbox = event_loop.mailbox();
        let handle =
            Handle { mailbox, drain, user_timeout, message_bytes_max, topics_max, certificate };
        Ok(Self { event_loop, handle })
    }

    /// Something to speak to the gateway with, from any thread. Dropping handles changes nothing.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What the gateway counts, now. As [`Handle::stats`], for who turns it.
    pub fn stats(&mut self) -> Stats {
        Stats::of(self.event_loop.connections())
    }

    /// Everyone who gets messages now. As [`Handle::clients`], for who turns it.
    pub fn clients(&mut self) -> Vec<ClientInfo> {
        self.event_loop.connections().clients()
    }

    /// Closes the clients that `filter` picks, and returns how many. As [`Handle::disconnect`], for who turns it: they are
    /// told by the next turn.
    pub fn disconnect(
        &mut self,
        filter: impl FnMut(&ClientInfo) -> bool,
        code: CloseCode,
    ) -> usize {
        let filter = Guarded::new("filter", filter);
        self.event_loop.connections().disconnect(filter, code)
    }

    /// Where clients connect: URLs for TCP, `https:` with [`Builder::tls_cert`], `unix:PATH` for Unix sockets, with the ports
    /// that the system chose.
    pub fn listen_addresses(&self) -> Vec<String> {
        let for_clients = |(_, role): &(_, Role)| *role != Role::Operation;
        self.event_loop.listeners().filter(for_clients).map(|(door, _)| door.url()).collect()
    }

    /// Where metrics are, if they have a listener of their own.
    pub fn metrics_addresses(&self) -> Vec<String> {
        let for_operation = |(_, role): &(_, Role)| *role == Role::Operation;
        self.event_loop.listeners().filter(for_operation).map(|(door, _)| door.url()).collect()
    }

    /// The ZeroMQ endpoints in the order of the configuration, with the ports that the system chose.
    pub fn endpoints(&self) -> Vec<String> {
        self.event_loop.sources().iter().map(|source| source.endpoint().to_owned()).collect()
    }

    /// Runs on this thread until [`Handle::shutdown`], whether handles are left or not.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the operating system does not let the loop wait for its sockets any more.
    pub fn run(mut self) -> Result<(), Error> {
        while self.turn(None)? {}
        Ok(())
    }

    /// Waits for at most `timeout`, without one until something happens, then does what is to be done: a few milliseconds
    /// at the most, and what hooks take of it: calls of [`Builder::map`] end after 5 ms, of the others there may be one for
    /// each client that something happened to, some hundreds. What is left is for the next turn. Returns whether the gateway
    /// goes on: false once it was told to stop and everything is said.
    ///
    /// In a loop of the host's: wait until the descriptor ([`AsFd`]) is readable or [`Self::next_deadline`] has come, then
    /// call this with a timeout of zero. The poller around it may be level-triggered, as poll and calloop are, or
    /// edge-triggered, as mio is.
    ///
    /// Timeouts are met by turns. One that begins a second too late is taken for a pause of the whole process: what was due
    /// meanwhile gets the time again that it had left, so that nobody is found dead who had no chance to speak. A host that
    /// is late again within a second is slow, and time goes on.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the operating system does not let the loop wait for its sockets any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut gateway = zmq2ws::Gateway::builder().build()?;
    /// gateway.handle().shutdown();
    /// while gateway.turn(Some(Duration::from_millis(10)))? {
    ///     // Whatever else this thread has to do.
    /// }
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        self.event_loop
            .turn(timeout)
            .map_err(|source| Error::System { action: "cannot wait for sockets", source })
    }

    /// When [`Self::turn`] is to be called at the latest though the descriptor ([`AsFd`]) is not readable; in the past
    /// where at once, `None` where never. Ask after each turn. After one that found something it is at once: there may be
    /// more, of which an edge-triggered poller does not tell again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let mut gateway = zmq2ws::Gateway::builder().build()?;
    /// // How long the host's own poller may wait, with the gateway's descriptor among its own.
    /// let timeout: Option<Duration> =
    ///     gateway.next_deadline().map(|it| it.saturating_duration_since(Instant::now()));
    /// # let _ = timeout;
    /// gateway.turn(Some(Duration::ZERO))?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        self.event_loop.next_deadline()
    }
}

/// Where it is; clients and messages are too many to show.
impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("listen_addresses", &self.listen_addresses())
            .field("metrics_addresses", &self.metrics_addresses())
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

impl AsFd for Gateway {
    /// Readable when [`Gateway::turn`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event_loop.as_fd()
    }
}

/// What clients are served where they connect.
fn serves_clients(config: &Config) -> Role {
    if config.metrics.is_some() { Role::Clients } else { Role::All }
}

fn open_listeners(
    config: &Config,
    certificate: Option<&Certificate>,
) -> Result<Vec<(Listener, Role)>, Error> {
    let for_clients = serves_clients(config);
    let mut doors = Vec::new();
    let addresses = config.listen.iter().map(|address| (address, for_clients));
    for (address, role) in addresses.chain(config.metrics.iter().map(|it| (it, Role::Operation))) {
        let options = TcpOptions {
            user_timeout: config.write_timeout,
            // Metrics are those of one process.
            shares_port: config.reuse_port && role != Role::Operation,
        };
        // Who watches the gateway does so from near by.
        let certificate = certificate.filter(|_| role != Role::Operation);
        let opened = Listener::open(address, options)
            .map_err(|error| listen_error(config, address, role, &error))?;
        for listener in opened {
            doors.push(match certificate {
                None => (listener, role),
                Some(certificate) => (listener.with_tls(certificate.acceptor()), role),
            });
        }
    }
    Ok(doors)
}

/// The error with advice in the words of the user: a flag, or a method.
fn listen_error(config: &Config, address: &ListenAddr, role: Role, error: &ListenError) -> Error {
    let advice = match (error, role) {
        (ListenError::Other(_), _) => String::new(),
        (ListenError::InUse, Role::Operation) => {
            let metrics = config.mention("metrics", "metrics");
            format!(" (another program listens there; choose another address with {metrics})")
        }
        (ListenError::InUse, _) => {
            let reuse_port = config.mention("listen", "reuse_port");
            format!(
                " (another program listens there; several gateways can, each with {reuse_port})"
            )
        }
    };
    Error::Listen { address: address.to_string(), reason: format!("{error}{advice}") }
}

fn open_sources(
    config: &Config,
    security: Security,
    zmq: &zmq::Context,
) -> Result<Vec<Source>, Error> {
    if let Some(file) = security.exposed_file() {
        warn_of_exposed(file);
    }
    let source_config = SourceConfig {
        socket: config.socket,
        subscribe: if config.on_demand { Vec::new() } else { config.subscribe.clone() },
        rcvhwm: i32::try_from(config.rcvhwm).unwrap_or(i32::MAX),
        heartbeat: config.heartbeat,
        message_bytes_max: config.message_bytes_max,
        security,
    };
    if !config.endpoints.is_empty() {
        let count = CONTEXT_DESCRIPTORS + ENDPOINT_DESCRIPTORS * config.endpoints.len();
        let action = "too few descriptors are left for ZeroMQ's sockets (raise RLIMIT_NOFILE)";
        probe_descriptors(count).map_err(|source| Error::System { action, source })?;
    }
    let open = |endpoint| Source::open(zmq, endpoint, &source_config);
    config.endpoints.iter().map(open).collect()
}

fn warn_of_exposed(file: &str) {
    let file = file.escape_debug();
    log::warn!("{file} holds a secret, and everybody on this host can read it: chmod o-rwx");
}

fn context(
    config: Config,
    clients_max: usize,
    authorize: Option<Authorize>,
    on_event: Option<OnEvent>,
) -> Result<Context, Error> {
    let share_bytes = config.memory_bytes_max / MEMORY_SHARE;
    let history = history_limits(&config);
    let other_bytes = 3 * share_bytes + history.total_bytes_max();
    let memory = Memory::with_limit(config.memory_bytes_max - other_bytes);
    let wish_memory = Memory::with_limit(share_bytes);
    let epoch = Epoch::from_seed(RandomState::new().hash_one(0));
    let feed_limits = feed::Limits {
        lag_bytes_max: config.lag_bytes_max,
        lag_policy: config.lag_policy,
        history,
        last_value: config.last_value,
    };
    let mut encoding = Encoding::new(epoch, config.payload);
    if config.compress {
        encoding.deflater = Deflater::new(config.compress_bytes_min);
    }
    let pages = pages(&config, share_bytes)?;
    let mut feeds = Feeds::new(feed_limits, encoding, &memory, wish_memory.clone());
    if config.on_demand {
        warn_of_inflated_demand(&config);
        let sources = config.endpoints.len();
        feeds = feeds.on_demand(Demand::new(config.subscribe, sources, wish_memory));
    }
    if on_event.is_some() {
        feeds.tell_news();
    }
    let per_ip_max = config.clients_per_ip_max;
    Ok(Context {
        feeds,
        metrics: Metrics::default(),
        engine: EngineSessions::new(random_seed()?, config.socket_io_recovery, per_ip_max),
        request_memory: Memory::with_limit(share_bytes),
        timing: Timing {
            handshake_timeout: config.handshake_timeout,
            keepalive_timeout: config.keepalive_timeout,
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
        },
        limits: Limits {
            http: http_limits(config.inbound_bytes_max),
            topics_max: config.topics_max,
            inbound_bytes_max: config.inbound_bytes_max,
            write_timeout: config.write_timeout,
        },
        budget: Budget::default(),
        coalesce: config.coalesce,
        admission: Admission::with_limits(clients_max, per_ip_max),
        site: Site {
            pages,
            client: BuiltIn::client(),
            path_prefix: config.path_prefix.into_bytes().into(),
            origin: config.origin,
            has_lost_source: false,
            started: Some(Instant::now()),
        },
        memory,
        format: config.format,
        date: Date::from_system_time(SystemTime::now()),
        hooks: Hooks::new(authorize, on_event),
    })
}

fn warn_of_inflated_demand(config: &Config) {
    if config.decode != Decode::None && config.topic_from == TopicFrom::Part {
        log::warn!(
            "on-demand with decode: publishers compare what they send, so messages of one part, which have no topic, \
             reach only clients that ask for everything"
        );
    }
}

/// A body may be as large as what Socket.IO's clients may say in one.
fn http_limits(inbound_bytes_max: usize) -> http::Limits {
    let limits = http::Limits::default();
    http::Limits { body_bytes_max: limits.body_bytes_max.max(inbound_bytes_max as u64), ..limits }
}

/// What ids are made of that nobody may guess.
fn random_seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    let filled = SysRng.try_fill_bytes(&mut seed);
    let failed = |error| Error::System {
        action: "cannot get random bytes from the system",
        source: io::Error::other(error),
    };
    filled.map(|()| seed).map_err(failed)
}

fn history_limits(config: &Config) -> history::Limits {
    history::Limits {
        messages_max: config.history_messages_max,
        topics_max: if config.keeps_last_values() { config.last_value_topics_max } else { 0 },
        bytes_max: config.history_bytes(),
    }
}

fn pages(config: &Config, cache_bytes_max: usize) -> Result<Pages, ConfigError> {
    Ok(match &config.site {
        SiteConfig::BuiltIn => Pages::BuiltIn(BuiltIn::page()),
        SiteConfig::Directory(path) => {
            Pages::Directory(Directory::open(path, cache_bytes_max).map_err(|error| {
                let reason = format!("not a folder that can be read: {error}");
                config.refuse("www", path.display(), reason)
            })?)
        }
        SiteConfig::None => Pages::None,
    })
}
