//! Settings from three layers: which one wins, and how a bad value is refused.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::{env, fs};

use zmq2ws::command::Setting;

use crate::cli::{TempFile, command};

/// Every setting with a value that is accepted and one that is not. Nothing that can be typed is a
/// bad prefix.
const SETTINGS: [(&str, &str, Option<&str>); 45] = [
    ("connect", "tcp://127.0.0.1:9", Some("nonsense")),
    ("bind", "tcp://127.0.0.1:*", Some("inproc://x")),
    ("socket", "sub", Some("push")),
    ("subscribe", "weather.", None),
    ("on-demand", "false", Some("maybe")),
    ("topic-from", ":", Some("ab")),
    ("decode", "auto", Some("deflate")),
    ("sequence", "2:u32le", Some("0:u32le")),
    ("rcvhwm", "1", Some("0")),
    ("heartbeat", "0", Some("1")),
    ("max-message", "1MiB", Some("-1")),
    ("listen", "127.0.0.1:0", Some("127.0.0.1")),
    ("reuse-port", "true", Some("maybe")),
    ("format", "json", Some("xml")),
    ("payload", "text", Some("utf8")),
    ("history", "0", Some("-1")),
    ("history-bytes", "1MiB", Some("1GiB")),
    ("last-value", "true", Some("maybe")),
    ("last-value-topics", "1", Some("0")),
    ("slow-client", "conflate", Some("wait")),
    ("max-lag", "64KB", Some("abc")),
    ("compress", "true", Some("maybe")),
    ("compress-min", "1", Some("0")),
    ("socket-io-recovery", "true", Some("maybe")),
    ("coalesce", "5ms", Some("1001ms")),
    ("www", "/", Some("/no/such/directory")),
    ("no-www", "false", Some("maybe")),
    ("max-clients", "1", Some("0")),
    ("max-clients-per-ip", "0", Some("x")),
    ("max-topics", "1", Some("0")),
    ("handshake-timeout", "1s", Some("0")),
    ("keepalive-timeout", "1s", Some("5")),
    ("ping-interval", "300ms", Some("2d")),
    ("ping-timeout", "1m30s", Some("0s")),
    ("write-timeout", "1s", Some("never")),
    ("max-memory", "1GiB", Some("1KiB")),
    ("max-inbound", "125", Some("0")),
    ("drain", "0", Some("-5s")),
    ("origin", "https://example.org", Some("nonsense")),
    ("metrics", "127.0.0.1:0", Some("nowhere")),
    ("log", "warn", Some("inof")),
    ("log-format", "json", Some("xml")),
    ("config", "/dev/null", Some("/no/such/file")),
    ("check", "true", Some("yes")),
    ("demo", "false", Some("2")),
];

