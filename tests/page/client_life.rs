//! How `zmq2ws.js` is loaded, when it comes back, when it does not, and that nothing is left of it when it is closed.

use std::fs;

use serde_json::json;

use crate::page::browser::Browser;
use crate::page::client::{LISTEN, QUICK, Stage, stage};
use crate::page::gateway::Gateway;
use crate::page::proxy::Treatment::{Pass, Refuse, Swallow};
use crate::page::wait_until;

/// Counts timers that run and listeners that are there.
const COUNT: &str = "
    var timers = new Set(), listeners = 0;
    {
        const { setTimeout, clearTimeout } = window;
        window.setTimeout = (action, ...rest) => {
            const timer = setTimeout(() => { timers.delete(timer); action(); }, ...rest);
            timers.add(timer);
            return timer;
        };
        window.clearTimeout = (timer) => { timers.delete(timer); clearTimeout(timer); };
        for (const target of [window, document]) {
            const { addEventListener, removeEventListener } = target;
            target.addEventListener = (...all) => { listeners += 1; addEventListener.apply(target, all); };
            target.removeEventListener = (...all) => { listeners -= 1; removeEventListener.apply(target, all); };
        }
    }
";

#[test]
fn nothing_is_left_of_a_feed_that_is_closed() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    browser.run_in_new_documents(COUNT);
    browser.open(&format!("{}/healthz", proxy.page()));
    let is_nothing_left = "timers.size === 0 && listeners === 0 && states.at(-1).state === 'closed'
        && states.filter(({ state }) => state === 'closed').length === 1";
    let idle = |browser: &mut Browser| {
        browser.eval("feed.close(), feed.close()");
        assert_eq!(browser.eval(is_nothing_left), true, "{:?}", browser.eval("states"));
        browser.eval(
            "(async () => {
                for (;;) {
                    const text = await (await fetch('/metrics')).text();
                    const counts = text.match(/^zmq2ws_clients\\{transport=\"(websocket|sse|poll)\"\\} .*$/gm);
                    if (counts.length === 3 && counts.every((line) => line.endsWith(' 0'))) return;
                }
            })()",
        );
        browser.eval("states.length = 0");
    };
    for transport in ["websocket", "sse", "poll"] {
        let listen = format!("listen({{ {QUICK}, transports: ['{transport}'] }})");
        // As soon as it is made, while it connects, and once it is open.
        browser.eval(&listen);
        idle(&mut browser);
        browser.eval(&listen);
        browser.wait_for(&format!("carrier() === '{transport}'"));
        assert_eq!(browser.eval("timers.size + listeners > 2"), true);
        idle(&mut browser);
    }
    // While a better transport is tried, while it waits, and while it looks for whose fault it is.
    proxy.treat(Refuse, Pass);
    browser.eval("listen({ upgradeAfter: 100 })");
    browser.wait_for("carrier() === 'sse'");
    proxy.treat(Swallow, Pass);
    let tries = proxy.requests("/ws").len();
    wait_until("a try", || {
        browser.eval("0");
        proxy.requests("/ws").len() > tries
    });
    idle(&mut browser);
    proxy.treat(Refuse, Refuse);
    browser.eval("listen({ transports: ['websocket', 'sse'], retryMin: 60000 })");
    browser.wait_for("carrier() === 'waiting'");
    idle(&mut browser);
    browser.eval("listen({ transports: ['websocket'] })");
    browser.eval("feed.on('state', ({ state }) => state === 'connecting' && feed.close())");
    browser.wait_for("carrier() === 'closed'");
    idle(&mut browser);
    // In the middle of what comes.
    let publisher = gateway.publisher();
    browser.eval("listen({ transports: ['poll'] })");
    browser.eval("feed.on('message', () => feed.close())");
    browser.wait_for("carrier() === 'poll'");
    for number in 0..100 {
        publisher.send("n", number.to_string());
    }
    browser.wait_for("carrier() === 'closed'");
    idle(&mut browser);
    assert_eq!(browser.eval("seen.length"), 1);
}

