//! Whatever ends a gateway, nothing of it is left in the process: no thread, no descriptor, no file.

use std::any::Any;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::alone::alone;
use crate::support::websocket::Raw;
use crate::support::{TempDir, wait_until};
use zmq2ws::{Builder, CloseCode, Gateway};

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

fn builder(ipc: &Path) -> Builder {
    let builder = Gateway::builder().bind(&format!("ipc://{}", ipc.display()));
    builder.bind("tcp://127.0.0.1:*").listen(([127, 0, 0, 1], 0))
}

/// Turns a gateway until a client is in, and hands both on.
fn with_client(ipc: &Path) -> (Gateway, Raw) {
    let mut gateway = builder(ipc).build().unwrap();
    let address = gateway.listen_addresses()[0].strip_prefix("http://").unwrap().parse().unwrap();
    let client = std::thread::spawn(move || Raw::open(address, "/ws"));
    while gateway.clients().is_empty() {
        gateway.turn(Some(Duration::from_millis(10))).unwrap();
    }
    // The answer may be on its way still.
    while !client.is_finished() {
        gateway.turn(Some(Duration::from_millis(1))).unwrap();
    }
    (gateway, client.join().unwrap())
}

fn panic_with_a_handle(ipc: &Path) -> Box<dyn Any> {
    let running = builder(ipc).spawn().unwrap();
    let handle = running.handle();
    let host = std::thread::spawn(move || {
        handle.publish("t", ["published"]).unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        handle.adopt(near, "GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        wait_until("a client", || handle.stats().unwrap().clients == 1);
        // On the gateway's thread, and on this one.
        handle.disconnect(|_| panic!("on purpose"), CloseCode::POLICY).unwrap();
        panic!("on purpose");
    });
    assert!(host.join().is_err());
    let handle = running.handle();
    wait_until("the client's end", || handle.stats().unwrap().connections == 0);
    assert_eq!(handle.stats().unwrap().messages_published, 1);
    drop(running);
    Box::new(handle)
}

fn drop_handles(ipc: &Path) -> Box<dyn Any> {
    let running = builder(ipc).spawn().unwrap();
    running.handle().stats().unwrap();
    let before = held();
    for _ in 0..10 {
        let handle = running.handle();
        handle.publish("t", ["published"]).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        handle.adopt(near, "GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        drop((handle.clone(), handle, far));
    }
    wait_until("nothing of theirs", || held() == before);
    let stats = running.handle().stats().unwrap();
    assert_eq!((stats.messages_published, stats.connections), (10, 0));
    drop(running);
    Box::new(())
}

/// One test, since threads and descriptors are the process's.
#[test]
fn nothing_is_left_whatever_ends_a_gateway() {
    alone(|| {
        let folder = TempDir::new();
        let ipc: PathBuf = folder.path().join("feed");
        type End = fn(&Path) -> Box<dyn Any>;
        let ends: [(&str, End); 8] = [
            ("a gateway that was never turned", |ipc| {
                let gateway = builder(ipc).build().unwrap();
                assert!(ipc.exists());
                // A handle outlives it, and holds nothing.
                Box::new(gateway.handle())
            }),
            ("a gateway that is dropped between turns", |ipc| {
                let (gateway, client) = with_client(ipc);
                let handle = gateway.handle();
                handle.publish("t", ["never published"]).unwrap();
                drop((gateway, client));
                Box::new(handle)
            }),
            ("a host that panics while it turns", |ipc| {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let (mut gateway, _client) = with_client(ipc);
                    gateway.turn(Some(Duration::ZERO)).unwrap();
                    panic!("on purpose");
                }));
                assert!(panicked.is_err());
                Box::new(())
            }),
            ("a host that panics beside a gateway on a thread of its own", |ipc| {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let running = builder(ipc).drain(Duration::from_millis(100)).spawn().unwrap();
                    assert!(ipc.exists() && running.handle().stats().is_ok());
                    panic!("on purpose");
                }));
                assert!(panicked.is_err());
                Box::new(())
            }),
            (
                "a thread of the host's that panics beside a gateway that goes on",
                panic_with_a_handle,
            ),
            ("handles that are dropped beside a gateway that goes on", drop_handles),
            ("a gateway that was shut down", |ipc| {
                let running = builder(ipc).spawn().unwrap();
                let handle = running.handle();
                handle.shutdown();
                running.join().unwrap();
                Box::new(handle)
            }),
            ("a gateway that could not be opened", |ipc| {
                let error = builder(ipc).connect("tcp://127.0.0.1:1").bind("tcp://203.0.113.1:1");
                assert!(error.spawn().is_err());
                Box::new(())
            }),
        ];
        let before = held();
        for (what, end) in ends {
            let kept = end(&ipc);
            wait_until(what, || held() == before && !ipc.exists());
            drop(kept);
        }
    });
}
