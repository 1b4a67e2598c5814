//! Where messages come from: a ZeroMQ socket, datagrams, or both. Knows not what is done with them.

use std::error::Error;
use std::io;

use zmq2ws_examples::datagram;
use zmq2ws_examples::endpoint::{Endpoint, ZmqEndpoint};
use zmq2ws_examples::multicast::{Dish, reachable};
use zmq2ws_examples::process::ATTENTION_MS;
use zmq2ws_examples::sockets;

use crate::args::Args;
use crate::say;

/// The longest datagram that there is, and a byte more.
const BUFFER_BYTES: usize = 1 << 16;

pub(crate) struct Intake {
    socket: Option<zmq::Socket>,
    dishes: Vec<Dish>,
    /// Which of them is asked first: one that is busy must not silence the others.
    turn: usize,
    topics: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    malformed: u64,
}

impl Intake {
    /// Opens what the endpoints ask for, and tells the user about each.
    ///
    /// # Errors
    ///
    /// One line that names the endpoint and the reason.
    pub(crate) fn open(context: &zmq::Context, args: &Args) -> Result<Self, Box<dyn Error>> {
        let (bind, connect) = (zmq_endpoints(&args.bind), zmq_endpoints(&args.connect));
        let topics: Vec<Vec<u8>> =
            args.topic.iter().map(|topic| topic.clone().into_bytes()).collect();
        let mut socket = None;
        if !bind.is_empty() || !connect.is_empty() {
            socket = Some(open_socket(context, &bind, &connect, &topics, args.hwm)?);
        }
        let mut dishes = Vec::new();
        for endpoint in &args.connect {
            if let Endpoint::Udp(udp) = endpoint {
                let dish = Dish::open(udp)?;
                say(&format!("listening on {}", reachable(udp, dish.address()?)));
                dishes.push(dish);
            }
        }
        Ok(Self { socket, dishes, turn: 0, topics, buffer: vec![0; BUFFER_BYTES], malformed: 0 })
    }

    /// Puts the parts of the next message in place of those of the last; false when no message is
    /// ready.
    pub(crate) fn receive(&mut self, parts: &mut Vec<Vec<u8>>) -> Result<bool, Box<dyn Error>> {
        let sources = usize::from(self.socket.is_some()) + self.dishes.len();
        for _ in 0..sources {
            self.turn = (self.turn + 1) % sources;
            let is_there = match self.dishes.get(self.turn) {
                Some(_) => self.receive_datagram(self.turn, parts)?,
                None => self.receive_message(parts)?,
            };
            if is_there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until something may have come, or a signal may have.
    pub(crate) fn wait(&self) -> zmq::Result<()> {
        let mut items = Vec::new();
        items.extend(self.socket.as_ref().map(|socket| socket.as_poll_item(zmq::POLLIN)));
        let dish = |dish: &Dish| zmq::PollItem::from_fd(dish.raw_fd(), zmq::POLLIN);
        items.extend(self.dishes.iter().map(dish));
        match zmq::poll(&mut items, ATTENTION_MS.into()) {
            Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What was lost, as far as that is known here.
    pub(crate) fn report(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.dishes.is_empty() {
            let dropped: u64 = self.dishes.iter().filter_map(Dish::dropped).sum();
            let malformed = self.malformed;
            lines.push(format!(
                "datagrams: {dropped} that the system had no room for, {malformed} malformed"
            ));
        }
        lines
    }

    fn receive_message(&mut self, parts: &mut Vec<Vec<u8>>) -> zmq::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        match socket.recv_multipart(zmq::DONTWAIT) {
            Ok(message) => {
                *parts = message;
                Ok(true)
            }
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn receive_datagram(&mut self, index: usize, parts: &mut Vec<Vec<u8>>) -> io::Result<bool> {
        while let Some(bytes) = self.dishes[index].receive(&mut self.buffer)? {
            match datagram::read(bytes) {
                None => self.malformed += 1,
                Some((topic, body)) if is_wanted(&self.topics, topic) => {
                    *parts = vec![topic.to_vec(), body.to_vec()];
                    return Ok(true);
                }
                // A publisher sends all of its topics to a group.
                Some(_) => {}
            }
        }
        Ok(false)
    }
}

fn open_socket(
    context: &zmq::Context,
    bind: &[&ZmqEndpoint],
    connect: &[&ZmqEndpoint],
    topics: &[Vec<u8>],
    hwm: i32,
) -> Result<zmq::Socket, Box<dyn Error>> {
    let mut socket = context.socket(zmq::SUB)?;
    socket.set_rcvhwm(hwm)?;
    sockets::set_repair_rate(&socket)?;
    // Before the first connection, so that its subscriptions are there from the start.
    for topic in topics {
        socket.set_subscribe(topic)?;
    }
    if topics.is_empty() {
        socket.set_subscribe(b"")?;
    }
    let said = sockets::attach(&mut socket, bind, connect)?;
    said.iter().for_each(|line| say(line));
    Ok(socket)
}

fn is_wanted(topics: &[Vec<u8>], topic: &[u8]) -> bool {
    topics.is_empty() || topics.iter().any(|prefix| topic.starts_with(prefix))
}

fn zmq_endpoints(endpoints: &[Endpoint]) -> Vec<&ZmqEndpoint> {
    endpoints.iter().filter_map(Endpoint::zmq).collect()
}
