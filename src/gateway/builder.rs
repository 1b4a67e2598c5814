//! Sets up a gateway until it is opened: settings, hooks, the ZeroMQ context. Decides no value's bounds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificate::Certificate;
use super::descriptor_budget::DescriptorBudget;
use super::{Gateway, Running};
use crate::access::OriginPolicy;
use crate::config::{Config, GivenSecret, Settings, SiteConfig, with_settings};
use crate::error::{ConfigError, Error};
use crate::feed::LagPolicy;
use crate::hooks::{Access, Authorize, Event, Map, Message, OnEvent, Request};
use crate::intake::{Counter, CounterType, Decode};
use crate::message::TopicFrom;
use crate::net::ListenAddr;
use crate::source::{Attach, Endpoint, SocketKind};
use crate::wire::{Format, Payload};

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
    config: Config,
    /// The first endpoint that is none.
    invalid: Option<ConfigError>,
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
        Self::with_config(Config::default())
    }

    fn with_config(config: Config) -> Self {
        Self { config, invalid: None, context: None, hooks: BuilderHooks::default() }
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
        Ok(Self::with_config(Config::read(Settings::from_toml(text, file)?)?))
    }

    /// For the command: settings as they were typed.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn from_settings(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self::with_config(Config::read(settings)?))
    }

    /// Adds a publisher to connect to: `tcp://HOST:PORT`, `ipc://PATH`, `inproc://NAME` with [`Self::zmq_context`], and
    /// `epgm://` or `pgm://` where libzmq has them. It need not be there yet, and is connected again whenever it comes back.
    /// Or a multicast group or address of this machine to which RADIO sockets send: `udp://GROUP:PORT`.
    pub fn connect(self, endpoint: &str) -> Self {
        self.endpoint("connect", endpoint, Attach::Connect)
    }

    /// Adds an endpoint to bind, so that any number of publishers connect here: `tcp://127.0.0.1:5556`, or with `*` for the
    /// port, which the system then chooses ([`Gateway::endpoints`](crate::Gateway::endpoints)).
    pub fn bind(self, endpoint: &str) -> Self {
        self.endpoint("bind", endpoint, Attach::Bind)
    }

    /// Adds an address where clients connect, such as `([127, 0, 0, 1], 8080)`, a [`SocketAddr`](std::net::SocketAddr) or a
    /// [`ListenAddr`]; port 0 lets the system choose ([`Gateway::listen_addresses`](crate::Gateway::listen_addresses)).
    pub fn listen(self, address: impl Into<ListenAddr>) -> Self {
        self.set("listen", |config| config.listen.push(address.into()))
    }

    /// Serves the files of a directory at `/`, in place of the built-in page.
    pub fn www(self, directory: impl Into<PathBuf>) -> Self {
        self.set("www", |config| config.site = SiteConfig::Directory(directory.into()))
    }

    /// Serves no page.
    pub fn no_www(self) -> Self {
        self.set("www", |config| config.site = SiteConfig::None)
    }

    /// CURVE: the gateway's own secret key, in Z85 or as a whole certificate of CZMQ or pyzmq. Default none. With
    /// [`Self::bind`] the gateway is the server: publishers need the public key that belongs to it as their server key, and
    /// **whoever knows that may publish**. Takes the place of [`Self::curve_secret_key_file`].
    pub fn curve_secret_key(self, key: &str) -> Self {
        let key = GivenSecret::new("curve_secret_key", key);
        self.set("curve_secret_key", |config| config.curve_secret_key = Some(key))
    }

    /// PLAIN: the password of [`Self::plain_user`], 1 to 255 bytes. Takes the place of [`Self::plain_password_file`].
    pub fn plain_password(self, password: &str) -> Self {
        let password = GivenSecret::new("plain_password", password);
        self.set("plain_password", |config| config.plain_password = Some(password))
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
        Ok(self.config.check(self.context.is_some())?)
    }

    /// For the command: what is allowed and probably not meant, one line each.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn hints(&self) -> Vec<String> {
        self.config.hints()
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
        for hint in self.config.hints() {
            log::warn!("{hint}");
        }
        let security = self.config.security()?;
        let certificate = Certificate::open(&self.config)?;
        let clients_wanted = self.config.clients_max;
        let is_asked_for = self.config.is_given("max_clients");
        let room = DescriptorBudget::find(clients_wanted, is_asked_for);
        let context = self.context.unwrap_or_default();
        let gateway =
            Gateway::open(self.config, security, certificate, &room, &context, self.hooks)?;
        room.tell_shortage(clients_wanted, is_asked_for);
        Ok(gateway)
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

    /// Sets the setting `name`.
    fn set(mut self, name: &'static str, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self.config.set_in_code(name);
        self
    }

    fn endpoint(mut self, name: &'static str, text: &str, attach: Attach) -> Self {
        self.config.set_in_code(name);
        match Endpoint::parse(text, attach) {
            Ok(endpoint) => self.config.endpoints.push(endpoint),
            Err(reason) => {
                let invalid = || self.config.refuse(name, text, reason);
                self.invalid.get_or_insert_with(invalid);
            }
        }
        self
    }
}

