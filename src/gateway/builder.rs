//! What a gateway is to be, until it is opened: settings, hooks, the ZeroMQ context. The settings themselves are beside it.

use std::collections::BTreeSet;
use std::fmt;

use super::certificate::Certificate;
use super::descriptor_budget::DescriptorBudget;
use super::{Gateway, Running};
use crate::config::{Config, Invalid, Settings};
use crate::error::{ConfigError, Error};
use crate::hooks::{Access, Authorize, Event, Map, Message, OnEvent, Request};
use crate::source::{Attach, Endpoint};

/// Sets up a [`Gateway`]; made by [`Gateway::builder`].
///
/// Everything that the command line can say has a method of the flag's name here, with the same default, but for one
/// thing: **a library opens nothing that nobody asked for.** Without [`Self::connect`] and [`Self::bind`] there is no ZeroMQ
/// socket, without [`Self::listen`] no listener; [`Handle::publish`](crate::Handle::publish) and
/// [`Handle::adopt`](crate::Handle::adopt) take their place. Sizes are bytes. Where a method is called again, the last call
/// counts, but for those that say that they add.
///
/// Values are checked when the gateway is built; an error names the method.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use zmq2ws::{Format, Gateway, LagPolicy};
///
/// let gateway = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .listen(([127, 0, 0, 1], 0))
///     .format(Format::Json)
///     .slow_client(LagPolicy::Conflate)
///     .max_lag(4 << 20)
///     .ping_interval(Duration::from_secs(10))
///     .build()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[must_use = "nothing is opened before `build` or `spawn`"]
pub struct Builder {
    pub(super) config: Config,
    /// The first endpoint that is none.
    pub(super) invalid: Option<ConfigError>,
    /// What was typed, where the settings were read from text.
    typed: Option<Box<Settings>>,
    /// Settings that were set here since: they are called by their methods.
    set: BTreeSet<&'static str>,
    context: Option<zmq::Context>,
    hooks: BuilderHooks,
}