#[test]
fn who_comes_online_or_is_looked_at_does_not_wait() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    browser.eval("void (Math.random = () => 0.999)");
    browser.eval("listen({ retryMin: 600000, retryMax: 600000 })");
    browser.wait_for("carrier() === 'websocket'");
    gateway.publisher().send("n", "0");
    browser.wait_for("seen.length === 1");

    browser.set_offline(true);
    proxy.cut();
    browser.wait_for("carrier() === 'waiting'");
    assert_eq!(browser.eval("feed.status.delay > 590000"), true);
    browser.set_offline(false);
    browser.wait_for("carrier() === 'websocket'");

    proxy.cut();
    browser.wait_for("carrier() === 'waiting'");
    // A tab that goes is no reason, one that comes is.
    browser.eval("Object.defineProperty(document, 'hidden', { value: true, configurable: true })");
    browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
    assert_eq!(browser.eval("carrier()"), "waiting");
    browser.eval("delete document.hidden");
    browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
    browser.wait_for("carrier() === 'websocket'");
    let since = proxy.requests("/ws").iter().filter(|line| line.contains("since=")).count();
    assert_eq!(since, 2, "both resumed");
}

#[test]
fn what_died_while_nobody_looked_is_found_when_somebody_does() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&["--ping-interval=1h"]) else {
        return;
    };
    browser.eval(&format!("listen({{ {QUICK}, quiet: 600000, transports: ['websocket'] }})"));
    browser.wait_for("carrier() === 'websocket'");
    let publisher = gateway.publisher();
    publisher.send("n", "0");
    browser.wait_for("seen.length === 1");
    proxy.deaden();
    publisher.send("n", "1");
    // It asks when the gateway has the message.
    browser.eval(
        "(async () => { for (;;) {
            const url = `/poll?timeout=0&since=${seen[0].id}`;
            if ((await (await fetch(url)).json()).messages.length) return;
        } })()",
    );
    browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
    browser.wait_for("seen.length === 2");
}

#[test]
fn a_refusal_ends_the_feed_and_a_full_gateway_is_left_alone() {
    let Some(Stage { mut browser, proxy, gateway: _gateway }) = stage(&["--max-clients", "1"])
    else {
        return;
    };
    for transports in ["['websocket', 'sse', 'poll']", "['sse']", "['poll']"] {
        browser.eval("states.length = 0");
        browser.eval(&format!(
            "listen({{ {QUICK}, topics: ['x'.repeat(300)], transports: {transports} }})"
        ));
        browser.wait_for("carrier() === 'closed'");
        let error = browser.eval("[feed.status.error.status, feed.status.error.message]");
        assert_eq!(error, json!([400, "400: a topic may have 255 bytes at most"]), "{transports}");
        assert_eq!(browser.eval("states.some(({ state }) => state === 'waiting')"), false);
    }
    let asked = ["/ws", "/sse"].map(|path| proxy.requests(path).len());
    assert_eq!(asked, [1, 1], "nobody asked again");

    // One client is all that there is room for.
    browser.eval("void (window.first = new EventSource('/sse'))");
    browser.wait_for("first.readyState === 1");
    for transports in ["['websocket', 'sse', 'poll']", "['sse']", "['poll']"] {
        browser.eval(&format!("listen({{ {QUICK}, transports: {transports} }})"));
        browser.wait_for("carrier() === 'waiting'");
        let status = browser.eval("feed.status.error.status");
        assert_eq!(status, 503, "{transports} {:?}", browser.eval("feed.status.error.message"));
        assert_eq!(browser.eval("feed.status.delay >= 5000"), true, "{transports}");
        let asked = proxy.requests("").len();
        browser.eval("window.dispatchEvent(new Event('online'))");
        assert_eq!(browser.eval("carrier()"), "waiting", "not even when the network is back");
        assert_eq!(proxy.requests("").len(), asked);
        browser.eval("feed.close()");
    }
}

#[test]
fn waits_grow_and_end_with_success() {
    let Some(Stage { mut browser, proxy, gateway }) = stage(&[]) else { return };
    browser.eval("void (Math.random = () => 1)");
    let address = gateway.page.clone();
    browser.eval("listen({ timeout: 2000, retryMin: 20, retryMax: 100 })");
    browser.wait_for("carrier() === 'websocket'");
    drop(gateway);
    let delays = "states.filter(({ state }) => state === 'waiting').map(({ delay }) => delay)";
    browser.wait_for(&format!("{delays}.length >= 5"));
    assert_eq!(browser.eval(&format!("{delays}.slice(0, 5)")), json!([20, 40, 80, 100, 100]));
    assert_eq!(browser.eval("feed.status.transport"), "websocket", "it is not to blame");
    let gateway = Gateway::start_at(&address);
    browser.wait_for("carrier() === 'websocket'");
    // What is open for long enough has succeeded.
    browser.eval("new Promise((go) => setTimeout(go, 2500))");
    browser.eval("states.length = 0");
    proxy.cut();
    browser.wait_for("states.length >= 3 && carrier() === 'websocket'");
    assert_eq!(browser.eval(&format!("{delays}[0]")), 20);
    drop(gateway);
}

