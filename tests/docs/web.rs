//! Pages and scripts for browsers, in a Chromium; scripts for Node, and types. A publisher sends what each has to show.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::docs::markdown::Snippet;
use crate::docs::{Folder, PATIENCE, pages};
use crate::page::browser::Browser;
use crate::page::gateway::Gateway;
use crate::support::node;

const TOPIC: &str = "weather.oslo";
const BODY: &str = "4.5";
/// What a script writes to the console.
const KEEP_LOG: &str = "
    var logged = [];
    for (const level of ['log', 'warn']) {
        const original = console[level];
        console[level] = (...words) => { logged.push(JSON.stringify(words)); original(...words); };
    }";

#[test]
fn every_page_shows_what_is_published() {
    for snippet in pages::in_language("html") {
        if !shows(&snippet, &snippet.text) {
            return;
        }
    }
}

#[test]
fn every_script_for_browsers_shows_what_is_published() {
    for snippet in pages::in_language("js").iter().filter(|it| !it.has("npm")) {
        let page = format!(
            "<!doctype html><p>a page</p><script type=\"module\">\n{}</script>",
            snippet.text
        );
        if !shows(snippet, &page) {
            return;
        }
    }
}

/// Whether there is a browser, which then shows a message on this page or in its console.
#[track_caller]
fn shows(snippet: &Snippet, page: &str) -> bool {
    let Some(mut browser) = Browser::start() else { return false };
    let folder = Folder::new();
    folder.write("index.html", "");
    // Browsers ask for it, and complain where there is none.
    folder.write("favicon.ico", "");
    let gateway = Gateway::start_with(&["--www", folder.path().to_str().unwrap()]);
    let address = gateway.page.strip_prefix("http://").unwrap();
    folder.write("index.html", &page.replace("127.0.0.1:8080", address));
    browser.run_in_new_documents(KEEP_LOG);
    browser.open(&gateway.page);
    let publisher = gateway.publisher();
    let deadline = Instant::now() + PATIENCE;
    loop {
        publisher.send(TOPIC, BODY);
        let text = browser.eval("document.body.innerText + logged.join()");
        if text.as_str().unwrap().contains(BODY) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{snippet}: no message:\n{text}\n{:#?}",
            browser.complaints()
        );
    }
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{snippet}");
    true
}

#[test]
fn every_script_for_node_works() {
    let snippets = pages::in_language("js");
    for snippet in snippets.iter().filter(|it| it.has("npm")) {
        let Some(modules) = node::modules("the handbook's scripts") else { return };
        let gateway = Gateway::start();
        let mut script = Script::start(snippet, &gateway, modules);
        if let Some(topic) = snippet.value("publishes") {
            let answer = first_message(&gateway, topic);
            assert!(answer.contains(topic), "{snippet}: {answer}");
            continue;
        }
        let publisher = gateway.publisher();
        let deadline = Instant::now() + PATIENCE;
        while !script.lines.try_iter().any(|line| line.contains(BODY)) {
            assert!(script.child.try_wait().unwrap().is_none(), "{snippet}: it ended");
            assert!(Instant::now() < deadline, "{snippet}: no message");
            publisher.send(TOPIC, BODY);
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn every_piece_of_typescript_has_the_right_types() {
    let folder = Folder::new();
    for name in ["zmq2ws.js", "zmq2ws.d.ts"] {
        folder.write(name, &fs::read_to_string(pages::root().join("www").join(name)).unwrap());
    }
    let names = pages::in_language("ts")
        .into_iter()
        .enumerate()
        .map(|(number, snippet)| folder.write(&format!("{number}.ts"), &snippet.text));
    let names: Vec<_> = names.collect();
    node::run("typescript", |modules| {
        let flags = [
            "--noEmit",
            "--strict",
            "--target",
            "es2022",
            "--module",
            "esnext",
            "--moduleResolution",
            "bundler",
        ];
        let tsc = modules.join("typescript/bin/tsc").into();
        [tsc]
            .into_iter()
            .chain(flags.map(Into::into))
            .chain(names.into_iter().map(Into::into))
            .collect()
    });
}

#[test]
fn the_screenshots_show_live_data() {
    let Some(mut browser) = Browser::start() else { return };
    let gateway = Gateway::start_with(&["--demo"]);
    for scheme in ["light", "dark"] {
        browser.set_screen(900, scheme);
        browser.open(&gateway.page);
        browser.wait_for("document.querySelectorAll('#grid-body [role=row]').length > 12");
        // To be copied to `docs/images` when the page has changed.
        browser.screenshot(&format!("readme-{scheme}"));
    }
    for scheme in ["light", "dark"] {
        let path = pages::root().join(format!("docs/images/page-{scheme}.png"));
        let committed = fs::read(path).unwrap();
        assert!(committed.starts_with(b"\x89PNG") && committed.len() < 150_000, "{scheme}");
    }
}

/// A script under Node; killed when dropped.
struct Script {
    child: Child,
    lines: mpsc::Receiver<String>,
    _folder: Folder,
}

impl Script {
    fn start(snippet: &Snippet, gateway: &Gateway, modules: &Path) -> Self {
        let mut text = String::new();
        if let Some((package, name)) = snippet.value("npm").unwrap().split_once(" as ") {
            writeln!(text, "const {{ {name} }} = require({});", json!(package)).unwrap();
        }
        let address = gateway.page.strip_prefix("http://").unwrap();
        text += &snippet
            .text
            .replace("127.0.0.1:8080", address)
            .replace("tcp://127.0.0.1:5556", gateway.endpoint());
        let folder = Folder::new();
        let path = folder.write("script.cjs", &text);
        let mut child = Command::new("node")
            .arg(path)
            .env("NODE_PATH", modules)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines, _folder: folder }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a poll that waits for `topic` gets.
fn first_message(gateway: &Gateway, topic: &str) -> String {
    let mut stream = TcpStream::connect(gateway.page.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /poll?timeout=30&topic={topic} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let messages: Value = serde_json::from_str(body).unwrap();
    messages["messages"].to_string()
}
