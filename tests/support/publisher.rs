//! ZeroMQ sockets that feed a gateway, and know when it listens.

use super::{PATIENCE, wait_for};

/// A publisher in a ZeroMQ context of its own. It is an XPUB socket where it has to know that its
/// subscription has arrived, and then loses nothing.
pub(crate) struct Publisher {
    socket: zmq::Socket,
    _context: zmq::Context,
}

impl Publisher {
    /// Connects to a gateway's bound SUB socket, and waits for its subscription.
    pub(crate) fn connect(endpoint: &str) -> Self {
        let publisher = Self::connect_unasked(endpoint);
        publisher.wait_for_subscription();
        publisher
    }

    /// As [`Self::connect`], where the gateway may have nothing to ask for yet.
    pub(crate) fn connect_unasked(endpoint: &str) -> Self {
        let publisher = Self::of_kind(zmq::XPUB);
        publisher.socket.connect(endpoint).unwrap();
        publisher
    }

    /// Binds where a gateway is to connect, and returns where that is.
    pub(crate) fn bind(endpoint: &str) -> (Self, String) {
        let publisher = Self::of_kind(zmq::XPUB);
        // What was bound there a moment ago may not be gone yet.
        wait_for("the endpoint to be free", || publisher.socket.bind(endpoint).ok());
        let endpoint = publisher.socket.get_last_endpoint().unwrap().unwrap();
        (publisher, endpoint)
    }

    /// As [`Self::bind`], for several gateways: [`Self::wait_for_subscription`] waits for the next one each time.
    pub(crate) fn bind_for_many(endpoint: &str) -> (Self, String) {
        let publisher = Self::bind(endpoint);
        publisher.0.socket.set_xpub_verbose(true).unwrap();
        publisher
    }

    /// Connects to a gateway's bound PULL socket.
    pub(crate) fn push(endpoint: &str) -> Self {
        let publisher = Self::of_kind(zmq::PUSH);
        publisher.socket.connect(endpoint).unwrap();
        publisher
    }

    /// Waits until the gateway has asked for something.
    pub(crate) fn wait_for_subscription(&self) -> Vec<u8> {
        let subscription = self.socket.recv_bytes(0).expect("a subscription");
        assert_eq!(subscription[0], 1, "a subscription, not its end");
        subscription[1..].to_vec()
    }

    /// Waits until the gateway, after its connection was lost, asks anew.
    pub(crate) fn wait_for_subscription_again(&self) {
        while self.socket.recv_bytes(0).expect("a subscription or its end")[0] != 1 {}
    }

    /// Waits until the gateway asks for something else than before: `+PREFIX`, or `-PREFIX` where that ends.
    pub(crate) fn request(&self) -> String {
        let request = self.socket.recv_bytes(0).expect("a subscription or its end");
        let sign = if request[0] == 1 { '+' } else { '-' };
        format!("{sign}{}", String::from_utf8(request[1..].to_vec()).unwrap())
    }

    pub(crate) fn send(&self, parts: &[&[u8]]) {
        self.socket.send_multipart(parts, 0).unwrap();
    }

    fn of_kind(kind: zmq::SocketType) -> Self {
        let context = zmq::Context::new();
        let socket = context.socket(kind).unwrap();
        socket.set_sndhwm(0).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
        Self { socket, _context: context }
    }
}
