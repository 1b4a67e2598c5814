//! Every test of `tests/gateway` once more, over TLS: clients reach the gateway through tunnels that know no other way. And
//! what only TLS has: handshakes, goodbyes, certificates.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "in a test, a panic is the report")]

#[path = "../gateway/main.rs"]
mod gateway;

use gateway::support;

mod certificates;
mod costs;
mod goodbyes;
mod handshakes;
mod memory;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use support::websocket::upgrade_request;
use support::{PATIENCE, tls};

/// A client without a tunnel.
type Client = StreamOwned<ClientConnection, TcpStream>;

fn client(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    StreamOwned::new(tls::connection(config), socket(address))
}

/// A socket without TLS.
fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A WebSocket whose client has read the answer, and nothing behind it.
fn websocket(socket: TcpStream) -> Client {
    let connection = tls::connection(&tls::identity().authority.client());
    let mut client = StreamOwned::new(connection, socket);
    client.write_all(upgrade_request("/ws").as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    client
}
