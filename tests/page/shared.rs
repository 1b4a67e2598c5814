//! `shared: true`: tabs of one browser have one connection, and its hand-over loses nothing.

use serde_json::json;

use crate::page::browser::Browser;
use crate::page::gateway::Gateway;

/// Frames stand for tabs: each has its own module and its own feed.
const FRAMES: &str = "
    var frames = [];
    async function begin(count, options) {
        for (let at = 0; at < count; at += 1) {
            const frame = document.createElement('iframe');
            frame.src = '/healthz';
            document.body.append(frame);
            await new Promise((go) => (frame.onload = go));
            const script = frame.contentDocument.createElement('script');
            script.textContent = `
                var seen = [], gaps = [], feed;
                import('/zmq2ws.js').then(({ zmq2ws }) => {
                    feed = zmq2ws('/', ${options});
                    feed.on('message', ({ data }) => seen.push(data));
                    feed.on('gap', (gap) => gaps.push(gap));
                });`;
            frame.contentDocument.body.append(script);
            frames.push(frame);
        }
    }
    function each(read) { return frames.filter((it) => it.isConnected).map((it) => read(it.contentWindow)); }
    function states() { return each(({ feed }) => feed?.status.state); }
    function haveAll(count) {
        return each(({ feed, seen }) => feed.status.state === 'closed' ||
            (seen.length === count && seen.every((body, at) => body === String(at)))).every(Boolean);
    }
    async function clients() { return (await (await fetch('/status')).json()).clients; }
";

#[test]
fn tabs_share_one_connection_and_hand_it_over_without_a_gap() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(FRAMES);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("begin(5, '{ shared: true, retryMin: 50, retryMax: 100 }')");
    browser.wait_for("states().join() === 'open,open,open,open,open'");
    assert_eq!(browser.eval("clients()"), 1);

    let mut sent = 0;
    let mut send = |count: u32| {
        for _ in 0..count {
            publisher.send("n", sent.to_string());
            sent += 1;
        }
        sent
    };
    let count = send(100);
    browser.wait_for(&format!("haveAll({count})"));
    // The leader says that it goes; then its tab is gone without a word.
    for leave in ["frames[0].contentWindow.feed.close()", "frames[1].remove()"] {
        send(50);
        browser.eval(leave);
        let count = send(50);
        browser.wait_for(&format!("haveAll({count})"));
        browser.wait_for("states().filter((state) => state === 'open').length >= 3");
        let count = send(50);
        browser.wait_for(&format!("haveAll({count})"));
        browser.wait_for("(await clients()) === 1");
    }
    assert_eq!(browser.eval("each(({ gaps }) => gaps.length).join()"), "0,0,0,0");
    assert_eq!(browser.eval("frames[0].contentWindow.feed.status"), json!({"state": "closed"}));

    // Another question is another connection.
    browser.eval("begin(1, \"{ shared: true, topics: ['other'] }\")");
    browser.wait_for("(await clients()) === 2");
}

#[test]
fn a_refusal_closes_the_feeds_of_all_tabs() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(FRAMES);
    let gateway = Gateway::start();
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("begin(2, \"{ shared: true, topics: ['x'.repeat(300)] }\")");
    browser.wait_for("states().join() === 'closed,closed'");
    assert_eq!(browser.eval("each(({ feed }) => feed.status.error.status).join()"), "400,400");
}
