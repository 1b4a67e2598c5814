//! A gateway as people write it with tokio: axum, one broadcast channel, and libzmq in a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use clap::Parser;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many messages a client may be behind before it loses the oldest.
const CHANNEL_MESSAGES: usize = 4096;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    zmq: String,
    #[arg(long)]
    listen: SocketAddr,
}

#[derive(Clone)]
struct App {
    messages: broadcast::Sender<Utf8Bytes>,
    lagged: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let app = App { messages: broadcast::Sender::new(CHANNEL_MESSAGES), lagged: Arc::default() };

    let socket = zmq::Context::new().socket(zmq::SUB)?;
    socket.set_rcvhwm(10_000)?;
    socket.set_subscribe(b"")?;
    socket.connect(&args.zmq)?;
    let messages = app.messages.clone();
    thread::spawn(move || forward(&socket, &messages));

    let tcp = match args.listen {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    tcp.set_reuseaddr(true)?;
    tcp.bind(args.listen)?;
    let listener = tcp.listen(4096)?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on {}", listener.local_addr()?);

    let lagged = app.lagged.clone();
    let router = Router::new().route("/ws", any(upgrade)).with_state(app);
    let listener = listener.tap_io(|stream| {
        // A connection that is gone already is found out by whoever reads it.
        let _ = stream.set_nodelay(true);
    });
    tokio::select! {
        result = axum::serve(listener, router).into_future() => result?,
        _ = terminate.recv() => {}
    }
    eprintln!("lagged: {}", lagged.load(Ordering::Relaxed));
    Ok(())
}

fn forward(socket: &zmq::Socket, messages: &broadcast::Sender<Utf8Bytes>) {
    loop {
        match socket.recv_multipart(0) {
            Ok(mut parts) => {
                let body = parts.pop().unwrap_or_default();
                let text = String::from_utf8_lossy(&body).into_owned();
                // Nobody listens: nobody misses it.
                let _ = messages.send(text.into());
            }
            Err(zmq::Error::EINTR) => {}
            Err(error) => {
                eprintln!("cannot receive: {error}");
                return;
            }
        }
    }
}

async fn upgrade(upgrade: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade.on_upgrade(|socket| serve(socket, app))
}

async fn serve(mut socket: WebSocket, app: App) {
    let mut messages = app.messages.subscribe();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(text) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    app.lagged.fetch_add(missed, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return,
            },
            // Pings are answered and data is dropped; the end is what matters here.
            input = socket.recv() => if !matches!(input, Some(Ok(_))) {
                return;
            },
        }
    }
}
