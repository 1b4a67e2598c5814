//! A proxy in front of a gateway, as good or bad as those that real clients sit behind. Knows the head of a request, and
//! nothing of what follows.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// What becomes of a kind of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    Pass,
    /// Answered with an error of the proxy's own.
    Refuse,
    /// Taken, and never answered.
    Swallow,
    /// The answer's head passes; what follows is kept for ever.
    Buffer,
}

/// One proxy, on a port of its own until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    upstream: String,
    websocket: Treatment,
    events: Treatment,
    /// The first line of every request.
    requests: Vec<String>,
    /// Both ends of what is under way.
    open: Vec<Tunnel>,
    is_over: bool,
}

#[derive(Clone)]
struct Tunnel {
    client: Arc<TcpStream>,
    gateway: Arc<TcpStream>,
    is_dead: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of the gateway whose page is at `page`, `http://HOST:PORT`.
    pub(crate) fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            upstream: page.trim_start_matches("http://").to_owned(),
            websocket: Treatment::Pass,
            events: Treatment::Pass,
            requests: Vec::new(),
            open: Vec::new(),
            is_over: false,
        }));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if own.lock().unwrap().is_over {
                    return;
                }
                let shared = Arc::clone(&own);
                thread::spawn(move || serve(client, &shared));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn page(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn treat(&self, websocket: Treatment, events: Treatment) {
        let mut shared = self.shared();
        (shared.websocket, shared.events) = (websocket, events);
    }

    /// Closes every connection.
    pub(crate) fn cut(&self) {
        let open = std::mem::take(&mut self.shared().open);
        open.iter().for_each(Tunnel::close);
    }

    /// Leaves every connection as it is, but lets nothing through any more.
    pub(crate) fn deaden(&self) {
        for tunnel in &self.shared().open {
            tunnel.is_dead.store(true, Ordering::SeqCst);
        }
    }

    /// The first lines of all requests whose path begins so.
    pub(crate) fn requests(&self, path: &str) -> Vec<String> {
        let start = format!("GET {path}");
        let requests = self.shared().requests.clone();
        requests.into_iter().filter(|line| line.starts_with(&start)).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared().is_over = true;
        self.cut();
        // The listener looks up once more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Tunnel {
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.gateway.shutdown(Shutdown::Both);
    }
}

fn serve(mut client: TcpStream, shared: &Mutex<Shared>) {
    let Some(head) = read_head(&mut client) else { return };
    let first = head.lines().next().unwrap_or_default().to_owned();
    let is_upgrade = head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n");
    let (treatment, upstream) = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(first.clone());
        let treatment = match () {
            () if is_upgrade => shared.websocket,
            () if first.starts_with("GET /sse") => shared.events,
            () => Treatment::Pass,
        };
        (treatment, shared.upstream.clone())
    };
    if treatment == Treatment::Refuse {
        let _ = client.write_all(
            b"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\
              Connection: close\r\n\r\n<hr>",
        );
        return;
    }
    // Where the gateway is gone, so is the client's connection.
    let Ok(mut gateway) = TcpStream::connect(upstream) else { return };
    let tunnel = Tunnel {
        client: Arc::new(client.try_clone().unwrap()),
        gateway: Arc::new(gateway.try_clone().unwrap()),
        is_dead: Arc::new(AtomicBool::new(false)),
    };
    shared.lock().unwrap().open.push(tunnel.clone());
    // One request for each connection, so that each is seen here.
    let head = if is_upgrade { head } else { with_close(&head) };
    if treatment != Treatment::Swallow && gateway.write_all(head.as_bytes()).is_err() {
        return tunnel.close();
    }
    let back = tunnel.clone();
    let (mut from, mut to) = (gateway.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        if treatment == Treatment::Buffer
            && let Some(head) = read_head(&mut from)
        {
            let _ = to.write_all(head.as_bytes());
            back.is_dead.store(true, Ordering::SeqCst);
        }
        pump(from, to, &back);
    });
    pump(client, gateway, &tunnel);
}

fn pump(mut from: TcpStream, mut to: TcpStream, tunnel: &Tunnel) {
    let mut piece = [0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        let is_dead = tunnel.is_dead.load(Ordering::SeqCst);
        if !is_dead && to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    tunnel.close();
}

/// A head with its blank line.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn with_close(head: &str) -> String {
    let is_other = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let lines: Vec<_> = head.trim_end().split("\r\n").filter(is_other).collect();
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}
