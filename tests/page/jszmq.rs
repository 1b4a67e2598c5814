//! A SUB socket of jszmq in a browser, bundled as pages do it, against a real gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::page::NO_COMPLAINTS;
use crate::page::browser::Browser;
use crate::page::gateway::Gateway;
use crate::support::node;

/// A folder with the bundle; removed at the end.
struct Folder(PathBuf);

impl Folder {
    /// The bundle has what Node itself brings, and its global name is `jszmq`.
    fn with_bundle(packages: &Path) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = Self(path.join(format!("jszmq-{}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        let output = Command::new("node")
            .arg(packages.join("esbuild/bin/esbuild"))
            .arg(packages.join("jszmq/lib/src/index.js"))
            .args(["--bundle", "--platform=browser", "--format=iife", "--global-name=jszmq"])
            .args(["--define:global=window", "--define:process.env.NODE_DEBUG=undefined"])
            .arg(format!("--outfile={}", folder.0.join("jszmq.js").display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Connects, subscribes to one topic, and keeps the parts of each message as arrays of bytes.
const LISTEN: &str = "
    async function listen(topic) {
        const script = document.createElement('script');
        script.src = '/jszmq.js';
        document.head.append(script);
        await new Promise((resolve, reject) => {
            script.onload = resolve;
            script.onerror = () => reject(new Error(script.src));
        });
        window.seen = [];
        window.socket = new jszmq.Sub();
        socket.on('message', (...parts) => seen.push(parts.map((part) => [...part])));
        socket.connect(location.origin.replace('http', 'ws') + '/ws');
        socket.subscribe(topic);
    }
    const text = (part) => new TextDecoder().decode(new Uint8Array(part));
";

#[test]
fn a_sub_socket_in_a_browser_gets_what_it_subscribes_to_part_by_part() {
    let Some(packages) = node::modules("jszmq in a browser") else { return };
    let Some(mut browser) = Browser::start() else { return };
    let folder = Folder::with_bundle(packages);
    browser.run_in_new_documents(LISTEN);
    let gateway = Gateway::start_with(&["--www", folder.0.to_str().unwrap()]);
    let publisher = gateway.publisher();
    // Any document of the gateway's origin will do.
    browser.open(&format!("{}/healthz", gateway.page));
    browser.eval("listen('weather.')");
    // Nothing tells when a subscription has arrived but its first message.
    while browser.eval("seen.length === 0") == true {
        publisher.send("weather.first", "");
    }
    for number in 0..100 {
        publisher.send("news", "not wanted");
        publisher.send_parts(&[b"weather.oslo", b"", number.to_string().as_bytes(), b"\xff\x00"]);
    }
    browser.wait_for("seen.filter((parts) => parts.length === 4).length === 100");
    browser.eval("seen = seen.filter((parts) => parts.length === 4)");
    assert_eq!(browser.eval("seen.every((parts, at) => text(parts[2]) === String(at))"), true);
    let last = json!([b"weather.oslo", b"", b"99", [255, 0]]);
    assert_eq!(browser.eval("seen.at(-1)"), last);
    browser.eval("socket.unsubscribe('weather.'), socket.subscribe('news'), seen = []");
    while browser.eval("!seen.some((parts) => text(parts[0]) === 'news')") == true {
        publisher.send("news", "wanted");
    }
    browser.eval("seen = []");
    publisher.send("weather.oslo", "not wanted any more");
    publisher.send("news", "last");
    browser.wait_for("seen.length > 0 && text(seen.at(-1)[1]) === 'last'");
    assert_eq!(browser.eval("seen.every((parts) => text(parts[0]) === 'news')"), true);
    let complaints = browser.complaints().into_iter();
    let complaints: Vec<_> = complaints.filter(|it| !it.contains("/favicon.ico")).collect();
    assert_eq!(complaints, NO_COMPLAINTS);
}
