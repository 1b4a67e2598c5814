//! A producer inside the process for `--demo`: made-up messages through a real ZeroMQ socket. Knows
//! only an endpoint.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// 20 messages a second: enough to see movement, slow enough to read.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(50);
/// The heartbeat topic, for those who want a topic that is nearly silent.
const MESSAGES_PER_HEARTBEAT: u64 = 100;
/// How long stopping waits for the thread, which looks every [`MESSAGE_INTERVAL`] at the latest.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A running producer; dropping it stops it.
pub(crate) struct Demo {
    /// Its end tells the thread to stop.
    stop: Option<Sender<()>>,
    /// Its end tells that the thread did.
    stopped: Receiver<()>,
}

impl Demo {
    /// Connects a socket of type `kind`, PUB or PUSH, to `endpoint`, and publishes until dropped.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or the endpoint cannot be connected.
    pub(crate) fn start(kind: zmq::SocketType, endpoint: &str) -> io::Result<Self> {
        let context = zmq::Context::new();
        let socket = context.socket(kind)?;
        // Nothing is owed: what is not sent when the gateway stops has no reader.
        socket.set_linger(0)?;
        let endpoint = reachable(endpoint);
        // Off, libzmq takes no IPv6 address: nothing would come from a gateway bound to `*`.
        socket.set_ipv6(endpoint.starts_with("tcp://["))?;
        socket.connect(&endpoint)?;
        let (stop, should_stop) = mpsc::channel();
        let (is_stopped, stopped) = mpsc::channel();
        thread::Builder::new().name("zmq2ws-demo".into()).spawn(move || {
            publish(&socket, &should_stop);
            // The channel's end says that all of it is gone, so it comes last.
            drop((socket, context));
            drop(is_stopped);
        })?;
        Ok(Self { stop: Some(stop), stopped })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.stopped.recv_timeout(STOP_TIMEOUT);
    }
}

/// A bound endpoint as a peer on the same host connects to it: a wildcard address is no destination
/// everywhere.
fn reachable(endpoint: &str) -> String {
    endpoint.replace("tcp://0.0.0.0:", "tcp://127.0.0.1:").replace("tcp://[::]:", "tcp://[::1]:")
}

