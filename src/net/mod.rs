//! The code that touches clients' sockets and the files of `--www`. Knows no protocol.

mod files;
mod inherited;
mod limits;
mod listener;
mod stream;

pub(crate) use files::Directory;
pub(crate) use limits::{DescriptorLimit, raise_descriptor_limit};
pub use listener::ListenAddr;
pub(crate) use listener::{Accepted, Listener};
pub(crate) use stream::{ByteStream, Stream};
