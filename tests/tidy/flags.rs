//! What the command line can say, a host program can say as well: each flag has a method of its name.

use std::collections::BTreeSet;

/// Flags that are the command's own: where it finds settings, what it logs, and what it does in place of a gateway.
const OF_THE_COMMAND: [&str; 5] = ["check", "config", "demo", "log", "log_format"];

/// What only a host program can say: where its part of the connections begins, what it publishes, the ZeroMQ context it shares,
/// and secrets in memory, which on a command line others would see.
const OF_THE_HOST: [&str; 6] = [
    "curve_secret_key",
    "inbox_bytes",
    "inbox_messages",
    "path_prefix",
    "plain_password",
    "zmq_context",
];

/// Methods that set no value.
const NO_SETTINGS: [&str; 8] =
    ["authorize", "build", "check", "from_settings", "from_toml", "map", "on_event", "spawn"];

#[test]
fn the_builder_can_say_everything_that_the_command_line_can() {
    let flags = flags(include_str!("../../src/config/settings.rs"));
    let methods = methods(include_str!("../public_api.txt"));
    assert!(flags.len() > 40, "only {} flags found", flags.len());
    let only = |these: &BTreeSet<&'static str>, others: &BTreeSet<&'static str>| {
        these.difference(others).copied().collect::<Vec<_>>()
    };
    assert_eq!(only(&flags, &methods), OF_THE_COMMAND, "flags without a method");
    assert_eq!(only(&methods, &flags), OF_THE_HOST, "methods without a flag");
}

#[test]
fn flags_and_methods_are_found() {
    let settings = "settings! {\n    /// Doc\n    #[arg(long)]\n    pub max_lag: Option<Text>,\n    pub bind: Option<Vec<Text>>,\n}\n";
    assert_eq!(flags(settings), BTreeSet::from(["bind", "max_lag"]));
    let list = "impl Builder: pub fn build(self) -> Gateway\nimpl Builder: pub fn max_lag(self, bytes: usize) -> Self\n\
        impl Gateway: pub fn run(self)\n";
    assert_eq!(methods(list), BTreeSet::from(["max_lag"]));
}

/// The fields of the settings.
fn flags(settings: &str) -> BTreeSet<&str> {
    let fields =
        settings.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": Option<"));
    fields.map(|(name, _)| name).collect()
}

/// The methods of the builder, out of the list of the public interface.
fn methods(list: &str) -> BTreeSet<&str> {
    let of_builder = list.lines().filter_map(|line| line.strip_prefix("impl Builder: pub fn "));
    let names = of_builder.filter_map(|line| Some(line.split_once('(')?.0));
    names.filter(|name| !NO_SETTINGS.contains(name)).collect()
}