fn publish(socket: &zmq::Socket, should_stop: &Receiver<()>) {
    let mut world = World::new(1);
    let mut due = Instant::now();
    loop {
        due += MESSAGE_INTERVAL;
        let now = Instant::now();
        if now.saturating_duration_since(due) > Duration::from_secs(1) {
            // The process or the machine was paused: nobody wants what was missed.
            due = now;
        }
        match should_stop.recv_timeout(due.saturating_duration_since(now)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let (topic, body) = world.next_message();
        // Never waits: a PUSH socket without a peer has EAGAIN, and the message is for nobody.
        match socket.send_multipart([&topic, &body], zmq::DONTWAIT) {
            Ok(()) | Err(zmq::Error::EAGAIN) => {}
            Err(error) => log::warn!("demo: cannot publish: {error}"),
        }
    }
}

/// Everything that the messages tell of: the same for the same seed.
struct World {
    random: Random,
    messages: u64,
    cities: [(&'static str, &'static str, Walk); 5],
    stocks: [(&'static str, Walk); 4],
    sensors: [Walk; 8],
}

impl World {
    fn new(seed: u64) -> Self {
        let city = |topic, name, celsius| (topic, name, Walk::new(celsius, 0.3, -25.0..35.0));
        let stock = |symbol, price: f64| (symbol, Walk::new(price, price / 400.0, 1.0..1000.0));
        Self {
            random: Random(seed),
            messages: 0,
            cities: [
                city("weather.oslo", "Oslo", 4.0),
                city("weather.bergen", "Bergen", 7.5),
                city("weather.tromso", "Tromsø", -2.0),
                city("weather.reykjavik", "Reykjavík", 3.0),
                city("weather.tokyo", "東京", 14.0),
            ],
            stocks: [
                stock("ACME", 120.0),
                stock("GLOBEX", 48.5),
                stock("INITECH", 17.2),
                stock("UMBRELLA", 310.0),
            ],
            sensors: std::array::from_fn(|index| Walk::new(50.0 + index as f64, 1.5, 0.0..100.0)),
        }
    }

    /// A topic and a body in JSON.
    fn next_message(&mut self) -> (String, String) {
        self.messages += 1;
        let count = self.messages;
        if count.is_multiple_of(MESSAGES_PER_HEARTBEAT) {
            return ("demo.heartbeat".into(), format!(r#"{{"messages":{count}}}"#));
        }
        let random = &mut self.random;
        match random.below(10) {
            0..=2 => {
                let (topic, name, walk) = &mut self.cities[random.below(5)];
                let celsius = walk.step(random);
                (topic.to_string(), format!(r#"{{"city":"{name}","celsius":{celsius:.1}}}"#))
            }
            3..=5 => {
                let (symbol, walk) = &mut self.stocks[random.below(4)];
                let (price, shares) = (walk.step(random), 1 + random.below(500));
                let body =
                    format!(r#"{{"symbol":"{symbol}","price":{price:.2},"shares":{shares}}}"#);
                (format!("stock.{symbol}"), body)
            }
            _ => {
                let index = random.below(8);
                let percent = self.sensors[index].step(random);
                let body = format!(r#"{{"sensor":{index},"humidity":{percent:.1},"n":{count}}}"#);
                (format!("sensor.{index}"), body)
            }
        }
    }
}

/// A value that wanders within bounds.
struct Walk {
    value: f64,
    step_max: f64,
    bounds: std::ops::Range<f64>,
}

impl Walk {
    fn new(value: f64, step_max: f64, bounds: std::ops::Range<f64>) -> Self {
        Self { value, step_max, bounds }
    }

    fn step(&mut self, random: &mut Random) -> f64 {
        let step = self.step_max * (random.below(2001) as f64 / 1000.0 - 1.0);
        self.value = (self.value + step).clamp(self.bounds.start, self.bounds.end);
        self.value
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): no secret depends on it.
struct Random(u64);

impl Random {
    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_with_topic_and_json_and_stop_when_dropped() {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::PULL).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        let demo = Demo::start(zmq::PUSH, &endpoint).unwrap();
        for _ in 0..3 {
            let parts = socket.recv_multipart(0).unwrap();
            assert_eq!(parts.len(), 2);
            serde_json::from_slice::<serde_json::Value>(&parts[1]).unwrap();
        }
        let stopping = Instant::now();
        drop(demo);
        assert!(stopping.elapsed() < STOP_TIMEOUT);
    }

    #[test]
    fn a_gateway_bound_to_every_address_gets_the_demo() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            assert_ne!(std::env::var("ZMQ2WS_TEST_REQUIRE").as_deref(), Ok("all"), "no IPv6 here");
            return println!("skipped: no IPv6 here");
        }
        let context = zmq::Context::new();
        let socket = context.socket(zmq::PULL).unwrap();
        socket.set_ipv6(true).unwrap();
        socket.bind("tcp://[::]:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        let _demo = Demo::start(zmq::PUSH, &endpoint).unwrap();
        assert_eq!(socket.recv_multipart(0).unwrap().len(), 2);
    }

    #[test]
    fn a_demo_without_a_gateway_stops_all_the_same() {
        let stopping = Instant::now();
        drop(Demo::start(zmq::PUSH, "tcp://127.0.0.1:1").unwrap());
        assert!(stopping.elapsed() < STOP_TIMEOUT);
    }

    #[test]
    fn the_same_seed_tells_the_same_story_in_json_on_all_topics() {
        let (mut world, mut again) = (World::new(7), World::new(7));
        let mut topics = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let (topic, body) = world.next_message();
            assert_eq!((topic.clone(), body.clone()), again.next_message());
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
            topics.insert(topic);
        }
        assert_eq!(topics.len(), 5 + 4 + 8 + 1);
    }

    #[test]
    fn wildcard_addresses_become_reachable_ones() {
        assert_eq!(reachable("tcp://0.0.0.0:5556"), "tcp://127.0.0.1:5556");
        assert_eq!(reachable("tcp://[::]:5556"), "tcp://[::1]:5556");
        assert_eq!(reachable("ipc:///tmp/0.0.0.0"), "ipc:///tmp/0.0.0.0");
    }
}
