//! A gateway behind an async server: axum answers requests, WebSocket handshakes included, and hands the upgraded connection
//! to the gateway, on whose thread no runtime turns.
//!
//! `cargo run` in this folder, then http://127.0.0.1:8080, then type.

use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::{Parts, downcast};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::{TcpListener, TcpStream};
use tungstenite::handshake::server::create_response_with_body;
use zmq2ws::{Gateway, Handle, PublishError};

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>axum and its gateway</title>
<p>What is typed where this server runs:
<pre></pre>
<script>
  const socket = new WebSocket(`ws://${location.host}/live?topic=typed`);
  const text = document.querySelector("pre");
  socket.onmessage = ({ data }) => text.append(data + "\n");
</script>
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    println!("page http://{}", listener.local_addr()?);
    let running = Gateway::builder().spawn()?;
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/live", get(live))
        .with_state(running.handle());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        // It does not wait, so it may be called here.
        match running.handle().publish("typed", [line]) {
            // Lines come faster than clients can be sent them: this one is left out.
            Ok(()) | Err(PublishError::Full) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Says goodbye and waits for that, which is no task for the runtime's thread.
    Ok(tokio::task::spawn_blocking(|| drop(running)).await?)
}

async fn live(State(gateway): State<Handle>, mut request: Request) -> Response {
    // The handshake is axum's here, so these are, too: who may connect, and whether the query can be followed.
    if !is_same_origin(request.headers()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let target = request.uri().to_string();
    if let Err(error) = gateway.check_target(&target) {
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    match create_response_with_body(&request, Body::empty) {
        Ok(response) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Err(error) = hand_over(upgrade, &gateway, &target).await {
                    eprintln!("{target}: {error}");
                }
            });
            response
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Takes the connection from hyper, once the answer is out, and gives it to the gateway.
async fn hand_over(
    upgrade: OnUpgrade,
    gateway: &Handle,
    target: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let upgraded = downcast::<TokioIo<TcpStream>>(upgrade.await?);
    let Parts { io, read_buf, .. } = upgraded.map_err(|_| "not a TCP connection")?;
    // `into_std` takes it from the runtime; a client may have sent frames behind its request.
    Ok(gateway.adopt_websocket(io.into_inner().into_std()?, target, read_buf)?)
}

/// Browsers let any page open a WebSocket to any host.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = field("origin") else { return true };
    origin.split_once("://").map(|(_, host)| host) == field("host")
}
