//! CURVE: the gateway as a client and as a server, with the right key, a wrong one and none. What a build without it says
//! is in `tests/cli/security.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use zmq::CurveKeyPair;

use crate::support::http::RECEIVED;
use crate::support::process::Gateway;
use crate::support::{TempDir, pass};
use crate::upstream::has;
use crate::upstream::publishers::{Judge, Publisher, RECONNECTS, REFUSED};

pub(crate) fn z85(key: &[u8]) -> String {
    zmq::z85_encode(key).unwrap()
}

/// A publisher that is a CURVE server, for whoever knows its public key.
pub(crate) fn server(pair: &CurveKeyPair) -> Publisher {
    Publisher::new(|_, socket| {
        socket.set_curve_server(true).unwrap();
        socket.set_curve_secretkey(&pair.secret_key).unwrap();
        None
    })
}

/// A publisher that connects to a CURVE server.
pub(crate) fn client(server_key: &[u8]) -> Publisher {
    let own = CurveKeyPair::new().unwrap();
    Publisher::new(|_, socket| {
        socket.set_curve_serverkey(server_key).unwrap();
        socket.set_curve_publickey(&own.public_key).unwrap();
        socket.set_curve_secretkey(&own.secret_key).unwrap();
        None
    })
}

/// A gateway with `own` as its keys.
fn gateway(own: &CurveKeyPair, args: &[&str]) -> Gateway {
    let folder = TempDir::new();
    let file = folder.file("secret");
    std::fs::write(&file, z85(&own.secret_key) + "\n").unwrap();
    let file = format!("--curve-secret-key-file={file}");
    Gateway::start(&[&[file.as_str()], args].concat())
}

/// A gateway that connects to `endpoint`, for the publisher with `server_key`.
fn connected(endpoint: &str, server_key: &[u8]) -> Gateway {
    let own = CurveKeyPair::new().unwrap();
    let connect = format!("--connect={endpoint}");
    let server_key = format!("--curve-server-key={}", z85(server_key));
    gateway(&own, &[&connect, &server_key])
}

#[test]
fn a_gateway_that_knows_the_publisher_is_let_in_and_stays() {
    if !has("curve", "a gateway as CURVE client") {
        return;
    }
    let pair = CurveKeyPair::new().unwrap();
    let publisher = server(&pair);
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let own = CurveKeyPair::new().unwrap();
    let gateway = gateway(
        &own,
        &[
            &format!("--connect={endpoint}"),
            &format!("--curve-server-key={}", z85(&pair.public_key)),
            &format!("--curve-public-key={}", z85(&own.public_key)),
            "--heartbeat=50ms",
        ],
    );
    publisher.assert_heard_by(&gateway);
    // Heartbeats are encrypted, too: for many of them nobody is taken for dead.
    pass(Duration::from_secs(1));
    assert_eq!(gateway.metrics().get("zmq2ws_upstream_connections"), 1.0);
    assert_eq!((gateway.metrics().get(RECONNECTS), gateway.metrics().get(REFUSED)), (0.0, 0.0));
    assert!(!gateway.log().iter().any(|line| line.contains("disconnected")), "{:?}", gateway.log());
}

#[test]
fn a_wrong_server_key_lets_nothing_in_until_the_publisher_has_that_key() {
    if !has("curve", "a wrong CURVE key") {
        return;
    }
    let (known, other) = (CurveKeyPair::new().unwrap(), CurveKeyPair::new().unwrap());
    let publisher = server(&other);
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let gateway = connected(&endpoint, &known.public_key);
    publisher.assert_refused(&gateway, "a wrong CURVE server key");
    drop(publisher);
    let publisher = server(&known);
    publisher.bind(&endpoint);
    publisher.assert_heard_by(&gateway);
}

#[test]
fn a_publisher_without_curve_is_refused_until_it_has_it() {
    if !has("curve", "a publisher without CURVE") {
        return;
    }
    let pair = CurveKeyPair::new().unwrap();
    let unsecured = Publisher::unsecured();
    let endpoint = unsecured.bind("tcp://127.0.0.1:*");
    let gateway = connected(&endpoint, &pair.public_key);
    unsecured.assert_refused(&gateway, "it has other ZeroMQ security than this end");
    drop(unsecured);
    let publisher = server(&pair);
    publisher.bind(&endpoint);
    publisher.assert_heard_by(&gateway);
}

#[test]
fn a_publisher_may_let_in_some_keys_only() {
    if !has("curve", "a publisher that knows its subscribers' CURVE keys") {
        return;
    }
    let (pair, own) = (CurveKeyPair::new().unwrap(), CurveKeyPair::new().unwrap());
    let admitted = Arc::new(Mutex::new(Vec::new()));
    let publisher = Publisher::new(|context, socket| {
        let judge = Judge::start(context, &admitted);
        socket.set_zap_domain("feeds").unwrap();
        socket.set_curve_server(true).unwrap();
        socket.set_curve_secretkey(&pair.secret_key).unwrap();
        Some(judge)
    });
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let connect = format!("--connect={endpoint}");
    let server_key = format!("--curve-server-key={}", z85(&pair.public_key));
    let gateway = gateway(&own, &[&connect, &server_key]);
    publisher.assert_refused(&gateway, "denied by the peer");
    admitted.lock().unwrap().push(own.public_key.to_vec());
    publisher.assert_heard_by(&gateway);
}

#[test]
fn publishers_connect_to_a_gateway_that_is_the_server() {
    if !has("curve", "a gateway as CURVE server") {
        return;
    }
    let own = CurveKeyPair::new().unwrap();
    let gateway = gateway(&own, &["--bind=tcp://127.0.0.1:*"]);
    let endpoint = &gateway.endpoints[0];

    let unsecured = Publisher::unsecured();
    unsecured.connect(endpoint);
    // Either end may be the first to notice; the other sees only that the peer has left.
    gateway.wait_for_log("security");
    let mistaken = client(&CurveKeyPair::new().unwrap().public_key);
    mistaken.connect(endpoint);
    gateway.wait_for_log("it does not use the CURVE keys that are known here");
    let entitled = client(&own.public_key);
    entitled.connect(endpoint);
    entitled.assert_heard_by(&gateway);

    for refused in [unsecured, mistaken] {
        let _ = refused.socket.send("not from me", zmq::DONTWAIT);
        assert_eq!(refused.socket.recv_bytes(zmq::DONTWAIT), Err(zmq::Error::EAGAIN));
    }
    assert_eq!(gateway.metrics().get(RECEIVED), 1.0);
    assert!(gateway.metrics().get(REFUSED) >= 2.0);
}

#[test]
fn one_pair_of_keys_serves_both_directions() {
    if !has("curve", "a gateway as CURVE client and server") {
        return;
    }
    let (pair, own) = (CurveKeyPair::new().unwrap(), CurveKeyPair::new().unwrap());
    let publisher = server(&pair);
    let folder = TempDir::new();
    let endpoint = publisher.bind(&format!("ipc://{}", folder.file("feed.sock")));
    let connect = format!("--connect={endpoint}");
    let server_key = format!("--curve-server-key={}", z85(&pair.public_key));
    let gateway = gateway(&own, &[&connect, &server_key, "--bind=tcp://127.0.0.1:*"]);
    publisher.assert_heard_by(&gateway);
    let other = client(&own.public_key);
    other.connect(&gateway.endpoints[1]);
    other.assert_heard_by(&gateway);
}
