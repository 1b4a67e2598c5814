//! Requests and answers on plain sockets, and `/metrics` as numbers.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{PATIENCE, tls, wait_for};

/// An answer to a request.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// A connection that speaks HTTP.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::on(connect(address))
    }

    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request and reads its answer.
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &str) -> Response {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        self.response(method == "HEAD").unwrap()
    }

    /// Reads the next answer.
    pub(crate) fn response(&mut self, is_head: bool) -> io::Result<Response> {
        let mut line = String::new();
        let mut read_line = |reader: &mut BufReader<TcpStream>| {
            line.clear();
            match reader.read_line(&mut line)? {
                0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                _ => Ok(line.trim_end().to_owned()),
            }
        };
        let status = read_line(&mut self.reader)?;
        assert!(status.starts_with("HTTP/1.1 "), "{status:?}");
        let status = status[9..12].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut self.reader)?;
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        let has_body = !is_head && !matches!(status, 101 | 204 | 304);
        if has_body {
            let len = response.header("content-length").unwrap().parse().unwrap();
            response.body = vec![0; len];
            self.reader.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// Everything until the gateway's FIN; a reset is an error.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// What was read from the socket and not taken yet.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        let buffered = self.reader.buffer().to_vec();
        (self.reader.into_inner(), buffered)
    }
}

/// A connection on which no read waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap()
}

/// As [`connect`], where nobody may listen.
pub(crate) fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    Ok(with_timeouts(tls::through_tunnel(TcpStream::connect(address)?, None)))
}

/// A connection from this address of the loopback network.
pub(crate) fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = socket();
    rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    with_timeouts(tls::through_tunnel(socket.into(), None))
}

/// A connection of a client whose system takes a few KiB only until the client reads.
pub(crate) fn connect_narrow(address: SocketAddr) -> TcpStream {
    const BYTES: usize = 4096;
    let socket = socket();
    sockopt::set_socket_recv_buffer_size(&socket, BYTES).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    with_timeouts(tls::through_tunnel(socket.into(), Some(BYTES)))
}

/// Ends a connection by RST.
pub(crate) fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A socket that no gateway inherits, which might have room for few.
pub(crate) fn socket() -> OwnedFd {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap()
}

fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).request("GET", path, "Connection: close\r\n")
}

/// The status of the answer to a GET. Who has not asked yet may get none, while a gateway begins to
/// stop or is short of descriptors.
pub(crate) fn try_get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut connection = Connection::open(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let sent = connection.stream().write_all(request.as_bytes());
    sent.ok()?;
    connection.response(false).ok().map(|response| response.status)
}

/// One request as it stands, and everything that comes back until FIN.
pub(crate) fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut connection = Connection::open(address);
    connection.send(request);
    String::from_utf8(connection.rest().unwrap()).unwrap()
}

/// The samples of `/metrics`.
#[derive(Debug)]
pub(crate) struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// A sample by name and labels.
    #[track_caller]
    pub(crate) fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no sample {sample}"))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Clients closed for a reason.
    #[track_caller]
    pub(crate) fn closed(&self, transport: &str, reason: &str) -> f64 {
        self.get(&closed(transport, reason))
    }
}

/// The sample that counts clients closed for a reason.
pub(crate) fn closed(transport: &str, reason: &str) -> String {
    format!("zmq2ws_clients_closed_total{{transport=\"{transport}\",reason=\"{reason}\"}}")
}

/// The sample that tells how many WebSocket clients there are.
pub(crate) const CLIENTS: &str = "zmq2ws_clients{transport=\"websocket\"}";

/// The sample that tells how many messages were taken in.
pub(crate) const RECEIVED: &str = "zmq2ws_messages_received_total";

pub(crate) fn metrics(address: SocketAddr) -> Metrics {
    let response = get(address, "/metrics");
    assert_eq!(response.status, 200, "{}", response.text());
    parse_metrics(&response.text())
}

pub(crate) fn parse_metrics(text: &str) -> Metrics {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    Metrics(text.lines().filter(|line| !line.starts_with('#')).map(sample).collect())
}

#[track_caller]
pub(crate) fn wait_for_metric(address: SocketAddr, sample: &str, is_so: impl Fn(f64) -> bool) {
    let mut last = f64::NAN;
    wait_for(sample, || {
        let value = metrics(address).get(sample);
        if value != last {
            last = value;
            eprintln!("{sample} {value}");
        }
        is_so(value).then_some(())
    });
}
