//! Certificates that are exchanged while clients are connected, and who does not get one.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use zmq2ws::Gateway as Library;

use crate::support::http::{Connection, get, metrics};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;
use crate::support::{TempDir, tls, wait_until};

/// Files of a certificate of their own.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: TempDir::new() };
        files.write(&tls::identity().authority.issue());
        files
    }

    fn write(&self, [cert, key]: &[String; 2]) {
        fs::write(self.cert(), cert).unwrap();
        tls::write_secret(self.key().as_ref(), key);
    }

    fn cert(&self) -> String {
        self.folder.file("cert.pem")
    }

    fn key(&self) -> String {
        self.folder.file("key.pem")
    }
}

/// The certificate that a new client is shown.
fn shown(address: SocketAddr) -> Vec<u8> {
    let mut client = crate::over_tls::client(address, &tls::identity().authority.client());
    client.conn.complete_io(&mut client.sock).unwrap();
    client.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn sighup_exchanges_the_certificate_without_dropping_anyone() {
    let files = Files::new();
    let key = files.key();
    let args = [format!("--tls-cert={}", files.cert()), format!("--tls-key={key}")];
    let gateway = Gateway::start_secure(&args.each_ref().map(String::as_str));
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let mut client = Raw::open(gateway.address, "/ws");
    let first = shown(gateway.address);
    files.write(&tls::identity().authority.issue());
    assert!(shown(gateway.address) == first, "nobody has said that it is to be read");
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("SIGHUP: certificate read again");
    let second = shown(gateway.address);
    assert!(second != first);
    // A file that is broken, then one that does not belong to the other.
    fs::write(files.key(), "nonsense").unwrap();
    gateway.signal(Signal::HUP);
    let line = gateway.wait_for_log("SIGHUP: certificate kept: ");
    assert!(line.contains(&format!("--tls-key: '{key}': holds no private key")), "{line}");
    let [other_cert, _] = tls::identity().authority.issue();
    let [_, other_key] = tls::identity().authority.issue();
    files.write(&[other_cert, other_key]);
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("does not belong to the certificate in --tls-cert");
    assert!(shown(gateway.address) == second);
    publisher.send(&[b"t", b"still there"]);
    assert_eq!(client.message().text(), "still there");
    // What is in the file is not in the log.
    let secret = fs::read_to_string(files.key()).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    assert!(gateway.log().iter().all(|line| !line.contains(secret)));
}

#[test]
fn a_host_exchanges_the_certificate_by_its_handle() {
    let files = Files::new();
    let start = || {
        Library::builder()
            .listen(([127, 0, 0, 1], 0))
            .tls_cert(files.cert())
            .tls_key(files.key())
            .spawn()
    };
    let running = start().unwrap();
    let url = running.listen_addresses()[0].clone();
    let address: SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let first = shown(address);
    files.write(&tls::identity().authority.issue());
    running.handle().reload_tls().unwrap();
    let second = shown(address);
    assert!(first != second);
    fs::remove_file(files.cert()).unwrap();
    let error = running.handle().reload_tls().unwrap_err();
    assert_eq!((&*error.setting, error.value), ("tls_cert", files.cert()));
    assert!(error.reason.starts_with("cannot be read: No such file"), "{}", error.reason);
    assert!(shown(address) == second);
    assert!(start().unwrap_err().to_string().starts_with("tls_cert: '"));
    // Where there is none, there is nothing to do.
    Library::builder().spawn().unwrap().handle().reload_tls().unwrap();
}

#[test]
fn unix_sockets_and_metrics_stay_as_they_are() {
    let folder = TempDir::new();
    let path = folder.file("http.sock");
    let listen = format!("--listen=unix:{path}");
    let gateway =
        Gateway::start_secure(&["--listen=127.0.0.1:0", &listen, "--metrics=127.0.0.1:0"]);
    // Its address is not one where clients of these tests speak TLS.
    assert!(gateway.metrics().get("zmq2ws_feeds") >= 0.0);
    let mut socket = UnixStream::connect(path).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(get(gateway.address, "/healthz").status, 200);
}

#[test]
fn tcp_sockets_that_a_service_manager_passes_speak_it_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls::Identity { cert_file, key_file, .. } = tls::identity();
    // Descriptor 3, and its own process id, as sd_listen_fds(3) wants them.
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_zmq2ws"), "--listen=systemd", "--log=off"])
        .args(["--bind=tcp://127.0.0.1:*", "--tls-cert"])
        .arg(cert_file)
        .arg("--tls-key")
        .arg(key_file)
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let certificate = shown(address);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!certificate.is_empty());
}

#[test]
fn a_page_of_the_same_host_may_connect() {
    let gateway = Gateway::start_secure(&[]);
    let port = gateway.address.port();
    for (origin, host, status) in [
        (format!("https://a:{port}"), format!("a:{port}"), 101),
        ("https://a".into(), "a".into(), 101),
        ("https://a:443".into(), "a".into(), 101),
        ("https://a".into(), "a:443".into(), 101),
        ("https://b".into(), "a".into(), 403),
        ("https://a".into(), format!("a:{port}"), 403),
    ] {
        let mut connection = Connection::open(gateway.address);
        let upgrade = crate::support::websocket::UPGRADE;
        connection
            .send(format!("GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n{upgrade}\r\n"));
        assert_eq!(connection.response(false).unwrap().status, status, "{origin} {host}");
    }
    // Metrics, where the clients are, are for peers on this host.
    assert!(metrics(gateway.address).get("zmq2ws_feeds") >= 0.0);
}

#[test]
fn curl_trusts_it() {
    let gateway = Gateway::start_secure(&[]);
    let curl = |name: &str, path: &str| {
        let url = format!("https://{name}:{}{path}", gateway.address.port());
        Command::new("curl")
            .args(["-sS", "--http1.1", "--max-time", "10", "--cacert"])
            .arg(&tls::identity().authority_file)
            .arg(url)
            .output()
    };
    let Ok(output) = curl("localhost", "/healthz") else {
        eprintln!("skipped: there is no curl");
        return;
    };
    assert_eq!(output.stdout, b"ok\n", "{}", String::from_utf8_lossy(&output.stderr));
    let page = curl("127.0.0.1", "/").unwrap().stdout;
    assert!(String::from_utf8(page).unwrap().contains("<!doctype html>"));
    wait_until("everybody gone", || gateway.metrics().closed("http", "tls") == 0.0);
}
