//! Servers that can be measured: how to start one, how it says that it listens, and what the system says that it uses.
//! Knows no clients.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::cores::Cores;
use crate::floor::Sends;
use crate::host;

const GATEWAY: &str = env!("CARGO_BIN_EXE_zmq2ws");

/// What the thread with the loop is called: in the command after the program, in a host by the library.
const LOOP_THREAD: &str = "zmq2ws";

/// How long a server may take until it listens. Interpreters on a busy machine take some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What is measured. Closed: whatever else there is to compare speaks [`Server::Peer`]'s command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Server {
    /// The real binary with its defaults and these flags.
    Gateway { flags: Vec<String> },
    /// A host with the gateway inside, with its defaults: see [`host`].
    Embedded,
    /// So many gateways on one port, which a proxy feeds: ZeroMQ's own, on the bench's core.
    BehindProxy { gateways: usize },
    /// `envelope` is how many bytes stand before each body; `None` is as many as the gateway needed before it.
    Floor { sends: Sends, envelope: Option<usize> },
    /// A program that takes `--zmq ENDPOINT --listen HOST:PORT` and prints `listening on HOST:PORT`.
    Peer { name: String, command: Vec<String>, folder: PathBuf },
}

impl Server {
    pub(crate) fn gateway(flags: &[&str]) -> Self {
        Self::Gateway { flags: flags.iter().map(ToString::to_string).collect() }
    }

    pub(crate) fn floor(sends: Sends) -> Self {
        Self::Floor { sends, envelope: None }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Gateway { .. } => "gateway",
            Self::Embedded => "gateway in a host",
            Self::BehindProxy { .. } => "gateways behind a proxy",
            Self::Floor { sends: Sends::Batch, .. } => "floor, send per batch",
            Self::Floor { sends: Sends::Message, .. } => "floor, send per message",
            Self::Peer { name, .. } => name,
        }
    }

    /// The gateway connected to another publisher too; other servers as they are.
    pub(crate) fn and_connect(mut self, endpoint: &str) -> Self {
        if let Self::Gateway { flags } = &mut self {
            flags.extend(["--connect".to_owned(), endpoint.to_owned()]);
        }
        self
    }

    fn command(&self, endpoint: &str, clients: usize) -> Result<Vec<String>> {
        let own = |text: &str| text.to_owned();
        let common =
            |zmq: &str| [own(zmq), own(endpoint), own("--listen"), own("127.0.0.1:0")].into_iter();
        Ok(match self {
            Self::Gateway { flags } => {
                let log = [own("--log"), own("error")];
                [own(GATEWAY)]
                    .into_iter()
                    .chain(common("--connect"))
                    .chain(log)
                    .chain(flags.clone())
                    .collect()
            }
            Self::Embedded => {
                let program = std::env::current_exe()?.to_string_lossy().into_owned();
                [program, own("host")].into_iter().chain(common("--zmq")).collect()
            }
            Self::BehindProxy { .. } => {
                let sharing = Self::gateway(&["--reuse-port"]);
                sharing.command(endpoint, clients)?
            }
            Self::Floor { sends, envelope } => {
                let sends = if *sends == Sends::Batch { "batch" } else { "message" };
                let program = std::env::current_exe()?.to_string_lossy().into_owned();
                [program, own("floor")]
                    .into_iter()
                    .chain(common("--zmq"))
                    .chain([own("--clients"), clients.to_string(), own("--sends"), own(sends)])
                    .chain([own("--envelope"), envelope.unwrap_or(0).to_string()])
                    .collect()
            }
            Self::Peer { command, .. } => command.iter().cloned().chain(common("--zmq")).collect(),
        })
    }

    /// Starts it on its core, and waits until it listens.
    pub(crate) fn start(&self, cores: Cores, endpoint: &str, clients: usize) -> Result<Running> {
        let Self::BehindProxy { gateways } = *self else {
            let (process, address) =
                self.launch(cores.servers, self.command(endpoint, clients)?)?;
            return Ok(Running { processes: vec![process], _proxy: None, address });
        };
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        let proxy = [program, "proxy".into(), "--zmq".into(), endpoint.into()].into();
        let (proxy, endpoint) = self.launch(cores.bench, proxy)?;
        let mut command = self.command(&format!("tcp://{endpoint}"), clients)?;
        let (first, address) = self.launch(cores.servers, command.clone())?;
        let mut processes = vec![first];
        command
            .iter_mut()
            .filter(|it| *it == "127.0.0.1:0")
            .for_each(|it| *it = address.to_string());
        for _ in 1..gateways {
            processes.push(self.launch(cores.servers, command.clone())?.0);
        }
        Ok(Running { processes, _proxy: Some(proxy), address })
    }

    /// Starts a program on a core, and waits until it says where it listens.
    fn launch(&self, core: usize, words: Vec<String>) -> Result<(Process, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["launch", &core.to_string(), "--"]).args(words);
        if let Self::Peer { folder, .. } = self {
            command.current_dir(folder);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZMQ2WS_") {
                command.env_remove(name);
            }
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("a child without standard output")?;
        let process = Process(child);
        let (sender, addresses) = mpsc::channel();
        // It reads to the end, so that no server ever waits to be read.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if let Some(address) = listening_address(&line) {
                    let _ = sender.send(address);
                }
            }
        });
        let address = addresses.recv_timeout(START_TIMEOUT);
        Ok((process, address.map_err(|_| format!("{} does not listen", self.name()))?))
    }
}

