//! A gateway that was built without the feature `socket-io`: nobody is at its path, and all others are served.

use crate::support::events::Events;
use crate::support::http::{Connection, get};
use crate::support::process::{Gateway, command};
use crate::support::publisher::Publisher;
use crate::support::websocket::{Raw, UPGRADE};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

#[test]
fn there_is_nothing_at_the_path_of_socket_io() {
    let gateway = Gateway::start(&[]);
    let unknown = get(gateway.address, "/nothing/");
    let response = get(gateway.address, OPEN);
    assert_eq!(response.status, 404);
    assert_eq!(response.text(), unknown.text());
    let session = format!("{OPEN}&sid=AAAAAQAAAAEAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(get(gateway.address, &session).status, 404);
    let mut connection = Connection::open(gateway.address);
    for method in ["POST", "OPTIONS"] {
        let [known, unknown] =
            [OPEN, "/nothing/"].map(|path| connection.request(method, path, "").status);
        assert_eq!(known, unknown, "{method}");
    }
    let mut connection = Connection::open(gateway.address);
    let path = "/socket.io/?EIO=4&transport=websocket";
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n"));
    assert_eq!(connection.response(false).unwrap().status, 404);
    assert_eq!(gateway.metrics().get("zmq2ws_clients{transport=\"socketio\"}"), 0.0);
}

#[test]
fn the_other_transports_work() {
    let gateway = Gateway::start(&[]);
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut socket = Raw::open(gateway.address, "/ws");
    let mut events = Events::open(gateway.address, "/sse?format=raw");
    let mut poll = Connection::open(gateway.address);
    poll.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.wait_for_metric("zmq2ws_clients{transport=\"poll\"}", |count| count == 1.0);
    publisher.send(&[b"t", b"to all"]);
    assert_eq!(socket.message().text(), "to all");
    assert_eq!(events.message(), "to all");
    let answer = poll.response(false).unwrap().text();
    assert!(answer.contains(r#""topic":"t","data":"to all""#), "{answer}");
}

#[test]
fn who_asks_for_recovery_is_told_what_is_missing() {
    let output = command().args(["--socket-io-recovery", "--check"]).output().unwrap();
    let expected = "zmq2ws: --socket-io-recovery: 'true': \
                    this build has none: the Cargo feature 'socket-io' was left out\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(2));
}
