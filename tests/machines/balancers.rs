//! Balancers in front of two gateways, nginx and HAProxy, with the lines that the handbook gives.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::events::Events;
use crate::support::http::{Connection, get, try_get};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{Raw, TEXT};
use crate::support::{PATIENCE, TempDir, pass, wait_until};

const PAGE: &str = include_str!("../../docs/scale.md");

/// What 100 messages take at least that are held back for 200 ms each, as by default in HAProxy; otherwise they take a
/// twentieth of a second.
const HELD_BACK: Duration = Duration::from_secs(15);

/// A balancer in a process of its own; killed when dropped.
struct Balancer {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `program` is there; says on standard error where a test has nothing to do without it.
fn has(program: &str) -> bool {
    let output = Command::new(program).arg("-v").output();
    let is_there = output.is_ok_and(|output| output.status.success());
    if !is_there {
        let required = env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
        assert!(!required, "no {program} in PATH, and ZMQ2WS_TEST_REQUIRE=all forbids skipping");
        // Not `eprintln!`, which cargo shows for failed tests only.
        let _ = writeln!(io::stderr(), "test with {program} skipped: not in PATH");
    }
    is_there
}

/// The lines of the handbook for `program`, with the addresses of these gateways in place of its own.
fn snippet(program: &str, gateways: &[Gateway; 2], listen: SocketAddr) -> String {
    let begin = format!("```{program}\nupstream");
    let begin = if program == "haproxy" { "```haproxy\n" } else { &*begin };
    let start = PAGE.find(begin).expect("the page has lines for it") + 4 + program.len();
    let len = PAGE[start..].find("```").unwrap();
    let mut text = PAGE[start..start + len].to_owned();
    for (own, gateway) in ["10.0.0.11:8080", "10.0.0.12:8080"].iter().zip(gateways) {
        assert!(text.contains(own));
        text = text.replace(own, &gateway.address.to_string());
    }
    assert!(text.contains("*:80") || text.contains("listen 80;"));
    text.replace("*:80", &listen.to_string()).replace("listen 80;", &format!("listen {listen};"))
}

/// Starts `program` on a free port: where somebody else was faster, on another one.
fn start(program: &str, gateways: &[Gateway; 2]) -> Balancer {
    for _ in 0..10 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = TempDir::new();
        let path = folder.path().display();
        let lines = snippet(program, gateways, address);
        let (text, args) = match program {
            "nginx" => (
                format!(
                    "daemon off; master_process off; pid {path}/pid; error_log stderr;\nevents {{}}\n\
                     http {{ access_log off; client_body_temp_path {path}; proxy_temp_path {path}; \
                     fastcgi_temp_path {path}; uwsgi_temp_path {path}; scgi_temp_path {path};\n{lines}}}\n"
                ),
                vec!["-e".to_owned(), "stderr".into(), "-c".into(), folder.file("conf")],
            ),
            _ => (lines, vec!["-db".into(), "-f".into(), folder.file("conf")]),
        };
        fs::write(folder.file("conf"), text).unwrap();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.file("log")).unwrap())
            .spawn()
            .unwrap();
        let mut balancer = Balancer { child, address, _folder: folder };
        let begun = Instant::now();
        while balancer.child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
            if TcpStream::connect(address).is_ok() {
                return balancer;
            }
            pass(Duration::from_millis(5));
        }
        eprintln!("{}", fs::read_to_string(balancer._folder.file("log")).unwrap());
    }
    panic!("{program} does not start");
}

/// Every transport works through it, and with one gateway gone clients get to the other.
fn serves_every_transport(program: &str) {
    if !has(program) {
        return;
    }
    let (publisher, endpoint) = Publisher::bind_for_many("tcp://127.0.0.1:*");
    let connect = format!("--connect={endpoint}");
    let gateways = [(); 2].map(|()| Gateway::start(&[&connect, "--origin=*"]));
    (0..2).for_each(|_| drop(publisher.wait_for_subscription()));
    let balancer = start(program, &gateways);
    wait_until("a gateway behind the balancer", || {
        try_get(balancer.address, "/healthz") == Some(200)
    });
    let mut socket = Raw::open(balancer.address, "/ws");
    let mut events = Events::open(balancer.address, "/sse?format=raw");
    let begun = Instant::now();
    for number in 0..100 {
        publisher.send(&[b"t", format!("{number}").as_bytes()]);
        // Each as it comes: nothing is held back until there is more.
        assert_eq!(socket.message().text(), format!("{number}"));
        assert_eq!(events.message(), format!("{number}"));
    }
    assert!(begun.elapsed() < HELD_BACK, "{:?}: something waits", begun.elapsed());
    speaks_socket_io(&balancer, &publisher);
    let polled = get(balancer.address, "/poll?timeout=0");
    assert_eq!(polled.status, 200, "{}", polled.text());
    assert!(polled.text().starts_with("{\"messages\":[]"), "{}", polled.text());
    let [first, second] = gateways;
    drop(first);
    wait_until("the gateway that is left", || {
        (0..20).all(|_| try_get(balancer.address, "/healthz") == Some(200))
    });
    let mut socket = Raw::open(balancer.address, "/ws");
    publisher.send(&[b"t", b"last"]);
    assert_eq!(socket.message().text(), "last");
    drop(second);
}

/// Over a WebSocket, and by polling, whose requests have to come to one gateway.
fn speaks_socket_io(balancer: &Balancer, publisher: &Publisher) {
    const PATH: &str = "/socket.io/?EIO=4&transport=";
    let mut socket = Raw::open(balancer.address, &format!("{PATH}websocket"));
    assert!(socket.message().text().starts_with("0{\"sid\":"));
    socket.send(TEXT, b"40");
    assert!(socket.message().text().starts_with("40{"));

    let open = get(balancer.address, &format!("{PATH}polling")).text();
    let sid = open.strip_prefix("0{\"sid\":\"").and_then(|rest| rest.split('"').next());
    let session = format!("{PATH}polling&sid={}", sid.unwrap());
    let post = format!("POST {session} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40");
    let mut connection = Connection::open(balancer.address);
    connection.send(post);
    assert_eq!(connection.response(false).unwrap().text(), "ok");
    assert!(get(balancer.address, &session).text().starts_with("40{"));

    publisher.send(&[b"t", b"to all"]);
    let expected = r#"42["message","to all","t"]"#;
    assert_eq!(socket.message().text(), expected);
    assert_eq!(get(balancer.address, &session).text(), expected);
}

#[test]
#[ignore = "long"]
fn nginx_passes_everything_on() {
    serves_every_transport("nginx");
}

#[test]
#[ignore = "long"]
fn haproxy_passes_everything_on() {
    serves_every_transport("haproxy");
}
