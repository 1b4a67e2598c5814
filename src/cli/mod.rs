//! The command: reads flags, variables and file, runs one gateway, and turns errors into one line
//! and an exit status. Knows the library's public interface and nothing below it.

mod demo;
mod log_line;
mod logging;
mod output;
mod signals;
mod usage;

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use zmq2ws::command::{DEFAULT_BIND, Settings};
use zmq2ws::{Builder, ConfigError, Error, Gateway};

use demo::Demo;
use log_line::LogFormat;
use logging::{Filter, Logger};
use output::{write_answer, write_within};
use usage::Parsed;

/// How long a standard stream without a reader may hold up start, exit or last words.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(200);
/// 1 MiB: no configuration is as long, and a device such as /dev/zero is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bound for `--demo` where nothing else is that its producer could reach.
const DEMO_BIND: &str = "tcp://127.0.0.1:*";

/// The whole program; returns its exit status.
pub(crate) fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let status = match &error {
        Failure::Usage(_) | Failure::Gateway(Error::Config(_)) => 2,
        Failure::Run(_) | Failure::Gateway(_) => 1,
    };
    let text = match error {
        Failure::Usage(text) | Failure::Run(text) => text,
        Failure::Gateway(error) => error.to_string(),
    };
    write_within(OUTPUT_TIMEOUT, io::stderr().as_fd(), &format!("zmq2ws: {text}\n"));
    ExitCode::from(status)
}

/// Why the program does not end with 0.
enum Failure {
    /// The command line is none of ours, in these words.
    Usage(String),
    /// Something of the command's own failed, in these words.
    Run(String),
    /// Settings, or starting, or running.
    Gateway(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Gateway(error.into())
    }
}

fn run() -> Result<(), Failure> {
    let flags = match usage::parse(env::args_os()).map_err(Failure::Usage)? {
        Parsed::Flags(flags) => *flags,
        Parsed::Answered => return Ok(()),
    };
    let (variables, unknown_variables) = Settings::from_env(env::vars_os())?;
    let sources = Sources { flags, variables };
    let mut settings = sources.read()?;
    let filter = filter(&settings)?;
    let log_format: LogFormat = settings.read("log_format")?;
    let (is_check, is_demo) = (settings.is_check()?, settings.is_demo()?);
    if is_demo {
        add_demo_bind(&mut settings);
    }
    let builder = Builder::from_settings(settings.clone().or_command_defaults())?;
    builder.check()?;
    if is_check {
        for hint in unknown_variables.into_iter().chain(builder.hints()) {
            write_within(OUTPUT_TIMEOUT, io::stderr().as_fd(), &format!("zmq2ws: {hint}\n"));
        }
        write_answer(io::stdout().as_fd(), "configuration is valid\n");
        return Ok(());
    }
    let logger = start_logging(filter, log_format)?;
    for unknown in unknown_variables {
        log::warn!("{unknown}");
    }
    let result = serve(builder, &settings, log_format, is_demo, sources, &logger);
    logger.flush(OUTPUT_TIMEOUT);
    result
}

/// Runs a gateway until it was told to stop.
fn serve(
    builder: Builder,
    settings: &Settings,
    log_format: LogFormat,
    is_demo: bool,
    sources: Sources,
    logger: &Logger,
) -> Result<(), Failure> {
    let producer = match settings.text("socket") {
        Some("pull") => zmq::PUSH,
        _ => zmq::PUB,
    };
    let gateway = builder.build().map_err(|error| with_advice(error, settings))?;
    // Endpoints keep their order: what is connected comes first.
    let connected = settings.texts("connect").len();
    let endpoints = gateway.endpoints();
    let demo = match endpoints[connected.min(endpoints.len())..].iter().find(|it| is_local(it)) {
        Some(endpoint) if is_demo => Some(start_demo(producer, endpoint)?),
        _ => None,
    };
    let has_tls = settings.is_given("tls_cert");
    watch_signals(&gateway, has_tls, sources, logger)?;
    log::info!("zmq2ws {} started", env!("CARGO_PKG_VERSION"));
    let announced = announcement(&gateway, settings, connected, demo.is_some());
    match log_format {
        LogFormat::Text => write_within(OUTPUT_TIMEOUT, io::stdout().as_fd(), &announced),
        // A log collector reads this format: it gets no other lines.
        LogFormat::Json => announced.lines().for_each(|line| log::info!("{}", one_spaced(line))),
    }
    warn_of_open_listeners(&gateway, settings);
    gateway.run()?;
    log::info!("stopped");
    Ok(())
}

/// What the command line and the environment said, kept to read the file again.
struct Sources {
    flags: Settings,
    variables: Settings,
}

