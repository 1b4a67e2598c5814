//! Hosts on one network: network namespaces on a bridge where this process may make them, and otherwise addresses of the
//! loopback network. Knows nothing of what runs on them.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A bridge in a namespace of its own, and hosts on it; all gone when dropped.
pub(crate) struct Network {
    /// What the names of all namespaces begin with; `None` where everything is on the loopback network.
    prefix: Option<String>,
    hosts: u8,
}

/// A host: an address, and what is started there sees nothing but this network.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    namespace: Option<String>,
    number: u8,
}

impl Network {
    /// A network of its own, or the loopback network where there may be none, which it says on standard error.
    pub(crate) fn new() -> Self {
        let prefix = format!("zmq2ws-{}", std::process::id());
        match ip(&format!("netns add {prefix}-bridge")) {
            Ok(()) => {
                let network = Self { prefix: Some(prefix), hosts: 0 };
                network.on_bridge("link add bridge type bridge");
                network.on_bridge("link set bridge up");
                network
            }
            Err(reason) => {
                // A container may not be allowed to make them; everything but the cut then happens all the same.
                // Not `eprintln!`, which cargo shows for failed tests only.
                let reason =
                    format!("hosts are loopback addresses, whose links cannot be cut: {reason}");
                let _ = writeln!(io::stderr(), "{reason}");
                Self { prefix: None, hosts: 0 }
            }
        }
    }

    /// Whether links can be cut.
    pub(crate) fn has_links(&self) -> bool {
        self.prefix.is_some()
    }

    pub(crate) fn add_host(&mut self) -> Host {
        self.hosts += 1;
        let number = self.hosts;
        let Some(prefix) = &self.prefix else { return Host { namespace: None, number } };
        let name = format!("{prefix}-{number}");
        let bridge = format!("{prefix}-bridge");
        for command in [
            format!("netns add {name}"),
            format!("-n {bridge} link add port{number} type veth peer name eth0 netns {name}"),
            format!("-n {bridge} link set port{number} master bridge up"),
            format!("-n {name} addr add 10.77.0.{number}/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
        ] {
            ip(&command).unwrap();
        }
        Host { namespace: Some(name), number }
    }

    /// Pulls the host's plug, or puts it in again.
    pub(crate) fn set_link(&self, host: &Host, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        self.on_bridge(&format!("link set port{} {state}", host.number));
    }

    fn on_bridge(&self, command: &str) {
        let prefix = self.prefix.as_ref().expect("there is a bridge where links are");
        ip(&format!("-n {prefix}-bridge {command}")).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Some(prefix) = &self.prefix else { return };
        let hosts = (1..=self.hosts).map(|number| format!("{prefix}-{number}"));
        for name in hosts.chain([format!("{prefix}-bridge")]) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

impl Host {
    pub(crate) fn ip(&self) -> IpAddr {
        match self.namespace {
            Some(_) => Ipv4Addr::new(10, 77, 0, self.number).into(),
            None => Ipv4Addr::new(127, 77, 0, self.number).into(),
        }
    }

    /// Does something there, on a thread of its own: sockets that it makes stay there, and so do processes and ZeroMQ
    /// contexts that it starts.
    pub(crate) fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let enter = || {
                if let Some(name) = &self.namespace {
                    let link = File::open(format!("/run/netns/{name}")).unwrap();
                    move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                        .unwrap();
                }
                action()
            };
            scope.spawn(enter).join().unwrap()
        })
    }
}

/// Runs the command `ip`, and says why it failed.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("no ip in PATH: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
