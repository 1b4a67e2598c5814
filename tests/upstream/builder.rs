//! CURVE and PLAIN as a host program sets them: keys and passwords in memory and in files, right ones and wrong ones.

use std::fs;

use zmq::CurveKeyPair;
use zmq2ws::Builder;

use crate::support::{Local, TempDir};
use crate::upstream::{curve, has, plain};

fn gateway(configure: impl FnOnce(Builder) -> Builder) -> Local {
    Local::start(&zmq::Context::new(), "", configure)
}

#[test]
fn a_key_in_memory_lets_the_gateway_in_where_the_publisher_is_the_right_one() {
    if !has("curve", "CURVE keys in memory") {
        return;
    }
    let (pair, own) = (CurveKeyPair::new().unwrap(), CurveKeyPair::new().unwrap());
    let publisher = curve::server(&pair);
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let connected = |server_key: &[u8]| {
        gateway(|builder| {
            let builder = builder.connect(&endpoint).curve_server_key(curve::z85(server_key));
            let builder = builder.curve_public_key(curve::z85(&own.public_key));
            builder.curve_secret_key(&curve::z85(&own.secret_key))
        })
    };
    let mistaken = connected(&own.public_key);
    publisher.assert_refused_at(mistaken.address);
    mistaken.stop();
    publisher.assert_heard_at(connected(&pair.public_key).address);
}

#[test]
fn a_key_in_a_file_makes_the_gateway_the_server() {
    if !has("curve", "a CURVE key in a file") {
        return;
    }
    let (own, folder) = (CurveKeyPair::new().unwrap(), TempDir::new());
    let file = folder.file("secret");
    fs::write(&file, curve::z85(&own.secret_key) + "\n").unwrap();
    let gateway = gateway(|builder| builder.bind("tcp://127.0.0.1:*").curve_secret_key_file(&file));
    let mistaken = curve::client(&CurveKeyPair::new().unwrap().public_key);
    mistaken.connect(&gateway.endpoints[0]);
    mistaken.assert_refused_at(gateway.address);
    drop(mistaken);
    let entitled = curve::client(&own.public_key);
    entitled.connect(&gateway.endpoints[0]);
    entitled.assert_heard_at(gateway.address);
}

#[test]
fn a_password_in_memory_or_in_a_file_is_shown_to_the_publisher() {
    let folder = TempDir::new();
    let file = folder.file("password");
    fs::write(&file, "hunter2\n").unwrap();
    let publisher = plain::publisher(&plain::admitted("me:hunter2"));
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let connected = |configure: &dyn Fn(Builder) -> Builder| {
        gateway(|builder| configure(builder.connect(&endpoint).plain_user("me")))
    };
    // No editor has put an end of a line into what is in memory.
    for wrong in ["hunter3", "hunter2\n"] {
        let denied = connected(&|builder| builder.plain_password(wrong));
        publisher.assert_refused_at(denied.address);
        denied.stop();
    }
    let first = connected(&|builder| builder.plain_password("hunter2"));
    publisher.assert_heard_at(first.address);
    first.stop();
    assert_eq!(publisher.socket.recv_bytes(0).unwrap(), b"\x00", "it has gone");
    // The file's takes the place of the one before.
    let second = connected(&|it| it.plain_password("hunter3").plain_password_file(&file));
    publisher.assert_heard_at(second.address);
}
