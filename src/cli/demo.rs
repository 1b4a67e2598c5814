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

/// What the messages tell of: the same for the same seed.
struct World {
    random: Random,
    messages: u64,
    cities: [City; 5],
    stocks: [(&'static str, Walk); 4],
    machines: [(&'static str, Walk); 8],
}

struct City {
    topic: &'static str,
    name: &'static str,
    celsius: Walk,
    wind: Walk,
}

/// Lines of a log: a level and a text.
const LOG_LINES: [(&str, &str); 6] = [
    ("info", "pump-2: filter changed, 1,204 h since the last one"),
    ("info", "shift B has begun, 14 people on site"),
    ("warn", "oven-1: door open for 40 s"),
    ("info", "backup finished: 18.2 GB in 7 min"),
    ("warn", "pump-1: vibration above 4.5 mm/s"),
    ("error", "conveyor-3: emergency stop, released by hand"),
];

impl World {
    fn new(seed: u64) -> Self {
        let city = |topic, name, celsius| City {
            topic,
            name,
            celsius: Walk::new(celsius, 0.12, -25.0..35.0),
            wind: Walk::new(5.0, 0.2, 0.0..24.0),
        };
        let stock = |symbol, price: f64| (symbol, Walk::new(price, price / 1000.0, 1.0..1000.0));
        let machine = |topic, value: f64, most| (topic, Walk::new(value, value / 120.0, 0.0..most));
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
            machines: [
                machine("plant/north/pump-1/pressure", 4.2, 10.0),
                machine("plant/north/pump-1/vibration", 2.1, 8.0),
                machine("plant/north/pump-2/pressure", 3.8, 10.0),
                machine("plant/north/pump-2/vibration", 1.4, 8.0),
                machine("plant/south/oven-1/celsius", 212.0, 300.0),
                machine("plant/south/oven-2/celsius", 187.0, 300.0),
                machine("plant/south/conveyor-3/speed", 1.6, 3.0),
                machine("plant/south/power", 84.0, 160.0),
            ],
        }
    }

    /// A topic and a body: JSON, a number, or a line of text.
    fn next_message(&mut self) -> (String, String) {
        self.messages += 1;
        let count = self.messages;
        if count.is_multiple_of(MESSAGES_PER_HEARTBEAT) {
            return ("demo.heartbeat".into(), format!(r#"{{"messages":{count}}}"#));
        }
        let random = &mut self.random;
        match random.below(60) {
            0 => {
                let (level, line) = LOG_LINES[random.below(LOG_LINES.len() as u64)];
                (format!("log.{level}"), line.into())
            }
            1..=19 => {
                let city = &mut self.cities[random.below(5)];
                let (celsius, wind) = (city.celsius.step(random), city.wind.step(random));
                let (name, gusts) = (city.name, wind * 1.6);
                let body = format!(
                    r#"{{"celsius":{celsius:.1},"wind":{{"speed":{wind:.1},"gusts":{gusts:.1}}},"city":"{name}"}}"#
                );
                (city.topic.into(), body)
            }
            20..=37 => {
                let (symbol, walk) = &mut self.stocks[random.below(4)];
                let (price, shares) = (walk.step(random), 1 + random.below(500));
                let body =
                    format!(r#"{{"price":{price:.2},"shares":{shares},"symbol":"{symbol}"}}"#);
                (format!("stock.{symbol}"), body)
            }
            _ => {
                let (topic, walk) = &mut self.machines[random.below(8)];
                (topic.to_string(), format!("{:.2}", walk.step(random)))
            }
        }
    }
}

/// A value that drifts around where it began: each step keeps most of the last one's direction.
struct Walk {
    value: f64,
    home: f64,
    pace: f64,
    step_max: f64,
    bounds: std::ops::Range<f64>,
}

impl Walk {
    fn new(value: f64, step_max: f64, bounds: std::ops::Range<f64>) -> Self {
        Self { value, home: value, pace: 0.0, step_max, bounds }
    }

    fn step(&mut self, random: &mut Random) -> f64 {
        let push = self.step_max * (random.below(2001) as f64 / 1000.0 - 1.0);
        self.pace = 0.85 * self.pace + push + (self.home - self.value) / 100.0;
        let next = self.value + self.pace;
        if !self.bounds.contains(&next) {
            self.pace = -self.pace;
        }
        self.value = next.clamp(self.bounds.start, self.bounds.end);
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
    fn messages_arrive_with_topic_and_body_and_stop_when_dropped() {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::PULL).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        let demo = Demo::start(zmq::PUSH, &endpoint).unwrap();
        for _ in 0..3 {
            let parts = socket.recv_multipart(0).unwrap();
            assert_eq!(parts.len(), 2);
            assert!(!parts[0].is_empty() && !parts[1].is_empty());
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
    fn the_same_seed_tells_the_same_story_on_all_topics() {
        let (mut world, mut again) = (World::new(7), World::new(7));
        let mut topics = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let (topic, body) = world.next_message();
            assert_eq!((topic.clone(), body.clone()), again.next_message());
            let is_json = serde_json::from_str::<serde_json::Value>(&body).is_ok();
            assert_eq!(is_json, !topic.starts_with("log."), "{topic} {body}");
            topics.insert(topic);
        }
        assert_eq!(topics.len(), 5 + 4 + 8 + 3 + 1);
    }

    #[test]
    fn wildcard_addresses_become_reachable_ones() {
        assert_eq!(reachable("tcp://0.0.0.0:5556"), "tcp://127.0.0.1:5556");
        assert_eq!(reachable("tcp://[::]:5556"), "tcp://[::1]:5556");
        assert_eq!(reachable("ipc:///tmp/0.0.0.0"), "ipc:///tmp/0.0.0.0");
    }
}
