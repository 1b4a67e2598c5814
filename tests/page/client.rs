//! `zmq2ws.js` in a real browser, behind good and bad proxies: every message once and in order, whatever carries it.

use serde_json::json;

use crate::page::browser::Browser;
use crate::page::gateway::{Gateway, Publisher};
use crate::page::proxy::{Proxy, Treatment};
use crate::page::wait_until;
use Treatment::{Buffer, Pass, Refuse, Swallow};

/// Makes feeds, and keeps what they tell.
pub(crate) const LISTEN: &str = "
    var seen = [], gaps = [], states = [], feed;
    async function listen(options, url = '/') {
        const { zmq2ws } = await import('/zmq2ws.js');
        feed = zmq2ws(url, options);
        feed.on('message', (message) => seen.push(message));
        feed.on('gap', (gap) => gaps.push(gap));
        feed.on('state', (state) => states.push(state));
    }
    function carrier() { return feed.status.state === 'open' ? feed.status.transport : feed.status.state; }
    function bodies() { return seen.map(({ data }) => data); }
";

/// Times that make a test short.
pub(crate) const QUICK: &str = "timeout: 2000, retryMin: 50, retryMax: 200";

/// A browser with a document of the proxy's, and what is behind that.
pub(crate) struct Stage {
    pub(crate) browser: Browser,
    pub(crate) proxy: Proxy,
    pub(crate) gateway: Gateway,
}

/// `None` where there is no browser.
pub(crate) fn stage(args: &[&str]) -> Option<Stage> {
    let mut browser = Browser::start()?;
    browser.run_in_new_documents(LISTEN);
    let gateway = Gateway::start_with(args);
    let proxy = Proxy::start(&gateway.page);
    browser.open(&format!("{}/healthz", proxy.page()));
    Some(Stage { browser, proxy, gateway })
}

fn send_numbers(publisher: &Publisher, numbers: std::ops::Range<u32>) {
    for number in numbers {
        publisher.send("n", number.to_string());
    }
}

/// Whether the bodies are the numbers from 0 up to `end`.
fn are_numbers(end: u32) -> String {
    format!("seen.length === {end} && bodies().every((body, at) => body === String(at))")
}

#[test]
fn every_kind_of_message_arrives_on_every_transport() {
    let Some(Stage { mut browser, proxy: _proxy, gateway }) = stage(&[]) else { return };
    let publisher = gateway.publisher();
    for transport in ["websocket", "sse", "poll"] {
        browser.eval("feed?.close(), seen.length = 0, gaps.length = 0");
        browser.eval(&format!(
            "listen({{ topics: ['weather.'], exact: ['ä b&c'], transports: ['{transport}'] }})"
        ));
        browser.wait_for(&format!("carrier() === '{transport}'"));
        publisher.send("news", "not wanted");
        publisher.send("ä b&c longer", "not wanted");
        publisher.send("ä b&c", "");
        publisher.send("weather.oslo", "4,5 °C\r\n\ndata: x\0");
        publisher.send_parts(&[b"weather.a", b"1", b"", b"3"]);
        publisher.send("weather.b", b"\x00\xff\x80");
        publisher.send_parts(&[b"weather.\xff", b"text", b"\xfe"]);
        browser.wait_for("seen.length === 5");
        let plain = "JSON.parse(JSON.stringify(seen, (_, value) =>
            value instanceof Uint8Array ? { bytes: [...value] } : value))
            .map(({ topic, data }) => [topic, data])";
        let expected = json!([
            ["ä b&c", ""],
            ["weather.oslo", "4,5 °C\r\n\ndata: x\0"],
            ["weather.a", ["1", "", "3"]],
            ["weather.b", {"bytes": [0, 255, 128]}],
            [
                {"bytes": [119, 101, 97, 116, 104, 101, 114, 46, 255]},
                ["text", {"bytes": [254]}],
            ],
        ]);
        assert_eq!(browser.eval(plain), expected, "{transport}");
        let ids = "seen.every(({ id }) => /^[a-z0-9]{8}-[0-9]+$/.test(id))";
        assert_eq!(browser.eval(ids), true, "{transport}");
        assert_eq!(browser.eval("gaps.length"), 0);
    }
}

