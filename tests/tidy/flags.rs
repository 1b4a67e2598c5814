//! What the command line can say, a host program can say as well: each flag has a method of its name.

use std::collections::BTreeSet;

use crate::public_api::builder_methods;

const SETTINGS: &str = include_str!("../../src/config/settings.rs");

/// Flags that are the command's own: where it finds settings, what it logs, and what it does in place of a gateway.
const OF_THE_COMMAND: [&str; 5] = ["check", "config", "demo", "log", "log_format"];

/// Methods without a flag: the host's part of the connections, the messages that it publishes, the ZeroMQ context that it
/// shares, and secrets in memory, which on a command line others would see.
const OF_THE_HOST: [&str; 6] = [
    "curve_secret_key",
    "inbox_bytes",
    "inbox_messages",
    "path_prefix",
    "plain_password",
    "zmq_context",
];

/// Methods that set no value.
const NO_SETTINGS: [&str; 9] = [
    "authorize",
    "build",
    "check",
    "from_settings",
    "from_toml",
    "hints",
    "map",
    "on_event",
    "spawn",
];

#[test]
fn the_builder_can_say_everything_that_the_command_line_can() {
    let flags = flags(SETTINGS);
    let methods = methods(include_str!("../public_api.txt"));
    assert!(flags.len() > 40, "only {} flags found", flags.len());
    let only = |these: &BTreeSet<&'static str>, others: &BTreeSet<&'static str>| {
        these.difference(others).copied().collect::<Vec<_>>()
    };
    assert_eq!(only(&flags, &methods), OF_THE_COMMAND, "flags without a method");
    assert_eq!(only(&methods, &flags), OF_THE_HOST, "methods without a flag");
}

#[test]
fn every_method_that_an_entry_declares_is_in_an_example() {
    let methods = builder_methods(SETTINGS);
    assert!(methods.len() > 40, "only {} methods found", methods.len());
    for (name, _) in methods {
        let call = format!(".{name}(");
        let is_called = |line: &str| line.trim_start().starts_with("///") && line.contains(&call);
        assert!(SETTINGS.lines().any(is_called), "{name} is in no example of the documentation");
    }
}

#[test]
fn flags_and_methods_are_found() {
    let settings = "        \"Limits\" {\n                max_lag: \"BYTES\" = \"1MiB\",\n                    \"Help\",\n\
        \x20               // Why.\n                bind ['b']: \"A*\" = \"\",\n            }\n\
        \x20           \"\" {\n                inbox: \"N\" = \"1\",\n            }\n";
    assert_eq!(flags(settings), BTreeSet::from(["bind", "max_lag"]));
    let list = "impl Builder: pub fn build(self) -> Gateway\nimpl Builder: pub fn max_lag(self, bytes: usize) -> Self\n\
        impl Gateway: pub fn run(self)\n";
    assert_eq!(methods(list), BTreeSet::from(["max_lag"]));
}

/// The names of the entries, up to those that only host programs have.
fn flags(settings: &str) -> BTreeSet<&str> {
    let typed = settings.split("\n            \"\" {").next().unwrap();
    typed.lines().filter_map(entry_name).collect()
}

/// The name of the entry that begins in `line`: `name: "VALUE" = "default",`.
pub(crate) fn entry_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("                ")?.split_once(": \"")?;
    let name = name.split(' ').next()?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// The methods of the builder, out of the list of the public interface.
fn methods(list: &str) -> BTreeSet<&str> {
    let of_builder = list.lines().filter_map(|line| line.strip_prefix("impl Builder: pub fn "));
    let names = of_builder.filter_map(|line| Some(line.split_once('(')?.0));
    names.filter(|name| !NO_SETTINGS.contains(name)).collect()
}
