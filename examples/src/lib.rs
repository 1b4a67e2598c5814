//! What the programs of this package share: endpoints and how sockets are attached to them, datagrams,
//! signals, text for terminals. Knows none of the programs.

pub mod datagram;
pub mod endpoint;
pub mod ffi;
pub mod multicast;
pub mod process;
pub mod sockets;
pub mod text;