#[test]
fn a_websocket_that_is_blocked_gives_way_to_events() {
    // The proxy alone decides how long something takes.
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--handshake-timeout=1h"]) else {
        return;
    };
    let publisher = gateway.publisher();
    for treatment in [Refuse, Swallow, Buffer] {
        proxy.treat(treatment, Pass);
        browser.eval("feed?.close(), seen.length = 0, states.length = 0");
        browser.eval(&format!("listen({{ {QUICK} }})"));
        if treatment == Buffer {
            // What is opened may still be swallowed: only what should have come shows that.
            browser.wait_for("carrier() === 'websocket'");
            send_numbers(&publisher, 0..3);
        }
        browser.wait_for("carrier() === 'sse'");
        if treatment != Buffer {
            send_numbers(&publisher, 0..3);
        }
        browser.wait_for(&are_numbers(3));
        let waits = "states.filter(({ state }) => state === 'waiting').length";
        assert_eq!(browser.eval(waits), 0, "the next transport has its turn at once");
    }
}

#[test]
fn events_that_are_blocked_give_way_to_polls() {
    // The proxy alone decides how long something takes.
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--handshake-timeout=1h"]) else {
        return;
    };
    let publisher = gateway.publisher();
    for treatment in [Refuse, Swallow, Buffer] {
        proxy.treat(Refuse, treatment);
        browser.eval("feed?.close(), seen.length = 0");
        browser.eval(&format!("listen({{ {QUICK} }})"));
        browser.wait_for("carrier() === 'poll'");
        send_numbers(&publisher, 0..300);
        browser.wait_for(&are_numbers(300));
        // It is remembered: who comes back does not try again what is known to be blocked.
        let tries = proxy.requests("/ws").len() + proxy.requests("/sse").len();
        proxy.cut();
        browser.wait_for("states.at(-2)?.state === 'connecting' && carrier() === 'poll'");
        publisher.send("n", "300");
        browser.wait_for(&are_numbers(301));
        assert_eq!(proxy.requests("/ws").len() + proxy.requests("/sse").len(), tries);
    }
    assert_eq!(browser.eval("gaps.length"), 0);
}

#[test]
fn a_thousand_messages_stay_in_order_over_all_transports_and_back() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    let publisher = gateway.publisher();
    browser.eval(&format!("listen({{ {QUICK}, upgradeAfter: 400 }})"));
    browser.wait_for("carrier() === 'websocket'");
    let steps = [("websocket", Refuse, Pass), ("sse", Refuse, Buffer), ("poll", Pass, Pass)];
    for (step, (transport, websocket, events)) in (0..).zip(steps) {
        browser.wait_for(&format!("carrier() === '{transport}'"));
        send_numbers(&publisher, step * 300..step * 300 + 150);
        browser.wait_for("seen.length > 0");
        proxy.treat(websocket, events);
        if transport != "poll" {
            proxy.cut();
        }
        // While nothing is open, or a better transport takes over.
        send_numbers(&publisher, step * 300 + 150..step * 300 + 300);
    }
    browser.wait_for("carrier() === 'websocket'");
    send_numbers(&publisher, 900..1_000);
    browser.wait_for("bodies().includes('999')");
    assert_eq!(browser.eval(&are_numbers(1_000)), true, "{:?}", browser.eval("bodies()"));
    assert_eq!(browser.eval("gaps.length"), 0);
    let used =
        "[...new Set(states.flatMap(({ state, transport }) => state === 'open' ? transport : []))]";
    assert_eq!(browser.eval(used), json!(["websocket", "sse", "poll"]));
    // The better transport was tried beside the one in use, which went on.
    let last = browser.eval("states.slice(-2).map(({ state }) => state)");
    assert_eq!(last, json!(["open", "open"]));
}

#[test]
fn a_better_transport_takes_over_while_messages_flow() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    let publisher = gateway.publisher();
    proxy.treat(Refuse, Pass);
    browser.eval(&format!("listen({{ {QUICK}, upgradeAfter: 300 }})"));
    browser.wait_for("carrier() === 'sse'");
    // Tried, refused, and tried again later.
    let tries = proxy.requests("/ws").len();
    wait_until("two more tries", || {
        publisher.send("other", "x");
        browser.eval("0");
        proxy.requests("/ws").len() >= tries + 2
    });
    assert_eq!(browser.eval("carrier()"), "sse");
    let before = browser.eval("seen.length").as_u64().unwrap();
    proxy.treat(Pass, Pass);
    let mut count = 0;
    wait_until("the better transport", || {
        publisher.send("n", count.to_string());
        count += 1;
        browser.eval("carrier()") == "websocket"
    });
    publisher.send("n", "last");
    browser.wait_for("bodies().at(-1) === 'last'");
    assert!(browser.eval("seen.length").as_u64().unwrap() > before);
    let numbers = "bodies().filter((body) => body !== 'x' && body !== 'last')
        .every((body, at) => body === String(at))";
    assert_eq!(browser.eval(numbers), true);
    let count = count + 1;
    assert_eq!(browser.eval("bodies().filter((body) => body !== 'x').length"), count);
}

