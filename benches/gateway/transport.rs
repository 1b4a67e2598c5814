//! How clients connect: what each of them says first, and what follows a message's body.

use std::net::SocketAddr;

use serde::Serialize;

/// What clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    WebSocket,
    /// Server-Sent Events over HTTP/1.1.
    Events,
    /// Polls that wait for as long as they may: for loads in which nothing is published.
    Polls,
    /// Socket.IO by WebSocket, joined: for loads in which nothing is published.
    SocketIo,
}

impl Transport {
    /// What a client says first. Its answer shows that it is let in, and so one that waits for a message asks for something
    /// else before.
    pub(crate) fn request(self, server: SocketAddr, query: &str) -> Vec<u8> {
        let upgrade = |target: &str| {
            format!(
                "GET {target} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n\r\n"
            )
        };
        let request = match self {
            Self::WebSocket => upgrade(&format!("/ws{query}")),
            Self::SocketIo => {
                let request = upgrade("/socket.io/?EIO=4&transport=websocket");
                // A masked frame, with a mask that changes nothing.
                return [request.as_bytes(), b"\x81\x82\x00\x00\x00\x0040"].concat();
            }
            Self::Events => format!("GET /sse{query} HTTP/1.1\r\nHost: {server}\r\n\r\n"),
            Self::Polls => format!(
                "GET /healthz HTTP/1.1\r\nHost: {server}\r\n\r\n\
                 GET /poll?timeout=60 HTTP/1.1\r\nHost: {server}\r\n\r\n"
            ),
        };
        request.into_bytes()
    }

    /// Bytes behind a message's body and what its format puts there.
    pub(crate) fn suffix_bytes(self) -> usize {
        match self {
            Self::WebSocket | Self::Polls | Self::SocketIo => 0,
            Self::Events => "\n\n\r\n".len(),
        }
    }
}
