//! The page's views: topics, one message, plots, and the reasons of silence, in a real browser.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::page::NO_COMPLAINTS;
use crate::page::browser::Browser;
use crate::page::gateway::{Gateway, Publisher};
use crate::support::node;

/// What the tests ask the page with.
const PROBE: &str = "
    var $ = (id) => document.getElementById(id);
    function state() { return $('state').dataset.state; }
    function gridRows() {
        return [...document.querySelectorAll('#grid-body [role=row]')]
            .sort((a, b) => a.dataset.at - b.dataset.at);
    }
    function labels() { return gridRows().map((row) => row.querySelector('.topic').textContent); }
    function row(label) { return gridRows()[labels().indexOf(label)]; }
    function lines() { return [...$('panel-body').children].map((line) => line.textContent); }
    function press(target, key) {
        target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    }
";

struct Stage {
    browser: Browser,
    gateway: Gateway,
    publisher: Publisher,
}

/// `None` without a browser.
#[track_caller]
fn stage(query: &str) -> Option<Stage> {
    let mut browser = Browser::start()?;
    browser.run_in_new_documents(PROBE);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    browser.open(&format!("{}/{query}", gateway.page));
    browser.wait_for("state() === 'live'");
    Some(Stage { browser, gateway, publisher })
}

#[test]
fn topics_are_a_tree_that_folds_sorts_and_is_searched() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage("") else { return };
    for topic in ["weather.oslo", "weather.bergen", "news", "a/b/c", "weather.oslo"] {
        publisher.send(topic, format!(r#"{{"of":"{topic}"}}"#));
    }
    // A folder of one topic has no row of its own.
    let tree = json!(["a/b/c", "news", "weather.", "bergen", "oslo"]);
    browser.wait_for(&format!("JSON.stringify(labels()) === JSON.stringify({tree})"));
    browser.wait_for("row('weather.').querySelector('.count').textContent === '3'");
    assert_eq!(browser.eval("row('oslo').getAttribute('aria-level')"), "2");

    browser.eval("row('weather.').click()");
    browser.wait_for("labels().length === 3");
    assert_eq!(browser.eval("row('weather.').getAttribute('aria-expanded')"), "false");

    browser.eval("$('tree').click(), document.querySelector('[data-sort=count]').click()");
    browser.wait_for("labels()[0] === 'weather.oslo' && labels().length === 4");
    assert_eq!(browser.eval("location.search"), "?sort=count&tree=0");
    browser.eval("$('search').value = 'BERG', $('search').dispatchEvent(new Event('input'))");
    browser.wait_for("labels().join() === 'weather.bergen'");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn one_message_folds_shows_its_changes_and_plots_its_numbers() {
    let Some(Stage { mut browser, gateway, publisher }) = stage("") else { return };
    publisher.send("t", r#"{"a":1,"b":{"c":2.5,"__proto__":7},"d":"x"}"#);
    browser.wait_for("row('t')");
    browser.eval("row('t').click()");
    let all = json!(["▾{3}", "a: 1", "▾b: {2}", "c: 2.5", "__proto__: 7", r#"d: "x""#]);
    browser.wait_for(&format!("JSON.stringify(lines()) === JSON.stringify({all})"));
    assert_eq!(browser.eval("document.querySelectorAll('.changed').length"), 0);

    publisher.send("t", r#"{"a":1,"b":{"c":3,"__proto__":7},"d":"y"}"#);
    let changed = "[...document.querySelectorAll('.changed')].map((it) => it.textContent).join()";
    browser.wait_for(&format!("{changed} === '3,\"y\"'"));

    browser.eval(
        "['c', '__proto__'].forEach((key) => [...$('panel-body').children]
            .find((line) => line.textContent.startsWith(key)).querySelector('.number').click())",
    );
    browser.eval("document.querySelectorAll('#panel-body .fold')[1].click()");
    browser.wait_for("lines().length === 4");
    for value in [10, 20, 30] {
        publisher.send("t", format!(r#"{{"b":{{"c":{value},"__proto__":8}}}}"#));
    }
    browser.wait_for("$('legend').textContent === 't.b.c30✕t.b.__proto__8✕'");
    let is_drawn = "(() => {
        const canvas = $('plot-canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return data.some((byte) => byte > 0);
    })()";
    browser.wait_for(is_drawn);

    // The page's address has all of it, for a reload and for others.
    let address = browser.eval("location.href");
    browser.open(address.as_str().unwrap());
    browser.wait_for("state() === 'live'");
    publisher.send("t", r#"{"b":{"c":44,"__proto__":9}}"#);
    browser.wait_for("!$('panel').hidden && $('legend').textContent.includes('t.b.c44')");

    // Text and hex of parts that are no JSON.
    publisher.send_parts(&[b"t", b"head\nline", b"\x00\xffAB"]);
    browser.wait_for("lines().includes('part 2')");
    assert_eq!(browser.eval("lines()[0] + lines()[1] + lines()[2]"), "part 1headline");
    let hex = browser.eval("lines()[4]");
    assert!(hex.as_str().unwrap().starts_with("000000  00 ff 41 42"), "{hex}");
    browser.eval("press(document.body, 'Escape')");
    browser.wait_for("$('panel').hidden");
    drop(gateway);
}

#[test]
fn twenty_thousand_topics_of_garbage_are_few_rows_and_no_harm() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage("?tree=0") else {
        return;
    };
    for topic in ["__proto__", "constructor", "hasOwnProperty", "<img src=x onerror='harm=1'>"] {
        publisher.send(topic, r#"{"__proto__":{"harm":1},"constructor":1}"#);
    }
    for number in 0..20_100 {
        publisher.send(format!("garbage-{number:05}\u{202e}"), "\u{301}\u{301}<b>");
    }
    publisher.send("last", "x".repeat(5 << 20));
    browser.wait_for("Number($('count').value) === 20105");
    browser.wait_for("$('grid').getAttribute('aria-rowcount') === '20001'");
    assert_eq!(browser.eval("gridRows().length < 60"), true);
    browser.eval("$('grid').scrollTop = 32 * 10000");
    browser.wait_for("labels()[10]?.startsWith('garbage-1')");
    let moved = browser.eval(
        "(async () => {
            let longest = 0;
            for (let step = 0; step < 60; step += 1) {
                $('grid').scrollTop = step * 9000;
                const began = performance.now();
                await new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
                longest = Math.max(longest, performance.now() - began);
            }
            return longest;
        })()",
    );
    // A loaded machine has its share in it; a table with all rows takes seconds.
    assert!(moved.as_f64().unwrap() < 1_000.0, "{moved}");
    browser.eval("press($('grid'), 'End'), press($('grid'), 'Enter')");
    browser.wait_for("$('panel-topic').textContent === 'last'");
    assert_eq!(browser.eval("typeof window.harm + typeof ({}).harm"), "undefinedundefined");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn silence_has_its_reason() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(PROBE);
    let gateway = Gateway::start();
    browser.open(&gateway.page);
    browser.wait_for("$('why').textContent.includes('no publisher is connected')");
    assert_eq!(browser.eval("$('state').classList.contains('idle')"), true);
    assert_eq!(browser.eval("$('lesson').textContent.includes('tcp://127.0.0.1:5556')"), true);

    let publisher = gateway.publisher();
    browser.open(&format!("{}/?topic=weather.", gateway.page));
    browser.wait_for("state() === 'live'");
    crate::page::wait_until("the reason", || {
        publisher.send("news", "x");
        browser.eval("$('why').textContent")
            == "Messages reach the gateway, but no topic matches what this page asks for."
    });
    publisher.send("weather.oslo", "4");
    browser.wait_for("$('why').hidden && $('empty').hidden");
    assert_eq!(browser.complaints(), NO_COMPLAINTS);
}

#[test]
fn every_view_passes_axe() {
    let Some(packages) = node::modules("axe-core") else { return };
    let axe = fs::read_to_string(packages.join("axe-core/axe.min.js")).unwrap();
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage("") else { return };
    let violations = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
        `${id}: ${nodes.map(({ target, failureSummary }) => target + ' ' + failureSummary).join('; ')}`))";
    browser.eval(&format!("{axe}; 0"));
    assert_eq!(browser.eval(violations), json!([]), "empty");
    for topic in ["weather.oslo", "weather.bergen", "news"] {
        publisher.send(topic, r#"{"celsius":4.5,"name":"x"}"#);
    }
    browser.wait_for("row('oslo')");
    browser.eval("row('oslo').click(), document.querySelector('#panel .number').click()");
    for scheme in ["light", "dark"] {
        for width in [1280, 375] {
            browser.set_screen(width, scheme);
            for view in ["topics", "stream", "health"] {
                browser.eval(&format!("$('tab-{view}').click()"));
                browser.eval("new Promise((go) => setTimeout(go, 400))");
                let overflow = browser.eval("document.documentElement.scrollWidth - innerWidth");
                assert_eq!(overflow, 0, "{view} {scheme} {width}");
                assert_eq!(browser.eval(violations), json!([]), "{view} {scheme} {width}");
                browser.screenshot(&format!("view-{view}-{scheme}-{width}"));
            }
        }
    }
    browser.eval("$('help').showModal()");
    assert_eq!(browser.eval(violations), json!([]), "help");
}

/// How long the flood below takes: ten minutes by hand, with `ZMQ2WS_PAGE_SECONDS=600`.
fn flood_seconds() -> u64 {
    std::env::var("ZMQ2WS_PAGE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

#[test]
#[ignore = "measures for half a minute: run it by hand on a quiet machine"]
fn a_flood_costs_little_and_leaves_nothing() {
    let Some(Stage { mut browser, gateway: _gateway, publisher }) = stage("") else { return };
    let mut sent = 0_u64;
    let mut flood = |seconds: u64| {
        let began = Instant::now();
        for tick in 0..seconds * 100 {
            let due = began + Duration::from_millis(tick * 10);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for _ in 0..50 {
                let topic = format!("site-{}.sensor-{}", sent % 40, sent / 40 % 50);
                publisher.send(topic, format!(r#"{{"value":{}.5,"n":{sent}}}"#, sent % 97));
                sent += 1;
            }
        }
        sent
    };
    // Everything that grows at first has grown.
    flood(10);
    let (cpu_before, heap_before) = browser.cost();
    let seconds = flood_seconds();
    let count = flood(seconds);
    let (cpu, heap) = browser.cost();
    let share = (cpu - cpu_before) / seconds as f64 * 100.0;
    let mib = 1024.0 * 1024.0;
    println!(
        "{share:.1} % of a core at 5,000 messages a second on 2,000 topics; heap {:.1}, then {:.1} MiB",
        heap_before / mib,
        heap / mib
    );
    browser.wait_for(&format!("Number($('count').value) === {count} || $('gaps').value > 0"));
    assert_eq!(browser.eval("Number($('gaps').value)"), 0, "the page could not keep up");
    assert!(share < 15.0, "{share}");
    assert!(heap - heap_before < 4.0 * mib, "{heap_before} {heap}");
}
