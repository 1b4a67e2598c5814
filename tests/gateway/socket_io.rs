//! Socket.IO and Engine.IO 4, byte by byte and as its clients come from npm.

mod clients;
mod cors;
mod events;
mod heartbeat;
mod limits;
mod packets;
mod polling;
mod recovery;
mod refusals;
mod upgrade;
