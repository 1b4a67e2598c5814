//! Settings from three layers: which one wins, and how a bad value is refused.

use std::collections::BTreeSet;
use std::process::Output;

use crate::cli::{TempFile, command};

/// Every setting with a value that is accepted and one that is not. Nothing that can be typed is a
/// bad prefix.
const SETTINGS: [(&str, &str, Option<&str>); 45] = [
    ("connect", "tcp://127.0.0.1:9", Some("nonsense")),
    ("bind", "tcp://127.0.0.1:*", Some("inproc://x")),
    ("socket", "pull", Some("push")),
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
    (
        "socket-io-recovery",
        if cfg!(feature = "socket-io") { "true" } else { "false" },
        Some("maybe"),
    ),
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
    ["connect", "bind", "subscribe", "listen", "origin"].contains(&name)
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

fn flags_of_the_library() -> BTreeSet<String> {
    let command =
        <zmq2ws::command::Settings as clap::Args>::augment_args(clap::Command::new("zmq2ws"));
    command.get_arguments().filter_map(|arg| arg.get_long().map(String::from)).collect()
}

#[test]
fn the_tables_here_and_the_help_know_every_setting() {
    let flags = flags_of_the_library();
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
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let file = TempFile::new("format = 'raw'\nmax-lag = = 5\n");
    let output = command().args(["--check", "--config", file.path()]).output().unwrap();
    assert_refused(&output, &format!("{}: line 2: ", file.path()), "max-lag = = 5");
}
