//! The real binary as a process of its own, and what the system says about it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::host::{HOST_ARGS, is_hosted};
use super::http::{self, Metrics};
use super::{PATIENCE, tls, wait_for, wait_until};

/// The command, or this program again as a host with the command's flags.
fn program() -> PathBuf {
    if is_hosted() { std::env::current_exe().unwrap() } else { env!("CARGO_BIN_EXE_zmq2ws").into() }
}

/// The binary in an environment without settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(program());
    remove_settings(&mut command);
    command
}

fn remove_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZMQ2WS_") {
            command.env_remove(name);
        }
    }
}

/// A gateway in a process of its own; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where `/metrics` is: that of the clients, unless `--metrics` says otherwise.
    metrics_address: Option<SocketAddr>,
    pub(crate) endpoints: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// Starts it; where the arguments name no place to listen or no endpoint, on free ports.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(Command::new(program()), args, tls::is_over_tls())
    }

    /// Starts it with TLS in any case.
    pub(crate) fn start_secure(args: &[&str]) -> Self {
        Self::start_as(Command::new(program()), args, true)
    }

    /// Starts it without TLS in any case.
    pub(crate) fn start_plain(args: &[&str]) -> Self {
        Self::start_as(Command::new(program()), args, false)
    }

    /// Starts it with at most so many descriptors.
    pub(crate) fn start_with_descriptors(limit: u32, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(program());
        Self::start_as(command, args, tls::is_over_tls())
    }

    fn start_as(mut command: Command, args: &[&str], speaks_tls: bool) -> Self {
        let has = |name: &str| args.iter().any(|arg| arg.starts_with(name));
        let mut words = args.to_vec();
        let has_files = has("--tls-cert");
        let files = (speaks_tls && !has_files).then(|| {
            let tls::Identity { cert_file, key_file, .. } = tls::identity();
            [
                format!("--tls-cert={}", cert_file.display()),
                format!("--tls-key={}", key_file.display()),
            ]
        });
        words.extend(files.iter().flatten().map(String::as_str));
        if !has("--listen") {
            words.push("--listen=127.0.0.1:0");
        }
        if !has("--bind") && !has("--connect") {
            words.push("--bind=tcp://127.0.0.1:*");
        }
        remove_settings(&mut command);
        if is_hosted() {
            // One test of that program is the host.
            command.args(["--exact", "host::host", "--nocapture"]).env(HOST_ARGS, words.join("\n"));
        } else {
            command.args(words);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::default();
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let stdout = child.stdout.take().unwrap();
        let is_endpoint = |arg: &&&str| arg.starts_with("--bind") || arg.starts_with("--connect");
        let endpoint_count = args.iter().filter(is_endpoint).count().max(1);
        // From here on it is killed when something fails.
        let mut gateway = Self {
            child,
            address: ([0, 0, 0, 0], 0).into(),
            metrics_address: None,
            endpoints: Vec::new(),
            log,
        };
        gateway.read_announcement(stdout, endpoint_count);
        gateway
    }

    fn read_announcement(&mut self, stdout: impl Read + Send + 'static, endpoint_count: usize) {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        while self.endpoints.len() < endpoint_count {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                panic!("the gateway did not start: {:?}", self.log());
            };
            let last = line.rsplit(' ').next().unwrap();
            if line.starts_with("zeromq ") {
                self.endpoints.push(last.to_owned());
            } else if line.starts_with("metrics ") {
                let address = last.strip_prefix("http://").unwrap();
                self.metrics_address = address.strip_suffix("/metrics").unwrap().parse().ok();
            } else if let Some((scheme, address)) = last.split_once("://")
                && let Some(address) = address.strip_suffix("/ws")
            {
                self.address = address.parse().unwrap();
                if scheme == "wss" {
                    tls::note_address(self.address);
                }
            }
        }
    }

    /// Where it is: `http` or `ws`, with TLS where it speaks that.
    pub(crate) fn url(&self, scheme: &str) -> String {
        let secure = if tls::speaks_tls(self.address) { "s" } else { "" };
        format!("{scheme}{secure}://{}", self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn metrics(&self) -> Metrics {
        http::metrics(self.metrics_address.unwrap_or(self.address))
    }

    /// Waits until a sample of `/metrics` fulfils a condition.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, sample: &str, is_so: impl Fn(f64) -> bool) {
        http::wait_for_metric(self.metrics_address.unwrap_or(self.address), sample, is_so);
    }

    /// Everything that it logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log holds `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        wait_for(text, || self.log().into_iter().find(|line| line.contains(text)))
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        wait_for("the gateway's end", || self.child.try_wait().unwrap())
    }

    /// Fails unless the process is still there.
    #[track_caller]
    pub(crate) fn assert_runs(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{:?}", self.log());
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Its proportional set size, bytes: private memory and its share of what others use too.
    pub(crate) fn pss_bytes(&self) -> usize {
        kilobytes(&self.proc("smaps_rollup"), "Pss:")
    }

    /// Its memory without files, bytes: heap, stacks, data that it changed.
    pub(crate) fn anonymous_bytes(&self) -> usize {
        kilobytes(&self.proc("status"), "RssAnon:")
    }

    /// The processor time that it has used, to the hundredth of a second.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        // Fields 14 and 15 in all; the second, in parentheses, may hold spaces.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// Whether it uses less than a tenth of a core for a second, within patience.
    #[track_caller]
    pub(crate) fn wait_until_calm(&self) {
        wait_until("a calm gateway", || {
            let (cpu, start) = (self.cpu_time(), Instant::now());
            super::pass(Duration::from_millis(500));
            (self.cpu_time() - cpu) * 10 < start.elapsed()
        });
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let first = log.len().saturating_sub(20);
            eprintln!("the gateway's last words: {:#?}", &log[first..]);
        }
    }
}

fn collect(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

fn kilobytes(path: &str, name: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
