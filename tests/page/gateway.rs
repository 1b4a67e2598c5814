//! The gateway as a process, with a publisher for it. Knows no browser.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use crate::page::PATIENCE;
use crate::page::browser::lines;

/// Killed with the value.
pub(crate) struct Gateway {
    child: Child,
    /// `http://HOST:PORT`
    pub(crate) page: String,
    /// `tcp://HOST:PORT`
    endpoint: String,
}

impl Gateway {
    /// On free ports.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// On free ports, with settings of its own.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        Self::try_start("127.0.0.1:0", args).unwrap_or_else(|stderr| panic!("{stderr}"))
    }

    /// Where another one was before.
    #[track_caller]
    pub(crate) fn start_at(page: &str) -> Self {
        Self::start_at_with(page, &[])
    }

    /// Where another one was before, with settings of its own.
    #[track_caller]
    pub(crate) fn start_at_with(page: &str, args: &[&str]) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::try_start(page.trim_start_matches("http://"), args) {
                Ok(gateway) => return gateway,
                // For a moment the port may be another test's.
                Err(stderr) => assert!(Instant::now() < deadline, "{page}: {stderr}"),
            }
        }
    }

    fn try_start(listen: &str, args: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zmq2ws"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZMQ2WS_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["--listen", listen, "--bind", "tcp://127.0.0.1:*", "--log", "off"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().map(lines).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut gateway = Self { child, page: String::new(), endpoint: String::new() };
        while gateway.endpoint.is_empty() {
            match stdout.recv_timeout(PATIENCE) {
                Ok(line) => match line.split_once(' ') {
                    // There may be no page.
                    Some(("websocket", url)) => {
                        let address = url.trim().trim_start_matches("ws").trim_end_matches("/ws");
                        gateway.page = format!("http{address}");
                    }
                    Some(("zeromq", text)) => {
                        gateway.endpoint = text.replace("SUB bound to", "").trim().to_owned();
                    }
                    _ => {}
                },
                Err(RecvTimeoutError::Disconnected) => {
                    let mut reason = String::new();
                    let _ = stderr.read_to_string(&mut reason);
                    return Err(reason);
                }
                Err(RecvTimeoutError::Timeout) => return Err("it announces nothing".into()),
            }
        }
        Ok(gateway)
    }

    /// Where publishers connect: `tcp://HOST:PORT`
    #[allow(dead_code, reason = "another test target uses it")]
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::connect(&self.endpoint)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A ZeroMQ publisher whose messages the gateway gets.
pub(crate) struct Publisher(zmq::Socket);

impl Publisher {
    #[track_caller]
    fn connect(endpoint: &str) -> Self {
        // A PUB socket that can also read who subscribes.
        let socket = zmq::Context::new().socket(zmq::XPUB).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_sndhwm(100_000).unwrap();
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
        socket.connect(endpoint).unwrap();
        // What is sent before the subscription arrives is lost.
        assert_eq!(socket.recv_bytes(0).unwrap(), b"\x01");
        Self(socket)
    }

    pub(crate) fn send(&self, topic: impl AsRef<[u8]>, body: impl AsRef<[u8]>) {
        self.send_parts(&[topic.as_ref(), body.as_ref()]);
    }

    pub(crate) fn send_parts(&self, parts: &[&[u8]]) {
        self.0.send_multipart(parts, 0).unwrap();
    }
}
