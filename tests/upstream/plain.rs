//! PLAIN: a user and a password that a publisher asks for. Every libzmq has it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::support::TempDir;
use crate::support::process::Gateway;
use crate::upstream::publishers::{Judge, Publisher};

pub(crate) type Admitted = Arc<Mutex<Vec<Vec<u8>>>>;

/// A publisher that lets in who is `admitted`.
pub(crate) fn publisher(admitted: &Admitted) -> Publisher {
    Publisher::new(|context, socket| {
        let judge = Judge::start(context, admitted);
        socket.set_zap_domain("feeds").unwrap();
        socket.set_plain_server(true).unwrap();
        Some(judge)
    })
}

pub(crate) fn admitted(credentials: &str) -> Admitted {
    Arc::new(Mutex::new(vec![credentials.as_bytes().to_vec()]))
}

/// A gateway that connects to `endpoint` as the user `me` with `password`.
fn gateway(endpoint: &str, password: &str) -> Gateway {
    let folder = TempDir::new();
    let file = folder.file("password");
    std::fs::write(&file, password).unwrap();
    Gateway::start(&[
        &format!("--connect={endpoint}"),
        "--plain-user=me",
        &format!("--plain-password-file={file}"),
    ])
}

#[test]
fn a_user_with_the_right_password_is_let_in() {
    let publisher = publisher(&admitted("me:hunter2 "));
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    publisher.assert_heard_by(&gateway(&endpoint, "hunter2 \n"));
}

#[test]
fn a_wrong_password_is_denied_told_and_tried_again() {
    let admitted = admitted("me:hunter3");
    let publisher = publisher(&admitted);
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let gateway = gateway(&endpoint, "hunter2");
    publisher.assert_refused(&gateway, "denied by the peer");
    admitted.lock().unwrap().push(b"me:hunter2".to_vec());
    publisher.assert_heard_by(&gateway);
}

#[test]
fn a_publisher_that_asks_for_no_password_is_refused() {
    let unsecured = Publisher::unsecured();
    let endpoint = unsecured.bind("tcp://127.0.0.1:*");
    let gateway = gateway(&endpoint, "hunter2");
    unsecured.assert_refused(&gateway, "it has other ZeroMQ security than this end");
    drop(unsecured);
    let secured = publisher(&admitted("me:hunter2"));
    secured.bind(&endpoint);
    secured.assert_heard_by(&gateway);
}

#[test]
fn a_gateway_without_a_password_is_refused_and_says_why() {
    let publisher = publisher(&admitted("me:hunter2"));
    let endpoint = publisher.bind("tcp://127.0.0.1:*");
    let gateway = Gateway::start(&[&format!("--connect={endpoint}")]);
    publisher.assert_refused(&gateway, "it has other ZeroMQ security than this end");
}

#[test]
fn a_password_that_everybody_can_read_is_warned_of() {
    let folder = TempDir::new();
    let file = folder.file("password");
    std::fs::write(&file, "hunter2").unwrap();
    let warning = "holds a secret, and everybody on this host can read it";
    for (mode, is_warned_of) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let password = format!("--plain-password-file={file}");
        let gateway =
            Gateway::start(&["--connect=tcp://127.0.0.1:9", "--plain-user=me", &password]);
        gateway.wait_for_log("started");
        let warned =
            gateway.log().iter().any(|line| line.contains(warning) && line.contains(&file));
        assert_eq!(warned, is_warned_of, "{mode:o}: {:?}", gateway.log());
    }
}
