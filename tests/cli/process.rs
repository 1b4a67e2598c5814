//! A running gateway: addresses, signals, the demo, and standard streams that nobody reads.

use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{TempFile, command};

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn where_no_datagrams_can_come_is_named() {
    for (endpoint, part_of_reason) in [
        ("udp://no-such-if0;239.192.1.1:5556", "there is no such interface"),
        ("udp://192.0.2.77;239.192.1.1:5556", "no interface of this machine has the address"),
        ("udp://192.0.2.77:5556", "neither a multicast group nor an address of this machine"),
    ] {
        for flag in ["--connect", "--bind"] {
            let args = [flag, endpoint, "--listen", "127.0.0.1:0"];
            assert!(command().args(args).arg("--check").output().unwrap().status.success());
            let output = command().args(args).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            let start = format!("zmq2ws: cannot use ZeroMQ endpoint '{endpoint}': ");
            let lines = stderr.lines().filter(|line| line.starts_with(&start)).count();
            assert!(lines == 1 && stderr.contains(part_of_reason), "{stderr}");
        }
    }
}

#[test]
fn addresses_that_are_taken_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bind = format!("tcp://{address}");
    for args in [
        ["--listen", &address, "--bind", "tcp://127.0.0.1:*"],
        ["--bind", &bind, "--listen", "127.0.0.1:0"],
    ] {
        let output = command().args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("zmq2ws: cannot ") && stderr.contains(&address), "{stderr}");
        assert_eq!(stderr.matches('\n').count(), 1, "{stderr:?}");
    }
}

/// A gateway in a process of its own; killed when a test fails.
struct Gateway {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Gateway {
    /// Starts it on free ports.
    fn start(args: &[&str]) -> Self {
        let mut child = Self::command(args).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = lines(child.stderr.take().unwrap());
        Self::started(child, stderr)
    }

    /// Starts it with this standard error.
    fn start_with_stderr(args: &[&str], stderr: impl Into<Stdio>) -> Self {
        let child = Self::command(args).stderr(stderr).spawn().unwrap();
        Self::started(child, mpsc::channel().1)
    }

    fn command(args: &[&str]) -> Command {
        let mut command = command();
        command.args(["--listen=127.0.0.1:0", "--bind=tcp://127.0.0.1:*"]).args(args);
        command.stdout(Stdio::piped());
        command
    }

