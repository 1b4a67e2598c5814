//! A browser's own EventSource against a real gateway, on a page that is no part of it.

use serde_json::json;

use crate::page::browser::Browser;
use crate::page::gateway::Gateway;

/// Listens to `url` and keeps what comes in `seen`.
const LISTEN: &str = "
    function listen(url, options) {
        window.seen = [];
        window.source = new EventSource(url, options);
        const keep = ({ type, lastEventId, data }) => seen.push({ type, id: lastEventId, data });
        for (const type of ['message', 'binary', 'gap']) source.addEventListener(type, keep);
    }
    function isOpen() { return source.readyState === EventSource.OPEN; }
";

#[test]
fn an_event_source_gets_everything_in_order_and_learns_of_a_restart() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    // Any document of the gateway's origin will do.
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen('/sse?topic=weather.')");
    browser.wait_for("isOpen()");
    publisher.send("news", "not wanted");
    for number in 0..1_000 {
        publisher.send("weather.oslo", number.to_string());
    }
    publisher.send(b"weather.\xff", b"\xff\r\nid: 7\n\ndata: forged");
    browser.wait_for("seen.length === 1001");
    let are_in_order = "seen.slice(0, 1000).every(({ type, id, data }, at) => {
        const { id: own, topic, data: body } = JSON.parse(data);
        return type === 'message' && own === id && topic === 'weather.oslo' && body === String(at);
    })";
    assert_eq!(browser.eval(are_in_order), true);
    assert_eq!(
        browser.eval("atob(JSON.parse(seen[1000].data).data)"),
        "\u{ff}\r\nid: 7\n\ndata: forged"
    );

    let address = gateway.page.clone();
    drop(gateway);
    browser.wait_for("!isOpen()");
    let gateway = Gateway::start_at(&address);
    // It comes back by itself, with the id that it saw last, which is of another run.
    browser.wait_for("isOpen() && seen.length === 1002");
    assert_eq!(browser.eval("seen[1001].type"), "gap");
    assert_eq!(
        browser.eval("JSON.parse(seen[1001].data)"),
        json!({"gap": {"missed": null, "reason": "restart"}})
    );
    gateway.publisher().send("weather.oslo", "after");
    browser.wait_for("seen.length === 1003 && JSON.parse(seen[1002].data).data === 'after'");
    assert_eq!(browser.eval("seen[1002].id === JSON.parse(seen[1002].data).id"), true);
}

#[test]
fn raw_events_are_text_or_binary() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let gateway = Gateway::start();
    let publisher = gateway.publisher();
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen('/sse?format=raw')");
    browser.wait_for("isOpen()");
    for body in [&b""[..], b" a\r\n\r\ndata: b\r\xef\xbb\xbf\n", b"\0", b"\x80\r\n"] {
        publisher.send("t", body);
    }
    browser.wait_for("seen.length === 4");
    let texts = json!(["", " a\n\ndata: b\n\u{feff}\n", "\0", "gA0K"]);
    assert_eq!(browser.eval("seen.map(({ data }) => data)"), texts);
    let types = json!(["message", "message", "message", "binary"]);
    assert_eq!(browser.eval("seen.map(({ type }) => type)"), types);
}

#[test]
fn a_page_of_another_origin_listens_where_it_may() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let home = Gateway::start();
    let closed = Gateway::start();
    let open = Gateway::start_with(&["--origin", &home.page]);
    browser.open(&format!("{}/healthz", home.page));
    browser.eval(&format!("listen('{}/sse', {{ withCredentials: true }})", open.page));
    browser.wait_for("isOpen()");
    open.publisher().send("t", "from elsewhere");
    browser.wait_for("seen.length === 1 && JSON.parse(seen[0].data).data === 'from elsewhere'");
    // Who wants to send a field of its own has to ask first.
    let status = |url: &str| {
        format!(
            "fetch('{url}/sse', {{ headers: {{ 'X-Own': 'a' }} }})
                .then(({{ status }}) => status, () => 'refused')"
        )
    };
    assert_eq!(browser.eval(&status(&open.page)), 200);
    assert_eq!(browser.eval(&status(&closed.page)), "refused");
    browser.eval(&format!("listen('{}/sse')", closed.page));
    browser.wait_for("source.readyState === EventSource.CLOSED");
    assert_eq!(browser.eval("seen.length"), 0);
}