/// The settings that mean something only together, or only with some libzmq, with a value that is refused alone;
/// `security.rs` and `tls.rs` test them.
const REFUSED_ALONE: [(&str, &str); 7] = [
    ("tls-cert", "x"),
    ("tls-key", "x"),
    ("curve-server-key", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"),
    ("curve-public-key", "nonsense"),
    ("curve-secret-key-file", "/no/such/file"),
    ("plain-user", "me"),
    ("plain-password-file", "/dev/null"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layer {
    File,
    Variable,
    Flag,
}

/// The settings of one run, in all layers.
#[derive(Default)]
struct Given {
    args: Vec<String>,
    variables: Vec<(String, String)>,
    toml: String,
}

impl Given {
    fn with(mut self, layer: Layer, name: &str, value: &str) -> Self {
        match layer {
            Layer::Flag => self.args.push(format!("--{name}={value}")),
            Layer::Variable => self.variables.push((variable(name), value.into())),
            Layer::File if is_list(name) => self.toml += &format!("{name} = ['{value}']\n"),
            Layer::File => self.toml += &format!("{name} = '{value}'\n"),
        }
        self
    }

    /// Runs the command with these settings and `--check`, unless that is what is being tested.
    fn check(mut self) -> Output {
        let file = TempFile::new(&self.toml);
        let is_given = |name| {
            self.args.iter().any(|arg| arg.starts_with(&format!("--{name}")))
                || self.variables.iter().any(|(given, _)| *given == variable(name))
                || self.toml.contains(&format!("{name} = "))
        };
        let (has_check, has_config) = (is_given("check"), is_given("config"));
        if !has_check {
            self.args.push("--check".into());
        }
        if !has_config {
            self.args.push(format!("--config={}", file.path()));
        }
        command().args(self.args).envs(self.variables).output().unwrap()
    }
}

fn variable(name: &str) -> String {
    format!("ZMQ2WS_{}", name.replace('-', "_").to_uppercase())
}

fn setting(layer: Layer, name: &str) -> String {
    match layer {
        Layer::Flag => format!("zmq2ws: --{name}: "),
        Layer::Variable => format!("zmq2ws: {}: ", variable(name)),
        Layer::File => format!(".toml: {name}: "),
    }
}

fn is_list(name: &str) -> bool {
    Setting::all().any(|setting| setting.key() == name && setting.is_list())
}

/// Asserts exit status 2 and one line on standard error that holds `setting` and `value`.
#[track_caller]
fn assert_refused(output: &Output, setting: &str, value: &str) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr:?}");
    assert!(stderr.starts_with("zmq2ws: ") && stderr.ends_with('\n'), "{stderr:?}");
    assert!(stderr.contains(setting), "{setting:?} in {stderr:?}");
    assert!(stderr.contains(&format!("'{value}'")), "{value:?} in {stderr:?}");
    assert!(output.stdout.is_empty());
}

#[track_caller]
fn assert_valid(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(output.stdout, b"configuration is valid\n");
}

#[test]
fn the_tables_here_and_the_help_know_every_setting() {
    let flags: BTreeSet<_> = Setting::all().map(Setting::key).collect();
    let names = SETTINGS.iter().map(|(name, ..)| *name);
    let names = names.chain(REFUSED_ALONE.map(|(name, _)| name));
    assert_eq!(flags, names.map(String::from).collect());
    let output = command().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in flags {
        assert!(
            help.contains(&format!(" --{flag} ")) || help.contains(&format!(" --{flag}[")),
            "{flag}"
        );
    }
    let headings = ["Upstream", "Downstream", "Limits", "Access", "Operation"];
    let places = headings.map(|heading| help.find(&format!("\n{heading}")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_version_names_libzmq_and_what_it_has() {
    let output = command().arg("--version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(concat!("zmq2ws ", env!("CARGO_PKG_VERSION"), "\n")), "{text}");
    assert!(
        text.contains("libzmq 4.") && text.contains("curve: ") && text.contains("pgm: "),
        "{text}"
    );
}

#[test]
fn every_setting_is_accepted_in_every_layer() {
    for layer in [Layer::File, Layer::Variable, Layer::Flag] {
        let all = SETTINGS.iter().filter(|(name, ..)| *name != "config");
        assert_valid(
            &all.fold(Given::default(), |it, (name, good, _)| it.with(layer, name, good)).check(),
        );
    }
    for layer in [Layer::Variable, Layer::Flag] {
        assert_valid(&Given::default().with(layer, "config", "/dev/null").check());
    }
}

#[test]
fn bad_values_are_refused_by_name_in_every_layer() {
    let alone = REFUSED_ALONE.map(|(name, value)| (name, Some(value)));
    for (name, bad) in SETTINGS.map(|(name, _, bad)| (name, bad)).into_iter().chain(alone) {
        let Some(bad) = bad else { continue };
        for layer in [Layer::File, Layer::Variable, Layer::Flag] {
            if (name, layer) != ("config", Layer::File) {
                let output = Given::default().with(layer, name, bad).check();
                assert_refused(&output, &setting(layer, name), bad);
            }
        }
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    for (name, good, bad) in SETTINGS {
        let Some(bad) = bad else { continue };
        for (low, high) in [
            (Layer::File, Layer::Variable),
            (Layer::File, Layer::Flag),
            (Layer::Variable, Layer::Flag),
        ] {
            if (name, low) == ("config", Layer::File) {
                continue;
            }
            assert_valid(&Given::default().with(low, name, bad).with(high, name, good).check());
            let output = Given::default().with(low, name, good).with(high, name, bad).check();
            assert_refused(&output, &setting(high, name), bad);
        }
    }
}

#[test]
fn what_is_wrong_with_a_multicast_endpoint_is_told() {
    for (endpoint, part_of_reason) in [
        ("udp://239.192.1.1", "expected GROUP:PORT, such as udp://239.192.1.1:5556"),
        ("udp://239.192.1.1:0", "a port to connect to is 1 to 65535"),
        ("udp://eth0;192.168.1.1:5556", "for multicast groups only (224.0.0.0 to 239.255.255.255)"),
        ("udp://feed.example:5556", "expected a multicast group"),
        ("udp://[ff02::1]:5556", "take an IPv4 one"),
    ] {
        let output = Given::default().with(Layer::Flag, "connect", endpoint).check();
        assert_refused(&output, "--connect", endpoint);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(part_of_reason), "{stderr}");
    }
}

#[test]
fn two_names_for_one_thing_follow_the_layers_too() {
    let www_in_file = || Given::default().with(Layer::File, "www", "/");
    assert_valid(&www_in_file().with(Layer::Flag, "no-www", "true").check());
    let output = www_in_file().with(Layer::File, "no-www", "true").check();
    assert_refused(&output, ".toml: www: ", "/");
}

#[test]
fn unknown_flags_and_keys_are_refused_and_variables_are_not() {
    let output = command().arg("--max-lagg=5").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stderr, b"zmq2ws: --max-lagg: unknown flag; did you mean --max-lag?\n");
    for later in ["token-key", "trust-proxy"] {
        let output = command().args([&format!("--{later}"), "x"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let expected = format!("zmq2ws: --{later}: unknown flag");
        assert!(output.stderr.starts_with(expected.as_bytes()), "{later}");
        let output = Given::default().with(Layer::File, later, "x").check();
        assert_refused(&output, &setting(Layer::File, later), "x");
    }
    assert_valid(&Given::default().with(Layer::Variable, "service-host", "10.0.0.1").check());
}

#[test]
fn endpoints_and_prefixes_that_cannot_be_meant_are_refused() {
    let twice = ["--connect=tcp://127.0.0.1:9", "--connect=tcp://127.0.0.1:9", "--check"];
    let output = command().args(twice).output().unwrap();
    assert_refused(&output, "--connect: ", "tcp://127.0.0.1:9");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is given twice"));
    let output = command().args(["--bind=tcp://*:*", "--bind=tcp://*:*", "--check"]).output();
    assert_valid(&output.unwrap());
    let output = command().args(["--socket=pull", "--subscribe=x", "--check"]).output().unwrap();
    assert_refused(&output, "--subscribe: ", "x");
    assert!(String::from_utf8_lossy(&output.stderr).contains("conflicts with --socket pull"));
    assert_valid(&command().args(["--socket=pull", "--check"]).output().unwrap());
}

#[test]
fn a_star_at_the_end_of_a_prefix_gets_a_hint() {
    let output = command().args(["--subscribe=weather.*", "--check"]).output().unwrap();
    assert_valid(&output);
    let expected = "zmq2ws: --subscribe: 'weather.*': '*' is a character like others here; 'weather.' matches all topics \
                    that begin so\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert!(
        command().args(["--subscribe=weather.", "--check"]).output().unwrap().stderr.is_empty()
    );
}

#[test]
fn more_endpoints_than_zeromq_has_sockets_for_are_refused_before_the_start() {
    let connects = |count| (1..=count).map(|port| format!("--connect=tcp://127.0.0.1:{port}"));
    assert_valid(&command().arg("--check").args(connects(341)).output().unwrap());
    let output = command().arg("--check").args(connects(342)).output().unwrap();
    assert_refused(&output, "--connect: ", "tcp://127.0.0.1:342");
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected at most 341 endpoints"));
}

#[test]
fn sizes_in_errors_are_those_that_were_typed() {
    for (args, reason) in [
        (&["--max-lag=600MiB"][..], "expected at most 1/2 of --max-memory, which is 512MiB"),
        (
            &["--max-memory=600MiB", "--max-message=400MiB"],
            "expected at least 2 times --max-message, which is 400MiB",
        ),
        (
            &["--max-memory=600MiB", "--history-bytes=100MiB"],
            "expected at most an eighth of --max-memory, which is 600MiB",
        ),
    ] {
        let output = command().arg("--check").args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.trim_end().ends_with(reason), "{stderr}");
    }
}

#[test]
fn a_taken_port_for_metrics_names_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = command();
    command.args(["--bind=tcp://127.0.0.1:*", &format!("--metrics={address}")]);
    let output = command.arg("--listen=127.0.0.1:0").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = format!("zmq2ws: cannot listen on {address}: Address already in use");
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(stderr.contains("choose another address with --metrics"), "{stderr}");
    assert!(!stderr.contains("--listen"), "{stderr}");
}

#[test]
fn the_check_names_variables_that_are_nearly_ours() {
    for (name, meant) in [("ZMQ2WS_MAXLAG", "ZMQ2WS_MAX_LAG"), ("ZMQ2WS_LISTN", "ZMQ2WS_LISTEN")] {
        let output = command().arg("--check").env(name, "secret").output().unwrap();
        assert_valid(&output);
        let expected = format!("zmq2ws: {name}: unknown variable; did you mean {meant}?\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let file = TempFile::new("format = 'raw'\nmax-lag = = 5\n");
    let output = command().args(["--check", "--config", file.path()]).output().unwrap();
    assert_refused(&output, &format!("{}: line 2: ", file.path()), "max-lag = = 5");
}

#[test]
fn the_reference_lists_every_setting() {
    const FILE: &str = "docs/reference/settings.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = reference();
    if env::var_os("ZMQ2WS_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{FILE} is stale: ZMQ2WS_BLESS=1 cargo test --test command reference");
}

/// The reference of all settings, in Markdown.
fn reference() -> String {
    let mut text = "\
# Settings

Each setting is a flag of the command, an environment variable and a key in the TOML file of `--config`: `--max-lag 4MiB`,
`ZMQ2WS_MAX_LAG=4MiB`, `max-lag = \"4MiB\"`. A flag wins over a variable, and a variable over the file. Lists repeat the
flag, separate the variable's values by commas, and are arrays in the file. SIGHUP reads settings marked ↻ again.

A test generates this page from `src/config/settings.rs`: `ZMQ2WS_BLESS=1 cargo test --test command reference`.
"
    .to_owned();
    let mut group = "";
    for setting in Setting::all() {
        if setting.group != group {
            group = setting.group;
            text += &format!(
                "\n## {group}\n\n| flag | variable | default | what it does |\n|---|---|---|---|\n"
            );
        }
        let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*");
        let (key, value) = (setting.key(), setting.value.trim_end_matches('*').replace('|', "\\|"));
        let short = setting.short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let reload = if setting.is_reloaded { " ↻" } else { "" };
        let mut help = cell(setting.help);
        if setting.is_list() {
            help += " (list)";
        }
        let bounds = (setting.expected)();
        if !bounds.is_empty() {
            help += &format!("; {}", bounds.trim_start_matches("expected "));
        }
        text += &format!(
            "| {short}`--{key} {value}`{reload} | `{}` | {} | {help} |\n",
            variable(&key),
            cell(setting.default)
        );
    }
    text
}
