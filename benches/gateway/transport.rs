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
}

impl Transport {
    /// What a client says first. Its answer shows that it is let in, and so one that waits for a message asks for something
    /// else before.
    pub(crate) fn request(self, server: SocketAddr, query: &str) -> String {
        match self {
            Self::WebSocket => format!(
                "GET /ws{query} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n\r\n"
            ),
            Self::Events => format!("GET /sse{query} HTTP/1.1\r\nHost: {server}\r\n\r\n"),
            Self::Polls => format!(
                "GET /healthz HTTP/1.1\r\nHost: {server}\r\n\r\n\
                 GET /poll?timeout=60 HTTP/1.1\r\nHost: {server}\r\n\r\n"
            ),
        }
    }

    /// Bytes behind a message's body and what its format puts there.
    pub(crate) fn suffix_bytes(self) -> usize {
        match self {
            Self::WebSocket | Self::Polls => 0,
            Self::Events => "\n\n\r\n".len(),
        }
    }
}