/// Makes a method of each setting whose entry has one.
macro_rules! methods {
    ($($(#[doc = $about:literal])* $group:literal { $(
        $name:ident $([$short:literal])? : $value:literal = $default:literal $($reload:ident)?, $help:literal
        $(, $field:ident : $type:ty = $kind:expr
        $(, $(#[doc = $doc:literal])* fn($($arg:ident : $arg_type:ty),+) = $set:expr)?)?;
    )* })*) => {$(
        $(#[doc = $about])*
        impl Builder {
            $($($(
                $(#[doc = $doc])*
                pub fn $name(self, $($arg: $arg_type),+) -> Self {
                    self.set(stringify!($name), |config| config.$field = $set)
                }
            )?)?)*
        }
    )*};
}
with_settings!(methods);

fn prefixes_or_all(prefixes: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Vec<Vec<u8>> {
    let prefixes: Vec<_> = prefixes.into_iter().map(Into::into).collect();
    if prefixes.is_empty() { vec![Vec::new()] } else { prefixes }
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
            (new().sequence(0, CounterType::U32Le), "sequence: '0': expected a part"),
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
                "max_lag: '209715200': expected at most 1/4 of max_memory, which is 512MiB",
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

    const SECRET_KEY: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    const PUBLIC_KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const CURVE_IS_NOT_HERE: &str = "CURVE is not in this build's libzmq; to build with the system's: \
         cargo build --release --config .cargo/system-libzmq.toml";

    fn connected() -> Builder {
        Gateway::builder().connect("tcp://127.0.0.1:9")
    }

    fn bound() -> Builder {
        Gateway::builder().bind("tcp://127.0.0.1:*")
    }

    #[track_caller]
    fn assert_refused(builder: &Builder, setting: &str, reason: &str) {
        let error = builder.check().unwrap_err().to_string();
        assert!(error.starts_with(setting), "{error} is not of {setting}");
        assert!(error.contains(reason), "{error} does not say: {reason}");
        for text in [error, format!("{builder:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("JTKVSB"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn plain_needs_a_user_a_password_and_someone_to_tell_them_to() {
        let user = || connected().plain_user("me");
        assert!(user().plain_password("hunter2").check().is_ok());
        assert_refused(&user(), "plain_user: 'me'", "needs plain_password_file");
        let password = connected().plain_password("hunter2");
        assert_refused(&password, "plain_password: '…'", "needs plain_user");
        let whom = |builder: Builder| builder.plain_user("me").plain_password("hunter2");
        assert_refused(&whom(bound()), "plain_user: 'me'", "needs connect");
        assert_refused(&whom(Gateway::builder()), "plain_user: 'me'", "needs connect");
        let both = whom(connected().bind("tcp://127.0.0.1:*"));
        assert_refused(&both, "bind: 'tcp://127.0.0.1:*'", "plain_user is for connect only");
        let multicast = whom(Gateway::builder().connect("udp://239.1.1.1:5"));
        assert_refused(&multicast, "connect: 'udp://239.1.1.1:5'", "multicast has no security");
        let long = "hunter2".repeat(40);
        assert_refused(&user().plain_password(&long), "plain_password: '…'", "of 1 to 255 bytes");
        let nobody = connected().plain_user("").plain_password("hunter2");
        assert_refused(&nobody, "plain_user: ''", "a user of 1 to 255 bytes");
        let zeros = user().plain_password_file("/dev/zero");
        assert_refused(&zeros, "plain_password_file: '/dev/zero'", "at most 64 KiB");
        let curve = user().curve_server_key("x");
        assert_refused(
            &curve,
            "plain_user: 'me'",
            "conflicts with curve_server_key: endpoints have",
        );
    }

    #[test]
    fn the_last_call_counts_and_a_file_of_settings_is_named_until_then() {
        let toml =
            "connect = ['tcp://127.0.0.1:9']\nplain-user = 'me'\nplain-password-file = '/no/such'";
        let read = || Builder::from_toml(toml, "z.toml").unwrap();
        assert_refused(&read(), "z.toml: plain-password-file: '/no/such'", "cannot be read: ");
        let elsewhere = read().plain_password_file("/no/other");
        assert_refused(&elsewhere, "plain_password_file: '/no/other'", "cannot be read: ");
        assert!(read().plain_password("hunter2").check().is_ok());
        assert_refused(&read().plain_password(""), "plain_password: '…'", "of 1 to 255 bytes");
    }

    #[test]
    fn a_key_in_the_place_of_a_file_is_not_shown() {
        let reason = "not the key itself";
        let builder = bound().curve_secret_key_file(SECRET_KEY);
        assert_refused(&builder, "curve_secret_key_file: '…'", reason);
        let toml = format!("bind = ['tcp://127.0.0.1:*']\ncurve-secret-key-file = '{SECRET_KEY}'");
        let builder = Builder::from_toml(&toml, "z.toml").unwrap();
        assert_refused(&builder, "z.toml: curve-secret-key-file: '…'", reason);
    }

    #[test]
    fn curve_needs_a_secret_key_and_for_connecting_a_server_key() {
        let secret = |builder: Builder| builder.curve_secret_key(SECRET_KEY);
        if zmq::has("curve") != Some(true) {
            assert_refused(&secret(bound()), "curve_secret_key: '…'", CURVE_IS_NOT_HERE);
            let client = connected().curve_server_key(PUBLIC_KEY);
            assert_refused(
                &client,
                &format!("curve_server_key: '{PUBLIC_KEY}'"),
                CURVE_IS_NOT_HERE,
            );
            return;
        }
        assert!(secret(bound()).curve_public_key(PUBLIC_KEY).check().is_ok());
        assert!(secret(connected()).curve_server_key(PUBLIC_KEY).check().is_ok());
        let certificate = format!("curve\n    secret-key = \"{SECRET_KEY}\"\n");
        assert!(bound().curve_secret_key(&certificate).check().is_ok());
        let needs = "needs curve_secret_key_file, this gateway's own key";
        assert_refused(&connected().curve_server_key(PUBLIC_KEY), "curve_server_key: ", needs);
        assert_refused(&bound().curve_public_key(PUBLIC_KEY), "curve_public_key: ", needs);
        assert_refused(&secret(connected()), "connect: 'tcp://", "needs curve_server_key");
        let server = secret(bound()).curve_server_key(PUBLIC_KEY);
        assert_refused(&server, "curve_server_key: ", "is for connect; with bind, ");
        assert_refused(
            &secret(Gateway::builder()),
            "curve_secret_key: '…'",
            "needs connect or bind",
        );
        let other = secret(bound()).curve_public_key(PUBLIC_KEY.replace('r', "s"));
        assert_refused(
            &other,
            "curve_public_key: ",
            "does not belong to the key in curve_secret_key",
        );
        let short = bound().curve_secret_key(&SECRET_KEY[1..]);
        assert_refused(&short, "curve_secret_key: '…'", "and this has 39");
        let path = bound().curve_secret_key("/etc/gateway.key");
        assert_refused(&path, "curve_secret_key: '…'", "expected a key of 40 characters in Z85");
        let mistyped = secret(connected()).curve_server_key("abc");
        assert_refused(&mistyped, "curve_server_key: 'abc'", "and this has 3");
        let multicast = secret(Gateway::builder()).connect("udp://239.1.1.1:5");
        assert_refused(&multicast, "connect: 'udp://239.1.1.1:5'", "multicast has no security");
    }
}
