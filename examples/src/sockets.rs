//! Attaches ZeroMQ sockets to endpoints. Knows no messages.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::endpoint::ZmqEndpoint;
use crate::ffi;

/// A silent host is probed so often, in seconds, and lost after three probes without an answer. By the kernel, where libzmq
/// was built for it: ZMTP's own pings abort libzmq when a queue is full.
const KEEPALIVE_SECONDS: i32 = 5;

/// ZMQ_RATE of a socket that receives by `epgm://`: so fast it asks again for what was lost. With the default of 100, a
/// thousandth of it, a fast sender forgets most of that before it is asked.
const REPAIR_KBITS: i32 = 100_000;

/// What gives a build the capabilities that the bundled libzmq has not. `docs/publishers/system-libzmq.md` says the same.
const INSTALL_WITH_SYSTEM_LIBZMQ: &str =
    "cargo install --path examples --config .cargo/system-libzmq.toml";

/// libzmq says "Invalid argument" to everything that OpenPGM does not like.
const MULTICAST_ADVICE: &str = " (an interface is one of this machine's, by its name or IPv4 address, as `ip address` shows \
    them; a group is from 224.0.0.0 to 239.255.255.255)";

/// For a socket that receives, before it is attached.
///
/// # Errors
///
/// The context was terminated.
pub fn set_repair_rate(socket: &zmq::Socket) -> zmq::Result<()> {
    socket.set_rate(REPAIR_KBITS)
}

/// Binds and connects `socket`, and says for each endpoint where, or what is done about it.
///
/// # Errors
///
/// One line that names the endpoint and the reason.
pub fn attach(
    socket: &mut zmq::Socket,
    bind: &[&ZmqEndpoint],
    connect: &[&ZmqEndpoint],
) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    keep_alive(socket).map_err(|error| error.to_string())?;
    // Off, libzmq takes no IPv6 address; on, a name may resolve to one without a listener.
    let is_ipv6 = bind.iter().chain(connect).any(|endpoint| endpoint.is_ipv6());
    socket.set_ipv6(is_ipv6).map_err(|error| error.to_string())?;
    for endpoint in bind.iter().map(|endpoint| endpoint.as_str()) {
        check_ipc_path(endpoint)?;
        ffi::bind(socket, endpoint)
            .map_err(|reason| format!("cannot bind {endpoint}: {reason}"))?;
        // With port 0 or *, the system chose.
        let bound = socket.get_last_endpoint().ok().and_then(Result::ok);
        let bound = bound.unwrap_or_else(|| endpoint.to_owned());
        said.push(format!("bound to {}", bound.trim_end_matches('\0')));
    }
    for endpoint in connect {
        check_multicast(endpoint)?;
        let advice = if endpoint.is_multicast() { MULTICAST_ADVICE } else { "" };
        let endpoint = endpoint.as_str();
        ffi::connect(socket, endpoint)
            .map_err(|reason| format!("cannot connect to {endpoint}: {reason}{advice}"))?;
        said.push(format!("connecting to {endpoint}"));
    }
    Ok(said)
}

fn keep_alive(socket: &zmq::Socket) -> zmq::Result<()> {
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(KEEPALIVE_SECONDS)?;
    socket.set_tcp_keepalive_intvl(KEEPALIVE_SECONDS)?;
    socket.set_tcp_keepalive_cnt(3)
}

fn check_multicast(endpoint: &ZmqEndpoint) -> Result<(), String> {
    if !endpoint.is_multicast() || zmq::has("pgm") == Some(true) {
        return Ok(());
    }
    let endpoint = endpoint.as_str();
    Err(format!(
        "cannot connect to {endpoint}: epgm:// is not in this build's libzmq (udp:// is in every build); to build with the \
        system's: {INSTALL_WITH_SYSTEM_LIBZMQ}"
    ))
}

/// Binding deletes whatever is at an ipc path.
fn check_ipc_path(endpoint: &str) -> Result<(), String> {
    let path = endpoint.strip_prefix("ipc://").filter(|path| !path.starts_with('@'));
    match path.map(|path| Path::new(path).symlink_metadata()) {
        Some(Ok(found)) if !found.file_type().is_socket() => {
            Err(format!("cannot bind {endpoint}: something is there that is not a socket"))
        }
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot bind {endpoint}: {error}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handbook_has_the_command() {
        let page = include_str!("../../docs/publishers/system-libzmq.md");
        assert!(page.lines().any(|line| line == INSTALL_WITH_SYSTEM_LIBZMQ));
    }
}
