//! What only TLS has: handshakes, goodbyes, certificates, and what they cost.

mod certificates;
mod costs;
mod goodbyes;
mod handshakes;
mod memory;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::support::websocket::upgrade_request;
use crate::support::{PATIENCE, tls};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

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
