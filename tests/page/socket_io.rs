//! The bundle of socket.io-client in a browser against a real gateway, on a page that is no part of it.

use serde_json::json;

use crate::page::NO_COMPLAINTS;
use crate::page::browser::Browser;
use crate::page::gateway::Gateway;
use crate::support::node;

/// Connects and keeps what comes in `seen`, and what happens in `told`.
const LISTEN: &str = "
    async function listen(options) {
        const script = document.createElement('script');
        script.src = '/socket.io.min.js';
        document.head.append(script);
        await new Promise((resolve, reject) => {
            script.onload = resolve;
            script.onerror = () => reject(new Error(script.src));
        });
        window.seen = [];
        window.told = [];
        window.ways = new Set();
        window.socket = io(options);
        const transport = () => socket.io.engine.transport.name;
        socket.on('message', (body, topic) => {
            seen.push({ body, topic });
            ways.add(transport());
        });
        for (const name of ['connect', 'disconnect', 'connect_error', 'gap']) {
            socket.on(name, () => told.push(name));
        }
        for (const name of ['reconnect_attempt', 'error']) socket.io.on(name, () => told.push(name));
        socket.io.on('open', () => socket.io.engine.on('upgrade', () => { window.upgradedAt = seen.length; }));
    }
    function areInOrder(first, count) {
        const numbers = seen.slice(first).map(({ body }) => Number(body));
        return numbers.length >= count && numbers.every((number, at) => number === numbers[0] + at);
    }
";

/// What the browser complained about, but for the icon, which the folder of the bundle has not.
fn complaints(browser: &mut Browser) -> Vec<String> {
    let complaints = browser.complaints().into_iter();
    complaints.filter(|complaint| !complaint.contains("/favicon.ico")).collect()
}

#[test]
fn a_browser_goes_from_polling_to_websocket_and_loses_nothing() {
    let Some(packages) = node::modules("a browser's Socket.IO") else { return };
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let bundle = packages.join("socket.io-client/dist");
    let gateway = Gateway::start_with(&["--www", bundle.to_str().unwrap()]);
    let publisher = gateway.publisher();
    // Any document of the gateway's origin will do.
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen({ query: { topic: 'weather.' } })");
    let mut sent = 0;
    let mut send = |count: usize| {
        for _ in 0..count {
            publisher.send("news", "not wanted");
            publisher.send("weather.oslo", sent.to_string());
            sent += 1;
        }
        sent
    };
    // All the time while it connects and changes over.
    while browser.eval("window.upgradedAt === undefined") == true {
        send(5);
    }
    let sent = send(1_000);
    browser.wait_for(&format!("seen.length > 0 && seen.at(-1).body === '{}'", sent - 1));
    assert_eq!(browser.eval("areInOrder(0, 1000)"), true);
    assert_eq!(browser.eval("seen.every(({ topic }) => topic === 'weather.oslo')"), true);
    assert_eq!(browser.eval("ways.has('websocket')"), true);
    publisher.send("weather.oslo", b"\xff\x00");
    browser.wait_for("seen.at(-1).body instanceof ArrayBuffer");
    assert_eq!(browser.eval("[...new Uint8Array(seen.at(-1).body)]"), json!([255, 0]));
    assert_eq!(browser.eval("told"), json!(["connect"]), "it connects once");
    assert_eq!(complaints(&mut browser), NO_COMPLAINTS);
}

#[test]
fn a_browser_that_only_polls_gets_everything() {
    let Some(packages) = node::modules("a browser's Socket.IO") else { return };
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let bundle = packages.join("socket.io-client/dist");
    let gateway =
        Gateway::start_with(&["--www", bundle.to_str().unwrap(), "--ping-interval=100ms"]);
    let publisher = gateway.publisher();
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen({ transports: ['polling'] })");
    browser.wait_for("told.length > 0");
    for number in 0..1_000 {
        publisher.send("weather.oslo", number.to_string());
    }
    publisher.send("weather.oslo", b"\xff\x00");
    browser.wait_for("seen.length === 1001 && seen.at(-1).body instanceof ArrayBuffer");
    assert_eq!(browser.eval("seen.pop() && areInOrder(0, 1000) && seen[0].body"), "0");
    assert_eq!(browser.eval("told"), json!(["connect"]), "it connects once");
    assert_eq!(complaints(&mut browser), NO_COMPLAINTS);
}