impl Sources {
    /// All settings, the file's included.
    fn read(&self) -> Result<Settings, ConfigError> {
        let given = self.flags.clone().over(self.variables.clone());
        let file = match given.text("config") {
            None => Settings::default(),
            Some(path) => read_file(path)
                .map_err(|reason| given.refuse("config", path, reason))
                .and_then(|text| Settings::from_toml(&text, path))?,
        };
        Ok(given.over(file))
    }

    /// As [`Self::read`], but not from a pipe: it was read at the start, and would now never end.
    fn read_again(&self) -> Result<Settings, ConfigError> {
        let given = self.flags.clone().over(self.variables.clone());
        if let Some(path) = given.text("config")
            && !fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        {
            return Err(given.refuse("config", path, "expected a file that can be read again"));
        }
        self.read()
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: io::Error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("expected a file of at most 1 MiB".into());
    }
    String::from_utf8(bytes).map_err(|_| "expected a file in UTF-8".into())
}

fn filter(settings: &Settings) -> Result<Filter, ConfigError> {
    settings.read("log")
}

fn start_logging(filter: Filter, format: LogFormat) -> Result<Logger, Failure> {
    // A descriptor of its own: the writer may hang in it, and must not hold the lock of std's while
    // it does.
    let failed = |error: io::Error| Failure::Run(format!("cannot start logging: {error}"));
    let output = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
    let logger = Logger::start(filter, format, File::from(output)).map_err(failed)?;
    logger.install();
    Ok(logger)
}

fn watch_signals(
    gateway: &Gateway,
    has_tls: bool,
    sources: Sources,
    logger: &Logger,
) -> Result<(), Failure> {
    let (handle, reloading) = (gateway.handle(), gateway.handle());
    let (logger, last_logger) = (logger.clone(), logger.clone());
    signals::watch(signals::Actions {
        stop: move || handle.shutdown(),
        reload: move || {
            match sources.read_again().and_then(|settings| filter(&settings)) {
                Ok(filter) => {
                    logger.set_filter(filter);
                    log::info!("SIGHUP: log filter read again");
                }
                Err(error) => log::error!("SIGHUP: log filter kept: {error}"),
            }
            match reloading.reload_tls() {
                Ok(()) if has_tls => log::info!("SIGHUP: certificate read again"),
                Ok(()) => {}
                Err(error) => log::error!("SIGHUP: certificate kept: {error}"),
            }
        },
        last_words: move || last_logger.flush(OUTPUT_TIMEOUT),
    })
    .map_err(|error| Failure::Run(format!("cannot watch signals: {error}")))
}

fn start_demo(producer: zmq::SocketType, endpoint: &str) -> Result<Demo, Failure> {
    let failed = |error| Failure::Run(format!("the demo cannot publish to '{endpoint}': {error}"));
    Demo::start(producer, endpoint).map_err(failed)
}

/// The demo's producer needs something bound that it can connect to.
fn add_demo_bind(settings: &mut Settings) {
    let binds: Vec<_> = settings.texts("bind").to_vec();
    let mut binds: Vec<_> = binds.iter().map(String::as_str).collect();
    if binds.is_empty() && !settings.is_given("connect") {
        binds.push(DEFAULT_BIND);
    } else if !binds.iter().any(|bind| is_local(bind)) {
        binds.push(DEMO_BIND);
    }
    settings.set("bind", &binds);
}

/// Whether a producer on this host can connect where `endpoint` is bound.
fn is_local(endpoint: &str) -> bool {
    endpoint.starts_with("tcp://") || endpoint.starts_with("ipc://")
}

/// Says what to do about an address that nobody chose.
fn with_advice(error: Error, settings: &Settings) -> Failure {
    let advice = match &error {
        Error::Endpoint { endpoint, .. } => endpoint_advice(endpoint),
        Error::Listen { address, .. }
            if !settings.is_given("listen") && settings.text("metrics") != Some(address) =>
        {
            Some("choose another with --listen, such as --listen 127.0.0.1:0")
        }
        _ => None,
    };
    match advice {
        Some(advice) => Failure::Run(format!("{error} ({advice})")),
        None => error.into(),
    }
}

fn endpoint_advice(endpoint: &str) -> Option<&'static str> {
    (endpoint == DEFAULT_BIND).then_some(
        "if your publisher has bound it, start with --connect tcp://127.0.0.1:5556; \
         if another gateway has, choose another with --bind, such as --bind 'tcp://127.0.0.1:*'",
    )
}

