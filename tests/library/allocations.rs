//! In the steady state a message costs no allocation, however many clients it goes to.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::allocator::allocations;
use crate::alone::alone;
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, FlushCompress};
use zmq2ws::{Builder, Gateway};

const CLIENTS: usize = 60;
const MESSAGES_PER_ROUND: usize = 20;
const ROUNDS: usize = 50;
const BODY_BYTES: usize = 100;
const WEB_SOCKETS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client asks for, and how many bytes it is owed for message `number`.
struct Transport {
    request: &'static str,
    answer_bytes: usize,
    message_bytes: fn(number: usize) -> usize,
}

const WEB_SOCKET: Transport = Transport {
    request: "GET /ws?format=raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    answer_bytes: "HTTP/1.1 101 Switching Protocols\r\nX-Content-Type-Options: nosniff\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .len(),
    message_bytes: |_| BODY_BYTES + 2,
};

/// As that, with messages deflated.
const DEFLATED: Transport = Transport {
    request: "GET /ws?format=raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    answer_bytes: WEB_SOCKET.answer_bytes
        + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
           client_no_context_takeover\r\n"
            .len(),
    message_bytes: |_| 2 + deflated_bytes(&digits()),
};

/// A body that becomes a little shorter when it is deflated. Of the shortest of frames a buffer takes so many that its table
/// of them is long in finding its size.
fn digits() -> Vec<u8> {
    let numbers = (1..=u32::MAX).map(|at| at.wrapping_mul(0x9e37_79b9));
    numbers.flat_map(|number| format!("{number:08x}").into_bytes()).take(BODY_BYTES).collect()
}

/// How many bytes a message has that is deflated as the gateway does it.
fn deflated_bytes(message: &[u8]) -> usize {
    let mut compress = Compress::new(Compression::new(2), false);
    compress.compress(message, &mut [0; 200], FlushCompress::Sync).unwrap();
    compress.total_out() as usize - 4
}

const EVENTS: Transport = Transport {
    request: "GET /sse?format=raw HTTP/1.1\r\nHost: a\r\n\r\n",
    answer_bytes: "HTTP/1.1 200 OK\r\nVary: Origin\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        X-Content-Type-Options: nosniff\r\nContent-Type: text/event-stream\r\n\
        Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\
        Connection: close\r\n\r\n17\r\nretry: 1000\n: zmq2ws\n\r\n"
        .len(),
    message_bytes: |number| {
        let content = "id: 00000000-\ndata: \n\n".len() + number.to_string().len() + BODY_BYTES;
        format!("{content:x}").len() + 2 + content + 2
    },
};

struct Client {
    stream: TcpStream,
    transport: &'static Transport,
    received: usize,
    owed: usize,
}

/// Reads what is there.
fn read(client: &mut Client, scratch: &mut [u8]) {
    loop {
        match client.stream.read(scratch) {
            Ok(0) => panic!("the gateway closed a client"),
            Ok(len) => client.received += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Turns the gateway until every client has what it is owed, and returns how many allocations its turns took.
fn turn_until_served(gateway: &mut Gateway, clients: &mut [Client]) -> usize {
    let mut scratch = [0; 65_536];
    let begun = Instant::now();
    let mut counted = 0;
    while clients.iter().any(|client| client.received < client.owed) {
        assert!(begun.elapsed() < PATIENCE, "messages do not arrive");
        let before = allocations();
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
        counted += allocations() - before;
        clients.iter_mut().for_each(|client| read(client, &mut scratch));
    }
    assert!(clients.iter().all(|client| client.received == client.owed));
    counted
}

fn connect(address: &str, transport: &'static Transport) -> Client {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(transport.request.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    Client { stream, transport, received: 0, owed: transport.answer_bytes }
}

/// Who wants what with a sequence number behind it.
const COUNTED: Transport =
    Transport { message_bytes: |_| BODY_BYTES + COUNTER_BYTES + 2, ..WEB_SOCKET };
const COUNTER_BYTES: usize = 4;

/// How many allocations [`ROUNDS`] take of messages whose parts behind the topic `parts` returns, by their number.
fn count(
    settings: &str,
    transport: fn(client: usize) -> &'static Transport,
    parts: &dyn Fn(usize) -> Vec<Vec<u8>>,
) -> usize {
    // Inside the process a turn finds all that was sent before it. What comes over TCP is found in portions of chance, and
    // a table that has only met small ones may have to grow long after it seemed to have found its size.
    let context = zmq::Context::new();
    let publisher = context.socket(zmq::XPUB).unwrap();
    publisher.bind("inproc://feed").unwrap();
    // A ping has bytes of its own, and on a busy machine the first of them is due before the last round.
    let settings =
        format!("listen = ['127.0.0.1:0']\nmax-clients = 200\nping-interval = '1h'\n{settings}");
    let builder = Builder::from_toml(&settings, "test.toml").unwrap();
    let mut gateway = builder.zmq_context(&context).connect("inproc://feed").build().unwrap();
    publisher.set_rcvtimeo(0).unwrap();
    let begun = Instant::now();
    while publisher.recv_bytes(0).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the gateway does not subscribe");
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
    }

    let address = gateway.listen_addresses()[0].replace("http://", "");
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|number| connect(&address, transport(number))).collect();
    let connecting = turn_until_served(&mut gateway, &mut clients);
    assert!(connecting > CLIENTS, "the counter counts");

    let mut number = 0;
    let mut round = || {
        for _ in 0..MESSAGES_PER_ROUND {
            number += 1;
            publisher.send("topic", zmq::SNDMORE).unwrap();
            publisher.send_multipart(parts(number), 0).unwrap();
            for client in &mut clients {
                client.owed += (client.transport.message_bytes)(number);
            }
        }
        turn_until_served(&mut gateway, &mut clients)
    };
    // Until every table has found its size, and history is full.
    for _ in 0..100 {
        round();
    }
    (0..ROUNDS).map(|_| round()).sum()
}

#[test]
fn a_message_costs_no_allocation_in_the_steady_state() {
    alone(|| {
        let transport = |number| if number < WEB_SOCKETS { &WEB_SOCKET } else { &EVENTS };
        let plain = count("", transport, &|_| vec![vec![b'x'; BODY_BYTES]]);
        assert_eq!(plain, 0);
        if !cfg!(feature = "compress") {
            return;
        }
        let transport = |number| if number < WEB_SOCKETS { &DEFLATED } else { &WEB_SOCKET };
        let settings = "compress = true\ncompress-min = 1";
        let deflated = count(settings, transport, &|_| vec![digits()]);

        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[b'x'; BODY_BYTES]).unwrap();
        let body = encoder.finish().unwrap();
        // Every tenth message is lost on the way.
        let counter = |number: usize| (number as u32 + number as u32 / 10).to_le_bytes().to_vec();
        let settings = "decode = 'zlib'\nsequence = '2:u32le'";
        let inflated = count(settings, |_| &COUNTED, &|number| vec![body.clone(), counter(number)]);
        let deliveries = ROUNDS * MESSAGES_PER_ROUND * CLIENTS;
        println!("{deflated} and {inflated} allocations for {deliveries} deliveries each");
        assert_eq!((deflated, inflated), (0, 0));
    });
}
