//! Hosts of a test's own: Linux network namespaces that are gone with the test, however it ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the tests call; Debian's util-linux and iproute2.
const PROGRAMS: [&str; 4] = ["unshare", "nsenter", "ip", "tc"];

/// A network namespace with a loopback of its own. It has no name: a process holds it, which ends when its standard input
/// does, so nothing is left behind even by a test that is killed.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Makes so many, or says on standard error why not: then the test has nothing to do.
    ///
    /// Where the kernel does not let this process make any, as in most containers, `ZMQ2WS_TEST_REQUIRE=all` cannot change
    /// that; where only a program is missing, it fails.
    pub(crate) fn make<const N: usize>(test: &str) -> Option<[Self; N]> {
        let is_there = |name: &&str| Command::new(name).arg("-V").output().is_ok();
        if let Some(missing) = PROGRAMS.iter().find(|name| !is_there(name)) {
            let required = std::env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
            assert!(
                !required,
                "no {missing} in PATH, and ZMQ2WS_TEST_REQUIRE=all forbids skipping"
            );
            return skip(test, &format!("no {missing} in PATH"));
        }
        let mut namespaces = Vec::new();
        for _ in 0..N {
            match Self::start() {
                Ok(namespace) => namespaces.push(namespace),
                Err(reason) => return skip(test, &format!("no network namespaces here: {reason}")),
            }
        }
        namespaces.try_into().ok()
    }

    fn start() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let stdout = holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut namespace = Self { holder };
        if line != "ready\n" {
            let mut reason = String::new();
            namespace.holder.stderr.take().unwrap().read_to_string(&mut reason).unwrap();
            return Err(reason.trim().to_owned());
        }
        Ok(namespace)
    }

    /// Lays a cable between two hosts, with an address such as `10.77.0.1/24` at each end.
    pub(crate) fn connect(&self, address: &str, other: &Self, other_address: &str) {
        let other_pid = other.holder.id().to_string();
        self.ip(&["link", "add", "veth0", "type", "veth", "peer", "veth0", "netns", &other_pid]);
        for (host, address) in [(self, address), (other, other_address)] {
            host.ip(&["address", "add", address, "dev", "veth0"]);
            host.ip(&["link", "set", "veth0", "up"]);
        }
    }

    /// From now on all that this host sends is lost on its way, and the host does not notice.
    pub(crate) fn cut(&self) {
        // A queue of one byte, in which no packet has room.
        self.call("tc", &["qdisc", "replace", "dev", "veth0", "root", "bfifo", "limit", "1"]);
    }

    /// What this host sends arrives again.
    pub(crate) fn mend(&self) {
        self.call("tc", &["qdisc", "delete", "dev", "veth0", "root"]);
    }

    /// A command that starts `program` on this host; its process id is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net={}", self.path()), "--", program]);
        command
    }

    /// Runs `task` on a thread of this process that is on this host: sockets that it opens are there, and so are those of
    /// threads that it starts.
    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        std::thread::scope(|scope| {
            let moved = scope.spawn(move || {
                let namespace = File::open(path).unwrap();
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                task()
            });
            moved.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, args: &[&str]) {
        self.call("ip", args);
    }

    fn call(&self, program: &str, args: &[&str]) {
        let output = self.command(program).args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {errors}");
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn skip<T>(test: &str, reason: &str) -> Option<T> {
    // Not `eprintln!`, which cargo shows for failed tests only.
    let _ = io::stderr().write_all(format!("{test} skipped: {reason}\n").as_bytes());
    None
}
