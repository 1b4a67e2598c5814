//! What tests over real sockets share: a gateway to talk to, clients and publishers that wait for
//! conditions instead of times.
#![allow(dead_code, reason = "each test target uses a part of this")]

pub(crate) mod engine_io;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod http;
pub(crate) mod node;
#[cfg(feature = "cli")]
pub(crate) mod process;
pub(crate) mod publisher;
#[path = "../../src/test_events.rs"]
mod test_events;
#[path = "../../src/test_inflate.rs"]
pub(crate) mod test_inflate;
#[path = "../../src/test_radio.rs"]
pub(crate) mod test_radio;
pub(crate) mod through;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks every few milliseconds until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Lets real time pass: for tests of what happens, or must not, in a given time.
pub(crate) fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::sleep(left);
    }
}

/// Lets this process have `wanted` descriptors, or as many as it may, and says how many.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current =
        wanted.min(limit.maximum.unwrap_or(u64::MAX)).max(limit.current.unwrap_or(u64::MAX));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    current
}

/// Tests that need thousands of descriptors or a quiet machine run one after the other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads what there is, as it comes. A wait with a timeout ends early when its thread gets any signal.
pub(crate) fn read(stream: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// A folder of its own for each test, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("zmq2ws-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it, as text.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway on a thread of this process, stopped when dropped.
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: Option<SocketAddr>,
    pub(crate) endpoints: Vec<String>,
    /// Before the gateway, so that nobody is let in to one that has gone.
    doorman: Option<host::Doorman>,
    running: zmq2ws::Running,
}

impl Local {
    /// Starts it with these settings beside a free port, in a ZeroMQ context of the test's, and
    /// with what only a host program may set.
    pub(crate) fn start(
        context: &zmq::Context,
        toml: &str,
        configure: impl FnOnce(zmq2ws::Builder) -> zmq2ws::Builder,
    ) -> Self {
        let listen = if host::is_hosted() { "" } else { "'127.0.0.1:0'" };
        let toml = format!("listen = [{listen}]\ndrain = '2s'\n{toml}");
        let mut builder = zmq2ws::Builder::from_toml(&toml, "test").unwrap().zmq_context(context);
        if tls::is_over_tls() {
            let tls::Identity { cert_file, key_file, .. } = tls::identity();
            builder = builder.tls_cert(cert_file).tls_key(key_file);
        }
        let running = configure(builder).spawn().unwrap();
        let addresses = |urls: &[String]| -> Vec<SocketAddr> {
            let address = |url: &String| url.rsplit_once("://").unwrap().1.parse().unwrap();
            urls.iter().map(address).collect()
        };
        let doorman = host::is_hosted().then(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            host::Doorman::start(listener, running.handle())
        });
        let address = |it: &host::Doorman| it.address();
        if tls::is_over_tls() {
            addresses(running.listen_addresses()).into_iter().for_each(tls::note_address);
        }
        Self {
            address: doorman
                .as_ref()
                .map_or_else(|| addresses(running.listen_addresses())[0], address),
            metrics_address: addresses(running.metrics_addresses()).first().copied(),
            endpoints: running.endpoints().to_vec(),
            doorman,
            running,
        }
    }

    pub(crate) fn handle(&self) -> zmq2ws::Handle {
        self.running.handle()
    }

    /// Asks it to stop.
    pub(crate) fn shutdown(&self) {
        if let Some(doorman) = &self.doorman {
            doorman.close();
        }
        self.running.handle().shutdown();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.shutdown();
        self.running.join().unwrap();
    }
}
