//! Deflated messages in a browser, which offers permessage-deflate without being asked to.

use crate::page::browser::Browser;
use crate::page::gateway::Gateway;

const LISTEN: &str = "
    function listen() {
        window.seen = [];
        window.socket = new WebSocket(`ws://${location.host}/ws`);
        socket.binaryType = 'arraybuffer';
        socket.onmessage = ({ data }) => seen.push(data);
    }
";

#[test]
fn a_browser_inflates_what_it_gets_and_deflates_what_it_says() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let gateway = Gateway::start_with(&["--compress"]);
    let publisher = gateway.publisher();
    // Any document of the gateway's origin will do.
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen()");
    browser.wait_for("socket.readyState === WebSocket.OPEN");
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(browser.eval("socket.extensions"), agreed);
    // It would be closed for as much that is not deflated.
    browser.eval("socket.send('what clients say '.repeat(1000))");
    for number in 0..500 {
        publisher.send("t", format!("{number} grüße, ").repeat(number));
    }
    publisher.send("t", [0xff; 5_000]);
    browser.wait_for("seen.length === 501");
    let are_right = "seen.slice(0, 500).every((text, at) => text === `${at} grüße, `.repeat(at))";
    assert_eq!(browser.eval(are_right), true);
    assert_eq!(browser.eval("seen[500].byteLength"), 5_000);
    assert_eq!(browser.eval("new Uint8Array(seen[500]).every((byte) => byte === 0xff)"), true);
    assert_eq!(browser.eval("socket.readyState === WebSocket.OPEN"), true);
}

#[test]
fn the_page_shows_what_came_deflated() {
    let Some(mut browser) = Browser::start() else { return };
    let gateway = Gateway::start_with(&["--compress"]);
    let publisher = gateway.publisher();
    browser.open(&format!("{}/?view=stream", gateway.page));
    browser.wait_for("document.getElementById('state').dataset.state === 'live'");
    publisher.send("t", "long enough ".repeat(100));
    let body = "document.querySelector('#messages li .body')";
    browser.wait_for(&format!("{body} !== null"));
    let shown = browser.eval(&format!("{body}.textContent"));
    assert!(shown.as_str().unwrap().starts_with("long enough long enough "), "{shown}");
    let count = "fetch('/metrics').then((answer) => answer.text())
        .then((text) => Number(/^zmq2ws_compress_in_bytes_total (\\d+)$/m.exec(text)[1]))";
    assert!(browser.eval(count).as_u64().unwrap() > 1_200);
}
