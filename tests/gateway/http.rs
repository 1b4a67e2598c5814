//! The front door: requests good and bad, files, health, metrics.

use std::net::Shutdown;

use crate::support::http::{Connection, connect, exchange, get, parse_metrics, try_get};
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::{Raw, UPGRADE};
use crate::support::{Local, TempDir, wait_until};

#[test]
fn a_hundred_pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start(&[]);
    for is_half_closed in [false, true] {
        let mut connection = Connection::open(gateway.address);
        let mut requests = String::new();
        for number in 0..100 {
            requests += match number % 3 {
                0 => "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                1 => "HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
                _ => "POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
            };
        }
        connection.send(&requests);
        if is_half_closed {
            connection.stream().shutdown(Shutdown::Write).unwrap();
        }
        for number in 0..100 {
            let response = connection
                .response(number % 3 == 1)
                .unwrap_or_else(|error| panic!("answer {number}, {is_half_closed}: {error}"));
            match number % 3 {
                0 => assert_eq!((response.status, &*response.body), (200, &b"ok\n"[..])),
                1 => {
                    assert_eq!((response.status, &*response.body), (200, &b""[..]));
                    assert_eq!(response.header("content-length"), Some("6"), "of 'ready\\n'");
                }
                _ => assert_eq!(response.status, 405),
            }
        }
        if is_half_closed {
            assert_eq!(connection.rest().unwrap(), b"");
        }
    }
}

#[test]
fn a_half_closed_client_gets_its_whole_answer() {
    let folder = TempDir::new();
    let content = vec![b'x'; 8 << 20];
    std::fs::write(folder.file("large.bin"), &content).unwrap();
    let gateway = Gateway::start(&["--www", folder.path().to_str().unwrap()]);
    let mut connection = Connection::open(gateway.address);
    connection.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.stream().shutdown(Shutdown::Write).unwrap();
    let response = connection.response(false).unwrap();
    assert!(response.body == content);
    assert_eq!(connection.rest().unwrap(), b"");
}

#[test]
fn the_page_has_a_tag_a_type_and_a_head() {
    let gateway = Gateway::start(&[]);
    let mut connection = Connection::open(gateway.address);
    let page = connection.request("GET", "/", "");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let etag = page.header("etag").unwrap().to_owned();
    let head = connection.request("HEAD", "/", "");
    assert_eq!((head.status, head.header("etag")), (200, Some(&*etag)));
    assert_eq!(head.header("content-length"), page.header("content-length"));
    let same = connection.request("GET", "/", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((same.status, same.header("etag")), (304, Some(&*etag)));
    let other = connection.request("GET", "/", "If-None-Match: \"other\"\r\n");
    assert_eq!((other.status, other.body), (200, page.body));
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let outside = TempDir::new();
    std::fs::create_dir(outside.path().join("www")).unwrap();
    std::fs::write(outside.file("secret"), "secret").unwrap();
    let inside = outside.file("www");
    std::fs::write(format!("{inside}/index.html"), "home").unwrap();
    std::fs::write(format!("{inside}/a b.js"), "code").unwrap();
    std::os::unix::fs::symlink(outside.file("secret"), format!("{inside}/link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), format!("{inside}/up")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(format!("{inside}/fifo")).status();
    assert!(made.unwrap().success());
    let gateway = Gateway::start(&["--www", &inside]);
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/.%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%2fsecret",
        "/%252e%252e/secret",
        "/..%5csecret",
        "/link",
        "/up/secret",
        "/up/www/index.html/../../secret",
        "//etc/passwd",
        "/etc/passwd",
        "/%00",
        "/index.html%00.png",
        "/fifo",
        "/missing",
    ] {
        let response = get(gateway.address, path);
        assert!(matches!(response.status, 400 | 404), "{path}: {response:?}");
        assert!(!response.text().contains("secret"), "{path}");
    }
    assert_eq!(get(gateway.address, "/").text(), "home");
    let script = get(gateway.address, "/a%20b.js");
    assert_eq!(script.text(), "code");
    assert!(script.header("content-type").unwrap().starts_with("text/javascript"));
}

#[test]
fn without_a_page_the_websocket_stays() {
    let gateway = Gateway::start(&["--no-www"]);
    assert_eq!(get(gateway.address, "/").status, 404);
    assert_eq!(get(gateway.address, "/healthz").status, 200);
    Raw::open(gateway.address, "/");
}

#[test]
fn refusals_say_what_is_wrong() {
    let gateway = Gateway::start(&[]);
    let line = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let many: String = (0..101).map(|number| format!("X-{number}: a\r\n")).collect();
    let long = "x".repeat(7 << 10);
    let cases = [
        ("400", "GET / HTTP/1.1\r\n\r\n".into()),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()),
        ("400", "\x16\x03\x01\x02\x00\x01\r\n\r\n".into()),
        ("400", line("GET /", "Bad Header: a\r\n")),
        ("400", line("GET /", "X: a\r\n folded\r\n")),
        ("400", line("GET /%zz", "")),
        ("404", line("GET /nowhere", "")),
        ("405", line("POST /", "Content-Length: 0\r\n")),
        ("413", line("POST /", "Content-Length: 100000000\r\n")),
        ("414", line(&format!("GET /{long}"), "")),
        ("431", line("GET /", &many)),
        ("431", line("GET /", &format!("X: {long}{long}\r\n"))),
        ("501", line("BREW /", "")),
        ("501", line("POST /", "Transfer-Encoding: gzip, chunked\r\n")),
        ("505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into()),
    ];
    for (status, request) in cases {
        let mut connection = Connection::open(gateway.address);
        connection.send(&request);
        connection.stream().shutdown(Shutdown::Write).unwrap();
        let answer = String::from_utf8(connection.rest().unwrap()).unwrap();
        let shown = &request[..request.len().min(80)];
        assert_eq!(answer.get(9..12), Some(status), "{shown:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer:?}");
        if status == "405" {
            assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
        }
    }
}

#[test]
fn ambiguous_framing_gets_one_answer_and_the_end() {
    let gateway = Gateway::start(&[]);
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "Content-Length: 5, 6\r\n\r\nabcde",
        "Content-Length: +5\r\n\r\nabcde",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Content-Length : 5\r\n\r\nabcde",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nabcde\n0\n\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = exchange(
            gateway.address,
            format!("POST /healthz HTTP/1.1\r\nHost: a\r\n{framing}{smuggled}"),
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{framing:?}: {answer}");
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"),
            "{framing:?}: {answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{framing:?}: {answer}");
    }
}

