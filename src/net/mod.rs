//! The code that touches clients' sockets and the files of `--www`. Knows no protocol.

mod files;
mod inherited;
mod limits;
mod listener;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(test)]
mod tls_tests;
mod wrapped;

pub(crate) use files::{Directory, NoRoom};
pub(crate) use limits::{open_descriptors, probe_descriptors, raise_descriptor_limit};
pub use listener::ListenAddr;
pub(crate) use listener::{Accepted, ListenError, Listener, TcpOptions};
pub(crate) use stream::{ByteStream, HostStream, Stream};
pub(crate) use tls::{Acceptor, Identity};
pub(crate) use wrapped::Ending;

/// Which half of an [`Identity`] cannot be used, and why.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "no key is looked at"))]
pub(crate) enum Unusable {
    Certificate(String),
    Key(String),
    /// The key does not belong to the certificate.
    Pair,
}
