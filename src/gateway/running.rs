//! A gateway on a thread of its own. Knows nothing of what it does there.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::{Builder, Handle};
use crate::error::Error;

/// A gateway that runs on a thread of its own ([`Builder::spawn`]).
///
/// Dropping it is [`Handle::shutdown`] and waits for the end, as long as [`Builder::drain`] says at the most, and the call of a
/// hook that is under way: nothing is left running behind a host that returns early or panics.
///
/// # Examples
///
/// ```
/// use zmq2ws::Gateway;
///
/// let running = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .listen(([127, 0, 0, 1], 0))
///     .metrics(([127, 0, 0, 1], 0))
///     .spawn()?;
/// println!("producers connect to {}", running.endpoints()[0]);
/// println!("clients to {}", running.listen_addresses()[0]);
/// println!("figures are at {}/metrics", running.metrics_addresses()[0]);
/// running.handle().shutdown();
/// running.join()?;
/// # Ok::<(), zmq2ws::Error>(())
/// ```
#[must_use = "dropping it stops the gateway: keep it as long as that is to run"]
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    listen_addresses: Vec<String>,
    metrics_addresses: Vec<String>,
    endpoints: Vec<String>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// What there is to know of a gateway once it is open.
struct Opened {
    handle: Handle,
    listen_addresses: Vec<String>,
    metrics_addresses: Vec<String>,
    endpoints: Vec<String>,
}

impl Running {
    pub(super) fn start(builder: Builder) -> Result<Self, Error> {
        let (opened, opening) = mpsc::sync_channel(1);
        let run = move || {
            let gateway = match builder.build() {
                Ok(gateway) => gateway,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return Ok(());
                }
            };
            let facts = Opened {
                handle: gateway.handle(),
                listen_addresses: gateway.listen_addresses(),
                metrics_addresses: gateway.metrics_addresses(),
                endpoints: gateway.endpoints(),
            };
            let _ = opened.send(Ok(facts));
            gateway.run()
        };
        let thread = thread::Builder::new()
            .name("zmq2ws".into())
            .spawn(run)
            .map_err(|source| Error::System { action: "cannot start a thread", source })?;
        match opening.recv() {
            Ok(Ok(Opened { handle, listen_addresses, metrics_addresses, endpoints })) => {
                let thread = Some(thread);
                Ok(Self { handle, listen_addresses, metrics_addresses, endpoints, thread })
            }
            Ok(Err(error)) => {
                // It has nothing left to do; no thread is left behind an error.
                let _ = thread.join();
                Err(error)
            }
            Err(mpsc::RecvError) => std::panic::resume_unwind(
                thread.join().err().unwrap_or_else(|| Box::new("the gateway did not start")),
            ),
        }
    }

    /// Something to speak to the gateway with, from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// As [`Gateway::listen_addresses`](crate::Gateway::listen_addresses).
    pub fn listen_addresses(&self) -> &[String] {
        &self.listen_addresses
    }

    /// As [`Gateway::metrics_addresses`](crate::Gateway::metrics_addresses).
    pub fn metrics_addresses(&self) -> &[String] {
        &self.metrics_addresses
    }

    /// As [`Gateway::endpoints`](crate::Gateway::endpoints).
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Waits until the gateway has ended. Does not tell it to: that is [`Handle::shutdown`], before or from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Gateway::run`](crate::Gateway::run).
    ///
    /// # Panics
    ///
    /// When the gateway's thread did, with the same payload: that is a fault of this crate.
    pub fn join(mut self) -> Result<(), Error> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(payload)) => std::panic::resume_unwind(payload),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.shutdown();
        // In a hook, it would wait for itself.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}
