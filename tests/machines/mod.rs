//! More than one gateway: processes that share a port, proxies and balancers in front, hosts with links that break.

mod balancers;
mod layout;
mod multicast;
mod shared_port;