#[test]
fn mistakes_of_a_page_are_its_own() {
    let Some(Stage { mut browser, proxy: _proxy, gateway }) = stage(&[]) else { return };
    browser.eval("window.addEventListener('error', (event) => (window.caught = event.message))");
    browser.eval("listen({ transports: ['websocket'] })");
    browser.eval(
        "feed.on('message', () => { throw new Error('mine'); }),
         window.off = feed.on('message', () => (window.others = (window.others ?? 0) + 1))",
    );
    browser.wait_for("carrier() === 'websocket'");
    let publisher = gateway.publisher();
    publisher.send("n", "0");
    browser.wait_for("window.others === 1 && window.caught.includes('mine')");
    browser.eval("off()");
    publisher.send("n", "1");
    browser.wait_for("seen.length === 2");
    assert_eq!(browser.eval("others"), 1);
    let mistakes = "(async () => {
        const { zmq2ws } = await import('/zmq2ws.js');
        const kind = (action) => { try { action().close(); } catch ({ name }) { return name; } };
        return [
            kind(() => zmq2ws('http://[')), kind(() => zmq2ws('/', { topics: ['\\ud800'] })),
            kind(() => zmq2ws('/', { transports: ['pigeon'] })), kind(() => zmq2ws('/', { transports: [] })),
            kind(() => ({ close: () => feed.on('massage', () => {}) })), kind(() => zmq2ws()),
        ];
    })()";
    let names = json!(["TypeError", "URIError", "TypeError", "TypeError", "TypeError", null]);
    assert_eq!(browser.eval(mistakes), names);
}

#[test]
fn it_is_a_module_and_a_script_for_pages_of_every_origin() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_in_new_documents(LISTEN);
    let folder = std::env::temp_dir().join(format!("zmq2ws-client-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let home = Gateway::start_with(&["--www", folder.to_str().unwrap()]);
    let away = Gateway::start_with(&["--no-www", "--origin", &home.page]);
    let closed = Gateway::start();
    fs::write(
        folder.join("index.html"),
        format!(
            "<!doctype html><link rel=icon href=data:><body>
            <script src='{0}/zmq2ws.global.js'></script>
            <script>
                var all = [], script = zmq2ws('{0}', {{ topics: ['t'] }});
                script.on('message', ({{ data }}) => all.push('script ' + data));
            </script>
            <script type='module'>
                import {{ zmq2ws as local }} from '/zmq2ws.js';
                import zmq2ws, {{ zmq2ws as named }} from '{0}/zmq2ws.js';
                window.exported = [zmq2ws === named, zmq2ws !== local, typeof window.zmq2ws];
                window.module = zmq2ws('{0}', {{ topics: ['t'], transports: ['poll'] }});
                module.on('message', ({{ data }}) => all.push('module ' + data));
                window.refused = local('{1}', {{ timeout: 2000 }});
            </script>",
            away.page, closed.page
        ),
    )
    .unwrap();
    browser.open(&home.page);
    browser.wait_for("script.status.state === 'open' && window.module?.status.state === 'open'");
    assert_eq!(browser.eval("exported"), json!([true, true, "function"]));
    away.publisher().send("t", "hello");
    browser.wait_for("all.length === 2");
    assert_eq!(browser.eval("all.sort()"), json!(["module hello", "script hello"]));
    assert_eq!(browser.eval("script.status.transport"), "websocket");
    // Who may load the client may not therefore listen.
    browser.wait_for("refused.status.state === 'waiting'");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_handbook_s_page_works_as_it_stands() {
    let Some(mut browser) = Browser::start() else { return };
    let text = include_str!("../../docs/clients/browser.md");
    let page = text.split("```html\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = std::env::temp_dir().join(format!("zmq2ws-handbook-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("index.html"), page).unwrap();
    let gateway = Gateway::start_with(&["--www", folder.to_str().unwrap()]);
    browser.open(&gateway.page);
    let lines = "[...list.children].map(({ textContent }) => textContent)";
    browser.wait_for(&format!("{lines}.includes('open websocket')"));
    gateway.publisher().send("news", "no");
    gateway.publisher().send("weather.oslo", "4.5");
    browser.wait_for(&format!("{lines}.at(-1) === 'weather.oslo: 4.5'"));
    assert_eq!(
        browser.eval(lines),
        json!(["connecting websocket", "open websocket", "weather.oslo: 4.5"])
    );
    fs::remove_dir_all(&folder).unwrap();
}