/// Where everything is, for a human.
fn announcement(
    gateway: &Gateway,
    settings: &Settings,
    connected: usize,
    has_demo: bool,
) -> String {
    let has_page = !matches!(settings.text("no_www"), Some("true" | "1"));
    let mut text = String::new();
    for address in gateway.listen_addresses() {
        let shown = reachable(&address);
        let interfaces = if shown == address { "" } else { " and every other interface" };
        if has_page {
            text += &format!("page       {shown}{interfaces}\n");
        }
        // http becomes ws, and https wss; the path of a unix socket stays.
        let websocket = match shown.strip_prefix("http") {
            Some(rest) => format!("ws{rest}/ws{interfaces}"),
            None => format!("{address}, path /ws"),
        };
        text += &format!("websocket  {websocket}\n");
    }
    for address in gateway.metrics_addresses() {
        text += &format!("metrics    {address}/metrics\n");
    }
    let socket = settings.text("socket").unwrap_or("sub").to_uppercase();
    for (index, endpoint) in gateway.endpoints().iter().enumerate() {
        let how = match index < connected {
            // Datagrams know no connection.
            _ if endpoint.starts_with("udp://") => "DISH listens on".into(),
            true => format!("{socket} connected to"),
            false => format!("{socket} bound to"),
        };
        text += &format!("zeromq     {how} {endpoint}\n");
    }
    if has_demo {
        text += "demo       publishes 20 messages a second\n";
    }
    text
}

/// The columns of an announcement are for a human.
fn one_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An address that a browser on this host can open, where `url` is one of every interface.
fn reachable(url: &str) -> String {
    url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1)
}

/// Warns where clients of the whole network may read everything.
fn warn_of_open_listeners(gateway: &Gateway, settings: &Settings) {
    for address in gateway.listen_addresses().iter().filter(|url| reachable(url) != **url) {
        let origins = match settings.is_given("origin") {
            false => "",
            true => "; --origin limits browsers, not programs",
        };
        log::warn!(
            "{address}: every host that reaches this one may read all messages{origins}. \
             Listen on 127.0.0.1 behind a proxy that checks users, or close the port to strangers"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(connect: Option<&str>, bind: Option<&str>) -> Vec<String> {
        let mut settings = Settings::default();
        for (name, text) in [("connect", connect), ("bind", bind)] {
            if let Some(text) = text {
                settings.set(name, &[text]);
            }
        }
        add_demo_bind(&mut settings);
        settings.texts("bind").to_vec()
    }

    #[test]
    fn a_demo_has_something_bound_to_connect_to() {
        assert_eq!(binds(None, None), [DEFAULT_BIND]);
        assert_eq!(binds(Some("tcp://h:1"), None), [DEMO_BIND]);
        assert_eq!(binds(None, Some("tcp://127.0.0.1:9")), ["tcp://127.0.0.1:9"]);
        assert_eq!(binds(None, Some("ipc:///tmp/x")), ["ipc:///tmp/x"]);
        assert_eq!(binds(None, Some("udp://g:1")), ["udp://g:1", DEMO_BIND]);
    }

    #[test]
    fn a_default_address_that_is_taken_comes_with_advice() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = || {
            Gateway::builder().listen(taken.local_addr().unwrap()).build().map(drop).unwrap_err()
        };
        let said = |failure| match failure {
            Failure::Usage(text) | Failure::Run(text) => text,
            Failure::Gateway(error) => error.to_string(),
        };
        let mut settings = Settings::default();
        let text = said(with_advice(error(), &settings));
        assert!(text.starts_with("cannot listen on 127.0.0.1:"), "{text}");
        assert!(
            text.ends_with(" (choose another with --listen, such as --listen 127.0.0.1:0)"),
            "{text}"
        );
        settings.set("listen", &["127.0.0.1:1"]);
        assert_eq!(said(with_advice(error(), &settings)), error().to_string());
        let advice = endpoint_advice(DEFAULT_BIND).unwrap();
        assert!(
            advice.contains(&format!("--connect {DEFAULT_BIND};")) && advice.contains("--bind")
        );
        assert_eq!(endpoint_advice("tcp://h:1"), None);
    }

    #[test]
    fn an_address_of_every_interface_is_shown_as_one_to_open() {
        assert_eq!(reachable("http://0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(reachable("https://[::]:443"), "https://[::1]:443");
        assert_eq!(reachable("http://10.0.0.0:80"), "http://10.0.0.0:80");
        assert_eq!(one_spaced("page       http://a"), "page http://a");
    }

    #[test]
    fn a_file_that_never_ends_or_is_none_is_refused() {
        assert_eq!(read_file("/dev/zero").unwrap_err(), "expected a file of at most 1 MiB");
        assert!(read_file("/no/such/file").unwrap_err().starts_with("cannot be read: "));
        assert!(read_file("/").unwrap_err().starts_with("cannot be read: "));
    }
}
