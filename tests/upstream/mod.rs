//! What only some builds of libzmq have, CURVE and epgm, and what all have, PLAIN: over real sockets, with right keys and
//! with wrong ones.
//!
//! With the bundled libzmq the tests of CURVE and epgm say that they have nothing to do. With
//! `ZMQ2WS_TEST_LIBZMQ=system` they fail where it has neither.

mod builder;
mod curve;
mod multicast;
mod plain;
mod publishers;

use std::io::{self, Write};


/// Whether libzmq has a capability; if not, says on standard error that `test` is skipped.
fn has(capability: &str, test: &str) -> bool {
    let has = zmq::has(capability) == Some(true);
    let required = std::env::var("ZMQ2WS_TEST_LIBZMQ").is_ok_and(|which| which == "system");
    assert!(has || !required, "the system's libzmq has no {capability}");
    if !has {
        // Not `eprintln!`, which cargo shows for failed tests only.
        let line = format!("{test} skipped: this build's libzmq has no {capability}\n");
        let _ = io::stderr().write_all(line.as_bytes());
    }
    has
}
