//! The code that touches clients' sockets and the files of `--www`. Knows no protocol.

mod files;
mod inherited;
mod limits;
mod listener;
mod stream;
mod wrapped;

pub(crate) use files::{Directory, NoRoom};
pub(crate) use limits::{open_descriptors, probe_descriptors, raise_descriptor_limit};
pub use listener::ListenAddr;
pub(crate) use listener::{Accepted, Listener, TcpOptions};
pub(crate) use stream::{ByteStream, HostStream, Stream};