#[test]
fn what_was_published_meanwhile_is_resumed_and_a_restart_is_told() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    let mut gateway = gateway;
    for transport in ["websocket", "sse", "poll"] {
        let publisher = gateway.publisher();
        browser.eval("feed?.close(), seen.length = 0, gaps.length = 0");
        browser.eval(&format!("listen({{ {QUICK}, transports: ['{transport}'] }})"));
        browser.wait_for(&format!("carrier() === '{transport}'"));
        send_numbers(&publisher, 0..5);
        browser.wait_for(&are_numbers(5));
        proxy.cut();
        send_numbers(&publisher, 5..10);
        browser.wait_for(&are_numbers(10));
        assert_eq!(browser.eval("gaps.length"), 0, "{transport}");

        let address = gateway.page.clone();
        drop(gateway);
        browser.wait_for("feed.status.state === 'waiting'");
        gateway = Gateway::start_at(&address);
        browser.wait_for("gaps.length > 0");
        assert_eq!(browser.eval("gaps[0]"), json!({"missed": null, "reason": "restart"}));
        let publisher = gateway.publisher();
        send_numbers(&publisher, 10..12);
        browser.wait_for(&are_numbers(12));
    }
}

#[test]
fn what_is_not_kept_any_more_is_told() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--history", "2"]) else { return };
    let publisher = gateway.publisher();
    browser.eval(&format!("listen({{ {QUICK}, transports: ['websocket', 'sse'] }})"));
    browser.wait_for("carrier() === 'websocket'");
    send_numbers(&publisher, 0..1);
    browser.wait_for("seen.length === 1");
    // Nothing opens before all of it is there.
    proxy.treat(Swallow, Swallow);
    proxy.cut();
    send_numbers(&publisher, 1..6);
    browser.eval(
        "(async () => { for (;;) {
            const { messages } = await (await fetch('/poll?timeout=0&since=00000000-0')).json();
            if (messages.at(-1)?.data === '5') return;
        } })()",
    );
    proxy.treat(Pass, Pass);
    browser.wait_for("seen.length === 3");
    assert_eq!(browser.eval("bodies()"), json!(["0", "4", "5"]));
    assert_eq!(browser.eval("gaps"), json!([{"missed": 3, "reason": "history"}]));
}

#[test]
fn a_connection_that_died_without_a_word_is_left() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--ping-interval=1h"]) else {
        return;
    };
    let publisher = gateway.publisher();
    for transport in ["websocket", "sse"] {
        browser.eval("feed?.close(), seen.length = 0, states.length = 0");
        browser.eval(&format!(
            "listen({{ {QUICK}, quiet: 300, transports: ['{transport}', 'poll'] }})"
        ));
        browser.wait_for(&format!("carrier() === '{transport}'"));
        send_numbers(&publisher, 0..1);
        browser.wait_for("seen.length === 1");
        proxy.deaden();
        send_numbers(&publisher, 1..2);
        browser.wait_for(&are_numbers(2));
    }
}

#[test]
fn who_wants_little_of_much_stays_where_the_gateway_is() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--history", "3"]) else { return };
    let publisher = gateway.publisher();
    for (round, transport) in (0..).zip(["websocket", "sse"]) {
        browser.eval("feed?.close(), seen.length = 0, states.length = 0");
        browser.eval(&format!(
            "listen({{ {QUICK}, quiet: 100, topics: ['rare'], transports: ['{transport}'] }})"
        ));
        browser.wait_for(&format!("carrier() === '{transport}'"));
        publisher.send("rare", "first");
        browser.wait_for("seen.length === 1");
        // More than is kept, but slowly: the feed asks now and then whether any of it was for it.
        for number in 0..4 {
            publisher.send("often", "x");
            let asked = format!("-{}&timeout=0", round * 6 + number + 2);
            wait_until(&asked, || {
                browser.eval("new Promise((go) => setTimeout(go, 20))");
                proxy.requests("/poll").iter().any(|line| line.contains(&asked))
            });
        }
        proxy.cut();
        browser.wait_for("states.filter(({ state }) => state === 'open').length === 2");
        publisher.send("rare", "second");
        browser.wait_for("seen.length === 2");
        assert_eq!(browser.eval("gaps.length"), 0);
    }
}
