//! A program that decides who may connect to its gateway, by a cookie, and to which topics. It also sends a user away.
//!
//! `cargo run --example auth`, then what it prints in other terminals. Then type `public.news hello`, `of-alice.secret 42`,
//! and `/logout bob`.
#![allow(clippy::print_stdout, reason = "an example talks to who runs it")]

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};

use zmq2ws::{Access, CloseCode, Denial, Gateway, ListenAddr, PublishError};

/// A user who has logged in.
struct Session {
    /// What this program knows the user by.
    user: u64,
    topics: Vec<&'static str>,
}

const ALICE: u64 = 1;
const BOB: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let listen: ListenAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into()).parse()?;
    let sessions = Arc::new(Mutex::new(HashMap::from([
        ("5f1c", Session { user: ALICE, topics: vec!["public.", "of-alice."] }),
        ("09ab", Session { user: BOB, topics: vec!["public."] }),
    ])));
    let known = Arc::clone(&sessions);
    let running = Gateway::builder()
        .listen(listen)
        // Asked for every WebSocket, event stream and poll, on the gateway's thread: hold
        // this lock only briefly.
        .authorize(move |request| {
            let known = known.lock().expect("nobody panics while holding it");
            match request.cookie("session").and_then(|session| known.get(session)) {
                // A client that asks for everything gets these topics; one that asks for others is refused.
                Some(Session { user, topics }) => {
                    Access::allow_topics(topics.clone()).with_tag(*user)
                }
                None => Access::deny(Denial::Unauthorized),
            }
        })
        .spawn()?;
    let address = &running.listen_addresses()[0];
    println!("page {address}");
    println!("curl -N -b session=5f1c {address}/sse    # alice");
    println!("curl -N -b session=09ab {address}/sse    # bob");

    let handle = running.handle();
    for line in io::stdin().lines() {
        match line?.split_once(' ') {
            Some(("/logout", name)) => {
                let user = match name {
                    "alice" => ALICE,
                    "bob" => BOB,
                    _ => {
                        println!("expected alice or bob");
                        continue;
                    }
                };
                // First the session, so that the client does not come back with it.
                let mut sessions = sessions.lock().expect("nobody panics while holding it");
                sessions.retain(|_, session| session.user != user);
                drop(sessions);
                handle.disconnect(move |client| client.tag == Some(user), CloseCode::POLICY)?;
            }
            Some((topic, body)) => match handle.publish(topic, [body]) {
                // Lines come faster than clients can be sent them: this one is left out.
                Ok(()) | Err(PublishError::Full) => {}
                Err(error) => return Err(error.into()),
            },
            None => println!("expected a topic, a space and a body"),
        }
    }
    Ok(())
}