/// The address in `websocket  ws://127.0.0.1:8080/ws` and in `listening on 127.0.0.1:8080`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let address = line.split_once("ws://").or_else(|| line.split_once("listening on "))?.1;
    address.split('/').next()?.trim().parse().ok()
}

/// A server that runs: its processes, of which most have one.
pub(crate) struct Running {
    processes: Vec<Process>,
    _proxy: Option<Process>,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// The processor time so far of all its threads, but for those of a host.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let is_counted = |thread: &&Thread| thread.name != host::THREAD;
        let of = |it: &Process| -> Result<Duration> {
            it.threads()?.iter().filter(is_counted).map(Thread::cpu).sum()
        };
        self.processes.iter().map(of).sum()
    }

    /// The processor time so far of the threads with the gateway's loop; zero where none has one.
    pub(crate) fn loop_cpu(&self) -> Result<Duration> {
        // Those of ZeroMQ that it started have its name, and higher numbers.
        let of = |it: &Process| {
            let threads = it.threads()?;
            let named = threads.iter().filter(|thread| thread.name == LOOP_THREAD);
            named.min_by_key(|thread| thread.id).map_or(Ok(Duration::ZERO), Thread::cpu)
        };
        self.processes.iter().map(of).sum()
    }

    /// Its proportional set size, bytes: its own memory, and its share of what others use too.
    pub(crate) fn pss_bytes(&self) -> Result<u64> {
        self.processes.iter().map(|it| kilobytes(&it.proc("smaps_rollup"), "Pss:")).sum()
    }

    /// Its largest resident set from now on is what [`Self::peak_bytes`] tells.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        self.processes.iter().try_for_each(|it| Ok(fs::write(it.proc("clear_refs"), "5")?))
    }

    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.processes.iter().map(|it| kilobytes(&it.proc("status"), "VmHWM:")).sum()
    }
}

/// Killed when dropped.
struct Process(Child);

impl Process {
    /// Those that there are now; a host's may end at any time.
    fn threads(&self) -> Result<Vec<Thread>> {
        let tasks = fs::read_dir(self.proc("task"))?;
        let thread = |task: fs::DirEntry| {
            let (id, path) = (task.file_name().to_str()?.parse().ok()?, task.path());
            let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
            Some(Thread { id, name, path })
        };
        Ok(tasks.filter_map(|task| thread(task.ok()?)).collect())
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.id())
    }
}

/// A thread of a server.
struct Thread {
    id: u32,
    name: String,
    /// Its folder in `/proc`.
    path: PathBuf,
}

impl Thread {
    fn cpu(&self) -> Result<Duration> {
        let text = fs::read_to_string(self.path.join("schedstat"))?;
        let on_cpu = text.split(' ').next().ok_or("an empty schedstat")?;
        Ok(Duration::from_nanos(on_cpu.parse()?))
    }
}

/// A line of kilobytes in a file of the system, as bytes.
fn kilobytes(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kilobytes.ok_or_else(|| format!("{path} without {name}"))?.parse::<u64>()? * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