    fn started(mut child: Child, stderr: Receiver<String>) -> Self {
        let stdout = lines(child.stdout.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// What follows `label` in a line of the announcement.
    #[track_caller]
    fn announced(&self, label: &str) -> String {
        let line = wait_for(&self.stdout, label);
        line.strip_prefix(label).unwrap().trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of its output, and then of itself.
    #[track_caller]
    fn exit_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        for lines in [&self.stdout, &self.stderr] {
            let left = || deadline.saturating_duration_since(Instant::now());
            while lines.recv_timeout(left()).is_ok() {}
        }
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway does not end");
            thread::yield_now();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line that holds `text`.
#[track_caller]
fn wait_for(lines: &Receiver<String>, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no line with {text:?} ({error}); seen: {seen:#?}"),
        }
    }
}

/// A metric's value, from the gateway's page address.
fn metric(page: &str, name: &str) -> f64 {
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} in {answer}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[track_caller]
fn wait_for_metric(page: &str, name: &str, at_least: f64) {
    let deadline = Instant::now() + PATIENCE;
    while metric(page, name) < at_least {
        assert!(Instant::now() < deadline, "{name} stays below {at_least}");
        thread::yield_now();
    }
}

#[test]
fn sigterm_and_sigint_end_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Gateway::start(&[]);
        assert!(gateway.announced("page ").starts_with("http://127.0.0.1:"));
        assert!(gateway.announced("websocket ").ends_with("/ws"));
        assert!(gateway.announced("zeromq ").starts_with("SUB bound to tcp://127.0.0.1:"));
        gateway.signal(signal);
        assert_eq!(gateway.exit_status().code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_a_long_drain_at_once() {
    const MESSAGES: usize = 40;
    let args = ["--socket=pull", "--drain=10m", "--write-timeout=10m", "--max-lag=128MiB"];
    let mut gateway = Gateway::start(&args);
    let page = gateway.announced("page ");
    let endpoint = gateway.announced("zeromq ").replace("PULL bound to ", "");
    // A client that is owed more than all socket buffers hold, and reads nothing of it.
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(upgrade.as_bytes()).unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    let context = zmq::Context::new();
    let producer = context.socket(zmq::PUSH).unwrap();
    producer.connect(&endpoint).unwrap();
    for _ in 0..MESSAGES {
        producer.send(vec![b'x'; 1 << 20], 0).unwrap();
    }
    wait_for_metric(&page, "zmq2ws_messages_received_total", MESSAGES as f64);
    gateway.signal(Signal::TERM);
    wait_for(&gateway.stderr, "SIGTERM: stopping");
    gateway.signal(Signal::TERM);
    wait_for(&gateway.stderr, "second signal");
    assert_eq!(gateway.exit_status().code(), Some(1));
}

#[test]
fn sighup_reads_the_log_filter_again_and_a_bad_file_keeps_it() {
    let file = TempFile::new("log = 'warn'");
    let mut gateway = Gateway::start(&["--config", file.path()]);
    gateway.announced("zeromq ");
    let bad = [
        ("log = = 'info'", "line 1: "),
        ("log = 'inof'", ".toml: log: 'inof': expected"),
        ("logg = 'info'", "did you mean log?"),
        ("log = 5", ".toml: log: '5': expected"),
    ];
    for (toml, reason) in bad {
        file.write(toml);
        gateway.signal(Signal::HUP);
        let line = wait_for(&gateway.stderr, "SIGHUP: log filter kept: ");
        assert!(line.contains(reason), "{line}");
    }
    // Only with the new filter does the line about it appear.
    file.write("log = 'info'");
    gateway.signal(Signal::HUP);
    wait_for(&gateway.stderr, "SIGHUP: log filter read again");
    fs::remove_file(file.path()).unwrap();
    gateway.signal(Signal::HUP);
    let line = wait_for(&gateway.stderr, "SIGHUP: log filter kept: ");
    assert!(line.contains("--config: "), "{line}");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
}

#[test]
fn the_environment_is_read_and_what_it_misspells_is_told() {
    let mut command = Gateway::command(&[]);
    command.env("ZMQ2WS_LOG_FORMAT", "json").env("ZMQ2WS_MAX_LAGG", "secret");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let gateway = Gateway::started(child, stderr);
    let line = wait_for(&gateway.stderr, "ZMQ2WS_MAX_LAGG");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "warn");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("did you mean ZMQ2WS_MAX_LAG?") && !message.contains("secret"));
}

#[test]
fn with_json_logs_every_line_of_output_is_json() {
    let child = Gateway::command(&["--log-format=json"]).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    let mut gateway = Gateway::started(child, stderr);
    let line = wait_for(&gateway.stderr, "zeromq");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["message"].as_str().unwrap().starts_with("zeromq SUB bound to tcp://127.0.0.1:"));
    gateway.signal(Signal::TERM);
    assert!(gateway.stdout.recv_timeout(PATIENCE).is_err(), "nothing is on standard output");
    assert!(gateway.exit_status().success());
}

#[test]
fn the_demo_publishes_to_its_own_gateway() {
    for socket in ["--socket=sub", "--socket=pull"] {
        let mut gateway = Gateway::start(&["--demo", socket]);
        let page = gateway.announced("page ");
        gateway.announced("demo ");
        wait_for_metric(&page, "zmq2ws_messages_received_total", 5.0);
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.exit_status().code(), Some(0));
    }
}

/// A pipe without room, and the end that must stay open lest it become a closed one.
fn full_pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    let (wrote, written) = mpsc::channel();
    // A pipe has 64 KiB, or less where a user has many; the thread stays at the end of whatever it
    // has.
    thread::spawn(move || while filler.write(&[b'x'; 4096]).is_ok() && wrote.send(()).is_ok() {});
    let room = 1 << 16;
    for _ in 0..room / 4096 {
        if written.recv_timeout(Duration::from_secs(2)).is_err() {
            break;
        }
    }
    (reader, writer)
}

#[test]
fn a_full_standard_error_holds_up_nothing() {
    let (reader, writer) = full_pipe();
    let args = ["--demo", "--log=trace"];
    let mut gateway = Gateway::start_with_stderr(&args, writer.try_clone().unwrap());
    let page = gateway.announced("page ");
    wait_for_metric(&page, "zmq2ws_messages_received_total", 20.0);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let refused = command().arg("--max-lag=x").stderr(writer).status().unwrap();
    assert_eq!(refused.code(), Some(2));
    drop(reader);
}

#[test]
fn a_closed_standard_error_kills_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut gateway =
        Gateway::start_with_stderr(&["--demo", "--log=trace"], writer.try_clone().unwrap());
    let page = gateway.announced("page ");
    wait_for_metric(&page, "zmq2ws_messages_received_total", 20.0);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_status().code(), Some(0));
    let refused = command().arg("--max-lag=x").stderr(writer).status().unwrap();
    assert_eq!(refused.code(), Some(2));
}

#[test]
fn a_closed_or_full_standard_output_kills_nothing() {
    let (reader, closed) = io::pipe().unwrap();
    drop(reader);
    let (_reader, full) = full_pipe();
    for stdout in [closed, full] {
        let mut command = Gateway::command(&["--log=info"]);
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = lines(child.stderr.take().unwrap());
        let mut gateway = Gateway { child, stdout: mpsc::channel().1, stderr };
        wait_for(&gateway.stderr, "started");
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.exit_status().code(), Some(0));
    }
}