#[test]
fn who_does_not_fit_gets_503_and_a_time_to_come_back() {
    let gateway = Gateway::start(&["--max-clients=2"]);
    let first = Raw::open(gateway.address, "/ws");
    let _second = Raw::open(gateway.address, "/ws");
    let mut connection = Connection::open(gateway.address);
    let refused = connection.request("GET", "/ws", UPGRADE);
    assert_eq!(refused.status, 503);
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(get(gateway.address, "/healthz").status, 200, "requests are still answered");
    drop(first);
    gateway.wait_for_metric(crate::support::http::CLIENTS, |value| value == 1.0);
    Raw::open(gateway.address, "/ws");
}

#[test]
fn health_and_metrics_have_a_listener_of_their_own_where_wanted() {
    let context = zmq::Context::new();
    let toml = "bind = ['tcp://127.0.0.1:*']\nmetrics = '127.0.0.1:0'";
    let gateway = Local::start(&context, toml, |builder| builder);
    let operation = gateway.metrics_address.unwrap();
    assert_eq!(get(gateway.address, "/metrics").status, 404);
    assert_eq!(get(gateway.address, "/healthz").text(), "ok\n");
    assert_eq!(get(gateway.address, "/readyz").text(), "ready\n");
    let metrics = Connection::open(operation).request("GET", "/metrics", "X-Forwarded-For: b\r\n");
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for path in ["/", "/ws"] {
        let mut connection = Connection::open(operation);
        assert_eq!(connection.request("GET", path, UPGRADE).status, 404, "{path}");
    }
    // While the gateway says goodbye, it lives and is not ready.
    let client = Raw::open_on(crate::support::http::connect_narrow(gateway.address), "/ws");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"t", &vec![b'x'; 8 << 20]]);
    crate::support::http::wait_for_metric(operation, "zmq2ws_feed_bytes", |value| value > 1e6);
    gateway.shutdown();
    wait_until("not ready", || try_get(operation, "/readyz") == Some(503));
    assert_eq!(get(operation, "/healthz").status, 200);
    drop(client);
    gateway.stop();
}

#[test]
fn metrics_are_for_loopback_and_name_no_topic_and_no_client() {
    let gateway = Gateway::start(&[]);
    let _client = Raw::open(gateway.address, "/ws?topic=secret-topic&exact=secret-exact");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[b"secret-topic", b"secret-body"]);
    gateway.wait_for_metric("zmq2ws_bytes_received_total", |value| value == 23.0);
    let mut connection = Connection::open(gateway.address);
    let proxied = connection.request("GET", "/metrics", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(proxied.status, 403);
    let text = get(gateway.address, "/metrics").text();
    assert!(!text.contains("secret") && !text.contains("127.0.0"), "{text}");
    let metrics = parse_metrics(&text);
    for name in [
        "zmq2ws_clients{transport=\"websocket\"}",
        "zmq2ws_messages_received_total",
        "zmq2ws_messages_delivered_total{transport=\"websocket\"}",
        "zmq2ws_bytes_delivered_total{transport=\"websocket\"}",
        "zmq2ws_gaps_total{reason=\"lag\"}",
        "zmq2ws_feeds",
        "zmq2ws_feed_bytes",
        "zmq2ws_turn_seconds_count",
        "zmq2ws_upstream_connections",
    ] {
        metrics.get(name);
    }
    assert_eq!(metrics.get("zmq2ws_feeds"), 1.0);
    // A message may come before word of the connection that it comes from.
    gateway.wait_for_metric("zmq2ws_upstream_connections", |count| count == 1.0);
}

#[test]
fn garbage_is_answered_or_closed_and_the_gateway_lives() {
    let mut gateway = Gateway::start(&[]);
    let mut seed = 42_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..200 {
        let len = random() as usize % 3000;
        let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        let mut connection = Connection::on(connect(gateway.address));
        connection.send(&bytes);
        let _ = connection.stream().shutdown(Shutdown::Write);
        let answer = connection.rest().unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || {
                answer.starts_with(b"HTTP/1.1 50")
            }
        );
    }
    gateway.assert_runs();
}
