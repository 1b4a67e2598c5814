//! Publishers with keys and passwords, those who judge these, and what shows that a gateway was let in or not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::support::http::{RECEIVED, metrics, wait_for_metric};
use crate::support::process::Gateway;
use crate::support::websocket::Raw;
use crate::support::{PATIENCE, wait_for};

pub(crate) const REFUSED: &str = "zmq2ws_upstream_refused_total";
pub(crate) const RECONNECTS: &str = "zmq2ws_upstream_reconnects_total";

/// An XPUB socket in a ZeroMQ context of its own.
pub(crate) struct Publisher {
    pub(crate) socket: zmq::Socket,
    /// Before the socket goes, its judge must.
    _judge: Option<Judge>,
}

impl Publisher {
    /// Sets the socket up with `configure`, which may ask for a judge.
    pub(crate) fn new(
        configure: impl FnOnce(&zmq::Context, &zmq::Socket) -> Option<Judge>,
    ) -> Self {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::XPUB).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_handshake_ivl(2000).unwrap();
        socket.set_reconnect_ivl(20).unwrap();
        let judge = configure(&context, &socket);
        Self { socket, _judge: judge }
    }

    /// Without any security.
    pub(crate) fn unsecured() -> Self {
        Self::new(|_, _| None)
    }

    /// Binds, also where another socket was bound a moment ago, and returns where that is.
    pub(crate) fn bind(&self, endpoint: &str) -> String {
        wait_for("the endpoint to be free", || self.socket.bind(endpoint).ok());
        self.socket.get_last_endpoint().unwrap().unwrap()
    }

    pub(crate) fn connect(&self, endpoint: &str) {
        self.socket.connect(endpoint).unwrap();
    }

    /// Waits until the gateway is let in and has subscribed, and sees that messages get through.
    #[track_caller]
    pub(crate) fn assert_heard_by(&self, gateway: &Gateway) {
        self.assert_heard_at(gateway.address);
    }

    /// The same for a gateway whose clients connect to `address`.
    #[track_caller]
    pub(crate) fn assert_heard_at(&self, address: SocketAddr) {
        let mut client = Raw::open(address, "/ws?format=json");
        let subscription = self.socket.recv_bytes(0).expect("a subscription");
        assert_eq!(subscription, b"\x01");
        self.socket.send_multipart(["t", "secret words"], 0).unwrap();
        let message = client.message();
        assert!(message.text().ends_with(r#""topic":"t","data":"secret words"}"#), "{message:?}");
    }

    /// Sees that the gateway was refused, logs `words`, and has got nothing. A subscription would have come before the
    /// message.
    #[track_caller]
    pub(crate) fn assert_refused(&self, gateway: &Gateway, words: &str) {
        self.assert_refused_at(gateway.address);
        gateway.wait_for_log(words);
        for secret in ["JTKVSB%%)wK0E", "hunter2"] {
            assert!(!gateway.log().iter().any(|line| line.contains(secret)), "{:?}", gateway.log());
        }
    }

    /// Sees that the gateway whose clients connect to `address` was refused, and has got nothing.
    #[track_caller]
    pub(crate) fn assert_refused_at(&self, address: SocketAddr) {
        // Twice: it is tried again.
        for _ in 0..2 {
            let before = metrics(address).get(REFUSED);
            wait_for_metric(address, REFUSED, |count| count > before);
            let _ = self.socket.send("not for you", zmq::DONTWAIT);
        }
        assert_eq!(metrics(address).get(RECEIVED), 0.0);
        assert_eq!(self.socket.recv_bytes(zmq::DONTWAIT), Err(zmq::Error::EAGAIN));
    }
}

/// Answers libzmq's questions who may come in (ZeroMQ RFC 27), for the sockets of one context.
pub(crate) struct Judge {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    /// Admits whose credentials, joined by a colon, are one of `admits`.
    pub(crate) fn start(context: &zmq::Context, admits: &Arc<Mutex<Vec<Vec<u8>>>>) -> Self {
        let socket = context.socket(zmq::REP).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(20).unwrap();
        socket.bind("inproc://zeromq.zap.01").unwrap();
        let (is_over, admits) = (Arc::new(AtomicBool::new(false)), Arc::clone(admits));
        let is_told = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !is_told.load(Ordering::Relaxed) {
                let Ok(question) = socket.recv_multipart(0) else { continue };
                // Version, request, domain, address, identity, mechanism, credentials.
                let credentials = question[6..].join(&b':');
                let is_admitted = admits.lock().unwrap().contains(&credentials);
                let status = if is_admitted { "200" } else { "400" };
                let request = question[1].as_slice();
                let answer: [&[u8]; 6] = [b"1.0", request, status.as_bytes(), b"", b"", b""];
                socket.send_multipart(answer, 0).unwrap();
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
