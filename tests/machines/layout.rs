//! Three producers, a proxy, three gateways and their clients on hosts of their own, of which some fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::process::{Process, example_path};
use crate::support::hosts::{Host, Network};
use crate::support::process::Gateway;
use crate::support::websocket::Raw;
use crate::support::{pass, wait_until};

const PRODUCER_COUNT: usize = 3;
const GATEWAY_COUNT: usize = 3;
const CLIENTS_OF_EACH: usize = 3;

/// How often each producer publishes.
const INTERVAL: Duration = Duration::from_millis(5);

/// The proxy of `examples/`, which comes back at the same endpoints.
struct Proxy {
    host: Host,
    /// Where producers connect, and where gateways do.
    endpoints: [String; 2],
    process: Option<Process>,
}

impl Proxy {
    fn start(host: Host) -> Self {
        // Where hosts are loopback addresses, others may listen on any port.
        let endpoints = [(); 2].map(|()| format!("tcp://{}:{}", host.ip(), host.free_port()));
        let mut proxy = Self { host, endpoints, process: None };
        proxy.go_on();
        proxy
    }

    fn go_on(&mut self) {
        let [from, to] = &self.endpoints;
        let args = [format!("--from-bind={from}"), format!("--to-bind={to}")];
        let args = args.each_ref().map(String::as_str);
        self.process = Some(self.host.run(|| Process::start(example_path("proxy"), &args)));
    }

    fn kill(&mut self) {
        self.process = None;
    }
}

/// Publishes numbers until it is told to stop.
struct Producer {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Producer {
    fn start(host: &Host, number: usize, endpoint: &str) -> Self {
        let socket = host.run(|| {
            // The context's threads are started with its first socket, and belong to the host then.
            let socket = zmq::Context::new().socket(zmq::PUB).unwrap();
            socket.set_sndhwm(0).unwrap();
            socket.set_linger(0).unwrap();
            for set in [zmq::Socket::set_heartbeat_ivl, zmq::Socket::set_reconnect_ivl] {
                set(&socket, 100).unwrap();
            }
            socket.connect(endpoint).unwrap();
            socket
        });
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let thread = thread::spawn(move || {
            let topic = format!("producer{number}");
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                let text = count.to_string();
                let parts: [&[u8]; 3] = [topic.as_bytes(), text.as_bytes(), &count.to_le_bytes()];
                socket.send_multipart(parts, 0).unwrap();
                pass(INTERVAL);
            }
            count
        });
        Self { is_stopped, thread }
    }

    /// Ends it, and returns how many messages it has published.
    fn stop(self) -> u64 {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What a client was sent.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Message { producer: usize, number: u64 },
    Gap { reason: String },
}

/// A client that reads all the time.
struct Client {
    seen: Arc<Mutex<Vec<Seen>>>,
    last_id: Arc<Mutex<String>>,
}

impl Client {
    fn connect(host: &Host, gateway: SocketAddr, since: &str) -> Self {
        let path = format!("/ws?format=json{since}");
        let mut socket = host.run(|| Raw::open(gateway, &path));
        let client = Self { seen: Arc::default(), last_id: Arc::default() };
        let (seen, last_id) = (Arc::clone(&client.seen), Arc::clone(&client.last_id));
        thread::spawn(move || {
            // Ends with its connection.
            while let Ok(Some(frame)) = socket.next() {
                let json: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
                seen.lock().unwrap().push(Self::read(&json));
                if let Some(id) = json["id"].as_str() {
                    id.clone_into(&mut last_id.lock().unwrap());
                }
            }
        });
        client
    }

    fn read(json: &serde_json::Value) -> Seen {
        if let Some(reason) = json["gap"]["reason"].as_str() {
            return Seen::Gap { reason: reason.to_owned() };
        }
        let producer = json["topic"].as_str().unwrap().strip_prefix("producer").unwrap();
        let counter = json["data"][1].as_str().unwrap();
        let bytes = match json["encoding"][1].as_str() {
            Some("base64") => data_encoding::BASE64.decode(counter.as_bytes()).unwrap(),
            _ => counter.as_bytes().to_vec(),
        };
        let number = u64::from_le_bytes(bytes.try_into().unwrap());
        Seen::Message { producer: producer.parse().unwrap(), number }
    }

