//! The `zmq2ws` command.
fn main() {}
