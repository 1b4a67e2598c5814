//! The floor: what a server of ready-made frames cannot do without. It has no policy, no limits and no second thoughts; a
//! client that reads slowly stops it. It is what the gateway is measured by.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use tungstenite::handshake::derive_accept_key;
use zmq::{Context, DONTWAIT, Message, SUB, Socket};

use crate::Result;
use crate::flow::WINDOW_BYTES;

/// What is drained at most before it is sent: twice the publisher's window, so that the window ends a batch and this
/// never does.
const BATCH_BYTES: usize = 2 * WINDOW_BYTES;

/// When what was received is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sends {
    /// One send per client and message.
    Message,
    /// One send per client and batch: what could be received without waiting.
    Batch,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// The publisher to connect to.
    #[arg(long)]
    zmq: String,
    /// Where to listen.
    #[arg(long)]
    listen: String,
    /// How many clients to accept before the first message is received.
    #[arg(long)]
    clients: usize,
    #[arg(long, value_enum)]
    sends: Sends,
    /// How many bytes stand before each message's body, so that frames are as long as those of another server.
    #[arg(long, default_value_t = 0)]
    envelope: usize,
}

/// Serves until it is killed.
pub(crate) fn run(args: &FloorArgs) -> Result<()> {
    let listener = listen(&args.listen)?;
    let context = Context::new();
    let socket = context.socket(SUB)?;
    // What any server of the bench has: the window of the publisher bounds what waits here.
    socket.set_rcvhwm(10_000)?;
    socket.connect(&args.zmq)?;
    socket.set_subscribe(b"")?;
    // What it takes up from here to the first client is libzmq's.
    say(&format!("listening on {}\n", listener.local_addr()?))?;
    let clients = (0..args.clients).map(|_| accept(&listener)).collect::<Result<Vec<_>>>()?;
    broadcast(&socket, &clients, args)
}

/// Also takes in what a thousand clients ask for at once.
pub(crate) fn listen(address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (mut client, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut request = [0; 1024];
    let mut len = 0;
    while !request[..len].ends_with(b"\r\n\r\n") {
        match client.read(&mut request[len..])? {
            0 => return Err("a client left, or sent too much".into()),
            read => len += read,
        }
    }
    let request = std::str::from_utf8(&request[..len])?;
    let key = request.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split('\r').next());
    let accept = derive_accept_key(key.ok_or("a request without a key")?.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    client.write_all(response.as_bytes())?;
    Ok(client)
}

fn broadcast(socket: &Socket, clients: &[TcpStream], args: &FloorArgs) -> Result<()> {
    let mut message = Message::new();
    let mut frames = Vec::with_capacity(2 * BATCH_BYTES);
    loop {
        let mut flags = 0;
        while frames.len() < BATCH_BYTES {
            match receive_body(socket, &mut message, flags) {
                Ok(()) => append_frame(&mut frames, args.envelope, &message),
                Err(zmq::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            if args.sends == Sends::Message {
                break;
            }
            flags = DONTWAIT;
        }
        for mut client in clients {
            client.write_all(&frames)?;
        }
        frames.clear();
    }
}

/// The last part is the body; a topic before it is for the gateway.
fn receive_body(socket: &Socket, message: &mut Message, flags: i32) -> zmq::Result<()> {
    socket.recv(message, flags)?;
    while message.get_more() {
        socket.recv(message, 0)?;
    }
    Ok(())
}

fn append_frame(frames: &mut Vec<u8>, envelope: usize, body: &[u8]) {
    let len = envelope + body.len();
    frames.push(0x81);
    match u16::try_from(len) {
        Ok(short @ ..126) => frames.push(short as u8),
        Ok(medium) => {
            frames.push(126);
            frames.extend_from_slice(&medium.to_be_bytes());
        }
        Err(_) => {
            frames.push(127);
            frames.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frames.resize(frames.len() + envelope, b'-');
    frames.extend_from_slice(body);
}

pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
