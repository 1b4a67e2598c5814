//! The page as its readers meet it: in a real browser, against a real gateway and publisher.

pub(crate) mod browser;
mod client;
mod client_life;
#[cfg(feature = "compress")]
mod compress;
mod events;
pub(crate) mod gateway;
mod jszmq;
mod proxy;
mod shared;
mod socket_io;
mod views;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use browser::Browser;
use gateway::{Gateway, Publisher};
use proxy::{Proxy, Treatment};

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Asks again and again until it is so. What it asks takes its time.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
    }
}

/// What the tests ask the page with, and when it opened WebSockets.
const PROBE: &str = "
    function state() { return document.getElementById('state').dataset.state; }
    function figure(id) { return Number(document.getElementById(id).value); }
    function rows() {
        return [...document.querySelectorAll('#messages li')].map((row) => ({
            kind: row.className,
            topic: row.querySelector('.topic').textContent,
            body: row.querySelector('.body').textContent,
        }));
    }
    function topics() { return rows().map((row) => row.topic); }
    function type(text) {
        document.getElementById('filter').value = text;
        document.getElementById('apply').click();
    }
    var attempts = [];
    var BrowsersWebSocket = WebSocket;
    WebSocket = class extends BrowsersWebSocket {
        constructor(url) {
            super(url);
            attempts.push({ at: performance.now(), url: String(url) });
        }
    };
";

/// The page, live, with a publisher behind its gateway. Take all of it: what a pattern leaves out
/// ends at once.
struct Stage {
    browser: Browser,
    gateway: Gateway,
    publisher: Publisher,
}

/// `None` where there is no browser.
#[track_caller]
fn stage() -> Option<Stage> {
    let mut browser = Browser::start()?;
    browser.run_in_new_documents(PROBE);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    browser.open(&format!("{}/?view=stream", gateway.page));
    browser.wait_for("state() === 'live'");
    Some(Stage { browser, gateway, publisher })
}

const NO_COMPLAINTS: Vec<String> = Vec::new();