/// What the host has a say in.
#[derive(Default)]
pub(super) struct BuilderHooks {
    pub(super) authorize: Option<Authorize>,
    pub(super) map: Option<Map>,
    pub(super) on_event: Option<OnEvent>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::with_config(Config::default(), None)
    }

    fn with_config(config: Config, typed: Option<Box<Settings>>) -> Self {
        let (set, hooks) = (BTreeSet::new(), BuilderHooks::default());
        Self { config, invalid: None, typed, set, context: None, hooks }
    }

    /// Reads settings from TOML, whose keys are the long names of the command's flags; `file` is the text's name in errors.
    /// Methods called on the result replace what is there. Keys that are the command's own (`log`, `log-format`, `check`,
    /// `demo`) are let through and mean nothing here, so that one file serves both.
    ///
    /// # Errors
    ///
    /// The text is not TOML, a key is unknown, or a value is not of its kind. What is out of bounds is found when the gateway
    /// is built, and is named by file and key then, too.
    ///
    /// # Examples
    ///
    /// ```
    /// let gateway = zmq2ws::Builder::from_toml(
    ///     "bind = ['tcp://127.0.0.1:*']\nlisten = ['127.0.0.1:0']\nmax-lag = '4MiB'",
    ///     "gateway.toml",
    /// )?
    /// .build()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn from_toml(text: &str, file: &str) -> Result<Self, Error> {
        Ok(Self::read(Settings::from_toml(text, file)?)?)
    }

    /// For the command: settings as they were typed.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn from_settings(settings: Settings) -> Result<Self, ConfigError> {
        Self::read(settings)
    }

    fn read(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self::with_config(settings.to_config()?, Some(Box::new(settings))))
    }

    /// Sets one setting, which is called `name`, here and where it is typed.
    pub(super) fn set(mut self, name: &'static str, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self.set.insert(name);
        self
    }

    pub(super) fn endpoint(mut self, name: &'static str, text: &str, attach: Attach) -> Self {
        self.set.insert(name);
        match Endpoint::parse(text, attach) {
            Ok(endpoint) => self.config.endpoints.push(endpoint),
            Err(reason) => {
                let invalid = || self_made(&Invalid::new(name, text, reason));
                self.invalid.get_or_insert_with(invalid);
            }
        }
        self
    }

    /// The ZeroMQ context of the gateway's sockets: one that the host has already, so that `inproc://` endpoints connect the
    /// two. By default each gateway has a context of its own, with one thread for ZeroMQ's connections.
    ///
    /// The type is that of the crate [`zmq`](crate::zmq), of which this crate lets out the version that it is built with.
    ///
    /// An `inproc://` publisher that ends is not connected to again: ZeroMQ tells nobody.
    ///
    /// A context that the host terminates waits until the gateway has closed its sockets there, which one of its next turns
    /// does: so not on the thread that turns it. The log has an error for each endpoint, from which nothing comes any more;
    /// clients stay, and get what is published without ZeroMQ.
    ///
    /// # Examples
    ///
    /// ```
    /// use zmq2ws::zmq;
    ///
    /// let context = zmq::Context::new();
    /// let publisher = context.socket(zmq::PUB).unwrap();
    /// publisher.bind("inproc://feed").unwrap();
    /// let gateway = zmq2ws::Gateway::builder()
    ///     .zmq_context(&context)
    ///     .connect("inproc://feed")
    ///     .build()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn zmq_context(self, context: &zmq::Context) -> Self {
        Self { context: Some(context.clone()), ..self }
    }

    /// Decides who may connect, and to which topics: called for each request for messages (WebSocket, `/sse`, `/poll`, `HEAD`
    /// included), and for the one that opens a Socket.IO session, by polling or WebSocket; after the request was found valid
    /// and its origin allowed, before anything is made for the client. Later requests of a session, pages, `/healthz` and
    /// `/metrics` are not asked for. Without it everybody may.
    ///
    /// Called **on the loop's thread**: while it runs, everybody waits. Look things up that are in memory; what takes longer
    /// is for the host's own server, which can hand over who was let in ([`Handle::adopt`](crate::Handle::adopt)). A hook that
    /// panics is logged, its client gets 503, and the gateway goes on (not where panics abort).
    ///
    /// # Examples
    ///
    /// ```
    /// use zmq2ws::{Access, Denial, Gateway};
    ///
    /// let gateway = Gateway::builder()
    ///     .authorize(|request| match request.cookie("session") {
    ///         Some("of-alice") => Access::allow().with_tag(1),
    ///         Some("of-bob") => Access::allow_topics(["public."]).with_tag(2),
    ///         _ => Access::deny(Denial::Unauthorized),
    ///     })
    ///     .build()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn authorize(mut self, hook: impl FnMut(&Request<'_>) -> Access + Send + 'static) -> Self {
        self.hooks.authorize = Some(Box::new(hook));
        self
    }

    /// Changes each message, from ZeroMQ and from [`Handle::publish`](crate::Handle::publish), before it gets its number and
    /// goes to clients and into history; `None` drops it, which `zmq2ws_messages_dropped_total{reason="map"}` counts. Without
    /// it messages are not copied; with it each of them is, once.
    ///
    /// Called **on the loop's thread**, for every message: a microsecond here is a microsecond for each. After 5 ms of it the
    /// others have their turn, so that a slow hook delays messages, but nobody's pings, and not the end: who is told to stop
    /// goes on for a quarter of [`Self::drain`], then says goodbye while it does. What becomes larger than
    /// [`Self::max_message`], or of more than 4096 parts, is dropped. A hook that panics is logged, the message is dropped and
    /// counted as above, and the gateway goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use zmq2ws::Gateway;
    ///
    /// let gateway = Gateway::builder()
    ///     .map(|mut message| {
    ///         if message.topic.as_deref() == Some(b"internal") {
    ///             return None;
    ///         }
    ///         message.parts.truncate(1);
    ///         Some(message)
    ///     })
    ///     .build()?;
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn map(
        mut self,
        hook: impl for<'a> FnMut(Message<'a>) -> Option<Message<'a>> + Send + 'static,
    ) -> Self {
        self.hooks.map = Some(Box::new(hook));
        self
    }

    /// Hears what happens to clients. Without it nothing is kept or told.
    ///
    /// Called **on the loop's thread**, in the order in which things happen to one client; topics on ZWS and Socket.IO and a
    /// lag are told at the end of the turn. A gateway that is dropped tells of every client there and then that it is closed,
    /// with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown). Hand over to a channel what takes time. A hook that panics is logged, and the
    /// client that it was told of is closed, a WebSocket with 1011; a Socket.IO session that was about to begin gets 503.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use zmq2ws::{Event, Gateway};
    ///
    /// let (sender, events) = mpsc::channel();
    /// let gateway = Gateway::builder()
    ///     .on_event(move |event| match event {
    ///         Event::Connected { client, .. } => drop(sender.send(format!("{} came", client.id))),
    ///         Event::Closed { client, reason, .. } => {
    ///             drop(sender.send(format!("{} left: {reason}", client.id)));
    ///         }
    ///         _ => {}
    ///     })
    ///     .build()?;
    /// # drop(events);
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn on_event(mut self, hook: impl FnMut(&Event<'_>) + Send + 'static) -> Self {
        self.hooks.on_event = Some(Box::new(hook));
        self
    }

    /// Checks all settings, alone and against each other, and opens nothing. [`Self::build`] does this first.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the first value that cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(invalid) = &self.invalid {
            return Err(invalid.clone().into());
        }
        let checked = self.config.check(self.context.is_some());
        checked.map_err(|invalid| self.refuse(&invalid).into())
    }

    /// The error, under the name that the setting has for who gave it.
    fn refuse(&self, invalid: &Invalid) -> ConfigError {
        let typed = self.typed.as_deref().filter(|_| !self.set.contains(invalid.name));
        refuse(typed, invalid)
    }

    /// Opens every endpoint and listener. Nothing is served before [`Gateway::run`] or [`Gateway::turn`].
    ///
    /// With [`Self::max_clients`], and only then, raises this process's limit of descriptors (RLIMIT_NOFILE) to fit.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; [`Error::Endpoint`], [`Error::Listen`] or [`Error::System`] for the first thing that cannot be
    /// opened. Nothing stays open then.
    pub fn build(self) -> Result<Gateway, Error> {
        self.check()?;
        let security = self.config.security().map_err(|invalid| self.refuse(&invalid))?;
        let (clients_wanted, is_asked_for) = (self.config.clients_max, self.asks_for_clients());
        let named = if self.typed.is_some() { |error| error } else { for_methods };
        let is_set = ["tls-cert", "tls-key"].iter().any(|name| self.set.contains(name));
        let typed = self.typed.filter(|_| !is_set);
        let certificate = Certificate::open(&self.config, typed)?;
        let room = DescriptorBudget::find(clients_wanted, is_asked_for);
        let context = self.context.unwrap_or_default();
        let opened = Gateway::open(self.config, security, certificate, &room, &context, self.hooks);
        let gateway = opened.map_err(named)?;
        room.tell_shortage(clients_wanted, is_asked_for);
        Ok(gateway)
    }

    /// Whether somebody said how many clients there may be.
    fn asks_for_clients(&self) -> bool {
        let is_typed = self.typed.as_ref().is_some_and(|typed| typed.max_clients.is_some());
        is_typed || self.set.contains("max-clients")
    }

    /// Builds the gateway on a thread of its own, where it stays, and runs it there. Returns when it is open.
    ///
    /// # Errors
    ///
    /// As [`Self::build`]; no thread is left then.
    ///
    /// # Examples
    ///
    /// ```
    /// let running = zmq2ws::Gateway::builder().listen(([127, 0, 0, 1], 0)).spawn()?;
    /// println!("clients connect to {}", running.listen_addresses()[0]);
    /// drop(running); // says goodbye to everybody
    /// # Ok::<(), zmq2ws::Error>(())
    /// ```
    pub fn spawn(self) -> Result<Running, Error> {
        Running::start(self)
    }
}