    /// Comes back with the last id that it saw, to another gateway.
    fn resume(&self, host: &Host, gateway: SocketAddr) -> Self {
        let since = format!("&since={}", self.last_id.lock().unwrap());
        Self::connect(host, gateway, &since)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last number that it got of a producer; 0 before the first.
    fn last_of(&self, producer: usize) -> u64 {
        let seen = self.seen();
        let of_producer = |it: &Seen| match it {
            Seen::Message { producer: of, number } if *of == producer => Some(*number),
            _ => None,
        };
        seen.iter().rev().find_map(of_producer).unwrap_or(0)
    }

    /// Waits until it has got more of every producer than it has now.
    fn wait_for_more(&self, count: u64) {
        let before: Vec<_> = (0..PRODUCER_COUNT).map(|producer| self.last_of(producer)).collect();
        wait_until("more of every producer", || {
            (0..PRODUCER_COUNT).all(|it| self.last_of(it) >= before[it] + count)
        });
    }

    /// Fails where something is missing that no gap told of, or where a gap told of something else than `reasons`.
    fn assert_accounted(&self, reasons: &[&str]) {
        let mut last = [None; PRODUCER_COUNT];
        let mut is_told = [true; PRODUCER_COUNT];
        for item in self.seen() {
            match item {
                Seen::Message { producer, number } => {
                    let expected = last[producer].map_or(number, |last: u64| last + 1);
                    let is_next = number == expected || (is_told[producer] && number > expected);
                    assert!(is_next, "{number} of {producer} after {:?}", last[producer]);
                    (last[producer], is_told[producer]) = (Some(number), false);
                }
                Seen::Gap { reason } => {
                    assert!(reasons.contains(&&*reason), "a gap because of {reason}");
                    is_told = [true; PRODUCER_COUNT];
                }
            }
        }
    }

    /// Fails unless what it was sent begins with a gap, and what `before` missed is there or told.
    fn assert_resumed(&self, before: &Self) {
        let seen = self.seen();
        assert_eq!(seen[0], Seen::Gap { reason: "restart".into() }, "the ids of another gateway");
        for producer in 0..PRODUCER_COUNT {
            let first = seen.iter().find_map(|it| match it {
                Seen::Message { producer: of, number } if *of == producer => Some(*number),
                _ => None,
            });
            // History reaches back to before the failure.
            assert!(first.unwrap() <= before.last_of(producer) + 1, "{producer}: {first:?}");
        }
    }
}

fn start_gateway(host: &Host, endpoint: &str) -> Gateway {
    let args = [
        format!("--listen={}:0", host.ip()),
        format!("--connect={endpoint}"),
        "--sequence=2:u64le".into(),
        "--heartbeat=100ms".into(),
        "--history=100000".into(),
        "--drain=1s".into(),
    ];
    host.run(|| Gateway::start(&args.each_ref().map(String::as_str)))
}

#[test]
#[ignore = "long"]
fn every_client_of_a_living_gateway_gets_everything_and_others_resume_elsewhere() {
    let mut network = Network::new();
    let mut proxy = Proxy::start(network.add_host());
    let [from, to] = proxy.endpoints.clone();
    let producers: Vec<_> = (0..PRODUCER_COUNT)
        .map(|number| Producer::start(&network.add_host(), number, &from))
        .collect();
    let hosts: Vec<_> = (0..GATEWAY_COUNT).map(|_| network.add_host()).collect();
    let mut gateways: Vec<_> = hosts.iter().map(|host| start_gateway(host, &to)).collect();
    let addresses: Vec<_> = gateways.iter().map(|gateway| gateway.address).collect();
    let at = network.add_host();
    let connect = |&address: &SocketAddr| -> Vec<_> {
        (0..CLIENTS_OF_EACH).map(|_| Client::connect(&at, address, "")).collect()
    };
    let clients: Vec<Vec<_>> = addresses.iter().map(connect).collect();
    clients.iter().flatten().for_each(|client| client.wait_for_more(20));

    // A gateway is killed: its clients go on at another one.
    drop(gateways.remove(0));
    let moved: Vec<_> = clients[0].iter().map(|client| client.resume(&at, addresses[1])).collect();
    moved.iter().chain(&clients[1]).chain(&clients[2]).for_each(|it| it.wait_for_more(20));
    moved.iter().zip(&clients[0]).for_each(|(client, before)| client.assert_resumed(before));
    clients.iter().flatten().for_each(|it| it.assert_accounted(&[]));
    moved.iter().for_each(|it| it.assert_accounted(&["restart"]));

    // A link is cut: its gateway hears nothing more, its clients give up and go on at another one.
    let mut cut_off = Vec::new();
    if network.has_links() {
        network.set_link(&hosts[1], false);
        clients[2].iter().for_each(|client| client.wait_for_more(20));
        clients[2].iter().for_each(|client| client.assert_accounted(&[]));
        let of_cut_off = clients[1].iter().chain(&moved);
        cut_off = of_cut_off.clone().map(|client| client.resume(&at, addresses[2])).collect();
        cut_off.iter().for_each(|client| client.wait_for_more(20));
        cut_off.iter().zip(of_cut_off).for_each(|(client, before)| client.assert_resumed(before));
        network.set_link(&hosts[1], true);
        // Who comes to it now gets everything that is published from now on.
        let client = Client::connect(&at, addresses[1], "");
        client.wait_for_more(20);
        client.assert_accounted(&["upstream"]);
    }

    // The proxy starts anew: what producers published meanwhile is lost, and clients are told.
    proxy.kill();
    pass(20 * INTERVAL);
    proxy.go_on();
    let staying: Vec<_> = clients[2].iter().chain(&cut_off).collect();
    staying.iter().for_each(|client| client.wait_for_more(20));
    let published: Vec<_> = producers.into_iter().map(Producer::stop).collect();
    for client in &staying {
        wait_until("everything", || {
            (0..PRODUCER_COUNT).all(|producer| client.last_of(producer) == published[producer])
        });
        client.assert_accounted(&["restart", "upstream"]);
        let is_told = client.seen().contains(&Seen::Gap { reason: "upstream".into() });
        assert!(is_told, "a client of the whole time is told what the proxy's end lost");
    }
}