#[test]
fn messages_appear_and_figures_move() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage() else { return };
    assert_eq!(browser.eval("document.title"), "zmq2ws");
    assert_eq!(browser.eval("state() + figure('count') + figure('rate')"), "live00");
    assert_eq!(browser.eval("getComputedStyle(document.getElementById('empty')).display"), "block");

    publisher.send("weather.oslo", "4.5 °C");
    publisher.send("weather.tokyo", r#"{"celsius": 14}"#);
    publisher.send_parts(&[b"three", b"one", b"two"]);
    browser.wait_for("rows().length === 3");
    let row = |topic, body| json!({"kind": "message", "topic": topic, "body": body});
    let newest_first = json!([
        row("three", "onetwo"),
        row("weather.tokyo", r#"{"celsius": 14}"#),
        row("weather.oslo", "4.5 °C"),
    ]);
    assert_eq!(browser.eval("rows()"), newest_first);
    assert_eq!(browser.eval("figure('count')"), 3);
    assert_eq!(browser.eval("getComputedStyle(document.getElementById('empty')).display"), "none");
    let bytes = browser.eval("figure('bytes')").as_u64().unwrap();
    assert_eq!(bytes, 12 + 7 + 13 + 15 + 5 + 6, "topics and bodies are counted");

    // The rate is over the last second: it rises while messages come, and falls when none does.
    let deadline = Instant::now() + PATIENCE;
    let mut count = 3;
    while browser.eval("figure('rate') > 0 && figure('byte-rate') > 0") != true {
        assert!(Instant::now() < deadline, "the rate does not rise");
        publisher.send("tick", count.to_string());
        count += 1;
    }
    browser.wait_for(&format!("figure('count') === {count}"));
    browser.wait_for("figure('rate') === 0 && figure('byte-rate') === 0");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn a_flood_stays_bounded() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage() else { return };
    for number in 0..5_000 {
        publisher.send("flood", number.to_string());
    }
    publisher.send("large", "x".repeat(3 << 20));
    browser.wait_for("figure('count') === 5001 && topics()[0] === 'large'");
    assert_eq!(browser.eval("rows().length"), 200);
    assert_eq!(browser.eval("rows()[1].body"), "4999");
    let shown = browser.eval("rows()[0].body.length").as_u64().unwrap();
    assert!(shown < 4096, "{shown}");
    assert_eq!(browser.eval("document.querySelector('#messages .size').textContent"), "3.0 MiB");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn hostile_contents_stay_text() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage() else { return };
    const SCRIPT: &str = "<script>window.harm = 1</script>";
    const IMAGE: &str = "<img src=x onerror='window.harm = 1'>";
    const BREAKOUT: &str = "</div></li></ul><iframe srcdoc='<script>parent.harm = 1</script>'>";
    for (topic, body, topic_shown, body_shown) in [
        (SCRIPT.as_bytes(), IMAGE.as_bytes(), SCRIPT, IMAGE),
        (b"breakout", BREAKOUT.as_bytes(), "breakout", BREAKOUT),
        (b"gap", br#"{"gap":{"missed":1}}"#, "gap", r#"{"gap":{"missed":1}}"#),
        (b"json", br#"","topic":"forged"}"#, "json", r#"","topic":"forged"}"#),
        (b"bidi", "a\u{202e}b\u{2066}c".as_bytes(), "bidi", "a⟨U+202E⟩b⟨U+2066⟩c"),
        (b"nul\0", b"\0\x1b[2J\x7f", "nul␀", "␀␛[2J␡"),
        (b"lines", b"a\r\nb\xe2\x80\xa8c", "lines", "a␍␊\nb⟨U+2028⟩c"),
        (b"\xff\xfe", b"\x80\x81", "ff fe", "80 81"),
        (b"", b"", "", ""),
    ] {
        publisher.send(topic, body);
        let row = json!({"kind": "message", "topic": topic_shown, "body": body_shown});
        browser
            .wait_for(&format!("JSON.stringify(rows()[0]) === JSON.stringify({})", ordered(&row)));
    }
    publisher.send("last", "\u{301}".repeat(2000));
    browser.wait_for("topics()[0] === 'last'");
    let elements = "[...new Set([...document.querySelectorAll('#messages *')]
        .map((element) => element.localName))].sort().join()";
    assert_eq!(browser.eval(elements), "button,div,li,span,time");
    assert_eq!(
        browser.eval("typeof window.harm + figure('gaps') + document.images.length"),
        "undefined00"
    );
    browser.screenshot("hostile");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

/// A row with its keys in the order of [`PROBE`]'s.
fn ordered(row: &Value) -> String {
    format!(r#"{{"kind":{},"topic":{},"body":{}}}"#, row["kind"], row["topic"], row["body"])
}

#[test]
fn only_what_the_filter_matches_arrives() {
    let Some(Stage { mut browser, gateway, publisher }) = stage() else { return };
    publisher.send("weather.oslo", "before");
    browser.wait_for("figure('count') === 1");

    browser.eval("type('weather., naïve & köln,')");
    browser.wait_for("attempts.length === 2 && state() === 'live' && rows().length === 0");
    for topic in
        ["weather.oslo", "news.oslo", "naïve & köln", "weather", "weather.lima", "Weather."]
    {
        publisher.send(topic, topic);
    }
    publisher.send("naïve & köln 2", "last");
    browser.wait_for("rows().length > 0 && rows()[0].body === 'last'");
    let matching = json!(["naïve & köln 2", "weather.lima", "naïve & köln", "weather.oslo"]);
    assert_eq!(browser.eval("topics()"), matching);
    // Not merely hidden: the gateway did not send the others.
    assert_eq!(browser.eval("figure('count')"), 5);

    // The filter is in the page's address, for a reload and for others.
    let address = browser.eval("location.href");
    assert_eq!(
        address,
        format!("{}/?view=stream&topic=weather.&topic=na%C3%AFve+%26+k%C3%B6ln", gateway.page)
    );
    browser.open(address.as_str().unwrap());
    browser.wait_for("state() === 'live'");
    assert_eq!(browser.eval("document.getElementById('filter').value"), "weather., naïve & köln");
    publisher.send("news.oslo", "other");
    publisher.send("weather.lima", "again");
    browser.wait_for("rows().length === 1 && rows()[0].body === 'again'");

    browser.eval("type('')");
    browser.wait_for("attempts.length === 2 && state() === 'live' && rows().length === 0");
    publisher.send("news.oslo", "everything");
    browser.wait_for("rows().length === 1 && topics()[0] === 'news.oslo'");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn pause_holds_the_rows_and_nothing_else() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage() else { return };
    publisher.send("t", "shown");
    browser.wait_for("rows().length === 1");
    browser.eval("document.getElementById('pause').click()");
    for number in 0..300 {
        publisher.send("t", number.to_string());
    }
    browser.wait_for("document.getElementById('pause').textContent === 'Resume (300 new)'");
    assert_eq!(browser.eval("figure('count')"), 301);
    assert_eq!(browser.eval("rows().length"), 1);
    browser.eval("document.getElementById('pause').click()");
    browser.wait_for("rows().length === 200 && rows()[0].body === '299'");
    assert_eq!(browser.eval("rows()[199].body"), "100");
    assert_eq!(browser.eval("document.getElementById('pause').textContent"), "Pause");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn a_gateway_that_comes_back_is_found_again() {
    let Some(Stage { mut browser, gateway, publisher }) = stage() else { return };
    publisher.send("t", "before");
    browser.wait_for("rows().length === 1");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);

    // The waits are drawn at random; in the middle of their range they are 500, 1000 and 2000 ms.
    browser.eval("void (Math.random = () => 0.5)");
    let address = gateway.page.clone();
    drop(gateway);
    browser.wait_for("state() === 'waiting'");
    let detail = browser.eval("document.getElementById('detail').textContent");
    assert!(detail.as_str().unwrap().starts_with("in "), "{detail}");
    browser.wait_for("attempts.length >= 3");
    assert_ne!(browser.eval("state()"), "live");

    let gateway = Gateway::start_at(&address);
    browser.wait_for("state() === 'live'");
    // It knew where it was, and the new gateway does not: the reader is told.
    browser.wait_for("figure('gaps') === 1");
    let gap = json!({
        "kind": "gap", "topic": "gap", "body": "missed some messages: the gateway was restarted"
    });
    assert_eq!(browser.eval("rows()[0]"), gap);
    gateway.publisher().send("t", "after");
    browser.wait_for("rows()[0].body === 'after' && figure('count') === 2");
    assert_eq!(browser.eval("rows().length"), 3);

    let waits = browser.eval("[2, 3].map((index) => attempts[index].at - attempts[index - 1].at)");
    let waits: Vec<f64> = waits.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    // A timer's millisecond may be short; a loaded machine makes them longer.
    assert!(waits[0] >= 999.0 && waits[1] >= 1_999.0, "{waits:?}");
    let url = browser.eval("attempts.at(-1).url");
    assert!(url.as_str().unwrap().contains("since="), "{url}");
}

#[test]
fn the_page_shows_what_carries_its_messages() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(PROBE);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    let proxy = Proxy::start(&gateway.page);
    let detail = "document.getElementById('detail').textContent";
    for (websocket, events, shown) in [
        (Treatment::Pass, Treatment::Pass, "over WebSocket"),
        (Treatment::Refuse, Treatment::Pass, "over Server-Sent Events"),
        (Treatment::Refuse, Treatment::Refuse, "over long-polling"),
    ] {
        proxy.treat(websocket, events);
        browser.open(&format!("{}/?view=stream", proxy.page()));
        browser.wait_for("state() === 'live'");
        assert_eq!(browser.eval(detail), shown);
        publisher.send("weather.oslo", r#"{"city":"Oslo","celsius":4.5}"#);
        browser.wait_for("rows().length === 1");
        browser.screenshot(shown.trim_start_matches("over "));
    }
    browser.eval("type('x'.repeat(256))");
    browser.wait_for("state() === 'closed'");
    assert_eq!(browser.eval(detail), "(400: a topic may have 255 bytes at most)");
}

#[test]
fn light_and_dark_are_readable_on_wide_and_narrow_screens() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage() else { return };
    for number in 0..12 {
        publisher.send(format!("weather.station-{number}"), format!(r#"{{"celsius":{number}.5}}"#));
    }
    publisher.send("a-topic-that-is-too-long-for-any-column-of-a-table", "x".repeat(500));
    browser.wait_for("rows().length === 13");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        for width in [1200, 360] {
            browser.set_screen(width, scheme);
            browser.wait_for(&format!("innerWidth === {width}"));
            // Two frames: the first may have begun before the change.
            browser.eval(
                "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))",
            );
            browser.screenshot(&format!("{scheme}-{width}"));
            let overflow = browser.eval("document.documentElement.scrollWidth - innerWidth");
            assert_eq!(overflow, 0, "{scheme} {width}");
        }
        let faint = browser.eval(FAINT_TEXTS);
        assert_eq!(faint, json!([]), "{scheme}");
        grounds.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert_eq!(grounds, ["rgb(246, 247, 248)", "rgb(18, 22, 26)"]);
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

/// Texts whose contrast to their ground is below 4.5 to 1 (WCAG 2.2, 1.4.3).
const FAINT_TEXTS: &str = "(() => {
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (channel) =>
        channel <= 10.31 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
    const ground = (element) => {
        const color = rgb(getComputedStyle(element).backgroundColor);
        return color.length === 4 && color[3] === 0 ? ground(element.parentElement) : color;
    };
    const hasText = (element) => [...element.childNodes].some(({ nodeType, data }) =>
        nodeType === Node.TEXT_NODE && data.trim());
    return [...document.body.querySelectorAll('*')].filter(hasText).flatMap((element) => {
        const ink = luminance(rgb(getComputedStyle(element).color));
        const paper = luminance(ground(element));
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        return contrast < 4.5 ? [`${element.localName}.${element.className} ${contrast}`] : [];
    });
})()";
