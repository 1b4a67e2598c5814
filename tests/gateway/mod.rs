//! The gateway over real sockets: what its users and its enemies meet.

mod browser_client;
mod clients;
mod coalesce;
#[cfg(feature = "compress")]
mod compress;
mod demand;
mod events;
mod feeds;
mod figures;
mod history;
mod http;
mod messages;
mod operation;
mod origins;
mod overload;
mod polls;
mod radio;
#[cfg_attr(not(feature = "socket-io"), path = "no_socket_io.rs")]
mod socket_io;
mod timeouts;
mod websocket;
mod zws;

