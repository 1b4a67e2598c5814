//! Hosts on one network: network namespaces on a bridge where this process may make them, and otherwise addresses of the
//! loopback network. Knows nothing of what runs on them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A bridge in a namespace of its own, and hosts on it; all gone when dropped.
pub(crate) struct Network {
    /// `None` where everything is on the loopback network.
    bridge: Option<Namespace>,
    hosts: Vec<Namespace>,
    host_count: u8,
}

/// A host: an address, and what is started there sees nothing but this network.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    namespace: Option<String>,
    number: u8,
}

/// It has no name: a process holds it, which ends when its standard input does, so that nothing is left behind even by a
/// test that is killed.
struct Namespace {
    holder: Child,
}

impl Network {
    /// A network of its own, or the loopback network where there may be none, which it says on standard error.
    ///
    /// Where the kernel does not let this process make any, as in most containers, `ZMQ2WS_TEST_REQUIRE=all` cannot change
    /// that; where a program is missing, it fails.
    pub(crate) fn new() -> Self {
        let network = |bridge| Self { bridge, hosts: Vec::new(), host_count: 0 };
        match Namespace::new() {
            Ok(bridge) => {
                // Without snooping a group's datagrams go to everybody, and do not wait for who asks for them.
                bridge.ip("link add bridge type bridge mcast_snooping 0");
                bridge.ip("link set bridge up");
                network(Some(bridge))
            }
            Err(reason) => {
                // A container may not be allowed to make them; everything but the cut then happens all the same.
                say(&format!("hosts are loopback addresses, whose links cannot be cut: {reason}"));
                network(None)
            }
        }
    }

    /// Whether links can be cut, and groups are the hosts' own; if not, says that `test` is skipped.
    pub(crate) fn has_links_for(&self, test: &str) -> bool {
        if !self.has_links() {
            say(&format!("{test} skipped"));
        }
        self.has_links()
    }

    /// Whether links can be cut.
    pub(crate) fn has_links(&self) -> bool {
        self.bridge.is_some()
    }

    pub(crate) fn add_host(&mut self) -> Host {
        self.host_count += 1;
        let number = self.host_count;
        let Some(bridge) = &self.bridge else { return Host { namespace: None, number } };
        let host = Namespace::new().unwrap();
        bridge.link(&host, number);
        let namespace = Some(host.path());
        self.hosts.push(host);
        Host { namespace, number }
    }

    /// Pulls the host's plug, or puts it in again.
    pub(crate) fn set_link(&self, host: &Host, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        let bridge = self.bridge.as_ref().expect("there is a bridge where links are");
        bridge.ip(&format!("link set port{} {state}", host.number));
    }

    /// Takes the host's interface out, and puts in another one of the same name and address.
    pub(crate) fn replace_interface(&self, host: &Host) {
        let bridge = self.bridge.as_ref().expect("there is a bridge where links are");
        bridge.ip(&format!("link delete port{}", host.number));
        bridge.link(&self.hosts[usize::from(host.number) - 1], host.number);
    }
}

impl Host {
    pub(crate) fn ip(&self) -> IpAddr {
        match self.namespace {
            Some(_) => Ipv4Addr::new(10, 77, 0, self.number).into(),
            None => Ipv4Addr::new(127, 77, 0, self.number).into(),
        }
    }

    /// A TCP port of it that nobody uses.
    pub(crate) fn free_port(&self) -> u16 {
        self.run(|| TcpListener::bind((self.ip(), 0)).unwrap().local_addr().unwrap().port())
    }

    /// Does something there, on a thread of its own: sockets that it makes stay there, and so do processes and ZeroMQ
    /// contexts that it starts.
    pub(crate) fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        match &self.namespace {
            Some(path) => run_in(path, action),
            None => action(),
        }
    }
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| missing(&format!("unshare: {error}")))?;
        let mut line = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut namespace = Self { holder };
        if line == "ready\n" {
            return Ok(namespace);
        }
        let mut reason = String::new();
        namespace.holder.stderr.take().unwrap().read_to_string(&mut reason).unwrap();
        let reason = reason.trim();
        Err(if reason.contains("not found") { missing(reason) } else { reason.to_owned() })
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Gives a host an interface on this bridge, by which its multicast goes, too.
    fn link(&self, host: &Self, number: u8) {
        let pid = host.holder.id();
        self.ip(&format!("link add port{number} type veth peer name eth0 netns {pid}"));
        self.ip(&format!("link set port{number} master bridge up"));
        host.ip(&format!("address add 10.77.0.{number}/24 dev eth0"));
        host.ip("link set eth0 up");
        host.ip("route add 224.0.0.0/4 dev eth0");
    }

    /// Runs the command `ip` there.
    fn ip(&self, arguments: &str) {
        let run = || Command::new("ip").args(arguments.split(' ')).output().unwrap();
        let output = run_in(&self.path(), run);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {errors}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run_in<T: Send>(namespace: &str, action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let enter = || {
            let link = File::open(namespace).unwrap();
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            action()
        };
        scope.spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The reason not to go on without a program, where that is not forbidden.
fn missing(reason: &str) -> String {
    let is_required = std::env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
    assert!(!is_required, "{reason}, and ZMQ2WS_TEST_REQUIRE=all forbids skipping");
    reason.to_owned()
}

fn say(text: &str) {
    // Not `eprintln!`, which cargo shows for failed tests only.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