/// The error, under the name in what was `typed`, or else that of the method.
pub(super) fn refuse(typed: Option<&Settings>, invalid: &Invalid) -> ConfigError {
    typed.map_or_else(|| self_made(invalid), |typed| typed.refuse_invalid(invalid))
}

/// The error for what a method was given.
fn self_made(invalid: &Invalid) -> ConfigError {
    let reason = in_methods(&invalid.reason);
    ConfigError { setting: invalid.name.replace('-', "_"), value: invalid.value.clone(), reason }
}

/// The error for who called methods.
fn for_methods(error: Error) -> Error {
    match error {
        Error::Endpoint { endpoint, reason } => {
            Error::Endpoint { endpoint, reason: in_methods(&reason) }
        }
        Error::Listen { address, reason } => Error::Listen { address, reason: in_methods(&reason) },
        other => other,
    }
}

/// What is said of flags, with the names that their methods have.
fn in_methods(text: &str) -> String {
    // What cargo is told stays as it is.
    let (text, command) = text.split_at(text.find(" cargo ").unwrap_or(text.len()));
    let words = text.split(' ').map(|word| match word.strip_prefix("--") {
        Some(flag) => flag.replace('-', "_"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ") + command
}

/// The settings; a hook has nothing to show.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Decode, LagPolicy, SocketKind, TopicFrom};

    fn opening_error(builder: Builder) -> String {
        builder.build().unwrap_err().to_string()
    }

    fn refusal(builder: &Builder) -> String {
        builder.check().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_method_and_the_value() {
        let new = Builder::new;
        for (builder, expected) in [
            (new().max_lag(0), "max_lag: '0': expected a size from 1 B to 1.0 GiB"),
            (new().max_topics(0), "max_topics: '0': expected a whole number from 1 to 65536"),
            (new().ping_timeout(Duration::ZERO), "ping_timeout: '0s': expected a duration from"),
            (new().connect("nonsense"), "connect: 'nonsense': "),
            (new().bind("inproc://x"), "bind: 'inproc://x': inproc:// works only in the library"),
            (new().sequence(0, crate::CounterType::U32Le), "sequence: '0': expected a part"),
            (
                new().on_demand(true).socket(SocketKind::Pull),
                "on_demand: 'true': conflicts with socket pull: a PULL socket cannot ask",
            ),
            (
                new().on_demand(true).decode(Decode::Zlib).topic_from(TopicFrom::None),
                "on_demand: 'true': conflicts with decode and topic_from none: ",
            ),
            (
                new().max_memory(1 << 20),
                "max_memory: '1048576': expected at least 2 times max_message, which is",
            ),
            (
                new().slow_client(LagPolicy::Conflate).max_lag(200 << 20),
                "max_lag: '209715200': expected at most 1/4 of max_memory, which is 536870912",
            ),
            (
                new().history_bytes(65 << 20),
                "history_bytes: '68157440': expected at most an eighth",
            ),
            (new().www("/no/such"), "www: '/no/such': expected a directory"),
            (
                new().listen(([127, 0, 0, 1], 9)).metrics(([127, 0, 0, 1], 9)),
                "metrics: '127.0.0.1:9': is also an address",
            ),
            (new().inbox_messages(0), "inbox_messages: '0': expected a whole number"),
            (new().path_prefix("/live/"), "path_prefix: '/live/': expected a path such as /live"),
            (new().path_prefix("live"), "path_prefix: 'live': expected a path"),
            (new().path_prefix("/a/../b"), "path_prefix: '/a/../b': expected a path"),
            (new().path_prefix("/a%2fb"), "path_prefix: '/a%2fb': expected a path"),
            (new().inbox_bytes(1), "inbox_bytes: '1': expected a size"),
        ] {
            let refusal = refusal(&builder);
            assert!(refusal.starts_with(expected), "{refusal:?} is not {expected:?}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_explained_in_methods() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = opening_error(Builder::new().listen(address));
        assert!(error.contains("each with reuse_port"), "{error}");
        let typed = Builder::from_toml(&format!("listen = ['{address}']"), "z.toml").unwrap();
        let error = opening_error(typed);
        assert!(error.contains("each with --reuse-port"), "{error}");
        let advice = "needs --max-lag: cargo build --features compress";
        assert_eq!(in_methods(advice), "needs max_lag: cargo build --features compress");
    }

    #[test]
    fn what_came_from_a_file_is_named_by_it_until_it_is_set_here() {
        let read = |toml| Builder::from_toml(toml, "z.toml").unwrap();
        assert!(
            refusal(&read("max-lag = '1GiB'")).starts_with("z.toml: max-lag: '1GiB': expected")
        );
        assert!(refusal(&read("max-lag = 0")).starts_with("z.toml: max-lag: '0': expected a size"));
        assert!(refusal(&read("max-lag = 5").max_lag(0)).starts_with("max_lag: '0': "));
        assert!(read("max-lag = 0").max_lag(5).check().is_ok());
        assert!(
            refusal(&read("bind = ['inproc://x']")).starts_with("z.toml: bind: 'inproc://x': ")
        );
        let context = zmq::Context::new();
        assert!(read("bind = ['inproc://x']").zmq_context(&context).check().is_ok());
        let error = Builder::from_toml("max-lagg = 5", "z.toml").unwrap_err().to_string();
        assert!(error.starts_with("z.toml: max-lagg: '5': unknown key"), "{error}");
    }
}
