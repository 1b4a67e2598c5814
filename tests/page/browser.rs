//! A headless Chromium with one page, driven over the DevTools protocol. Knows nothing of what it shows.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::page::PATIENCE;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox", // CI runs as root, where Chromium has none.
    "--disable-gpu",
    "--disable-dev-shm-usage", // Containers have 64 MiB of it.
    "--disable-quic",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
];

/// A browser of this test's own; it ends with the value.
pub(crate) struct Browser {
    child: Child,
    profile: PathBuf,
    /// `ws://HOST:PORT`, without a path.
    devtools: String,
    page: DevTools,
}

impl Browser {
    /// Starts one, or says on standard error why not: then the test has nothing to do.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = find() else {
            let reason = format!("no Chromium in PATH (looked for {})", NAMES.join(", "));
            let required = env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
            assert!(!required, "{reason}, and ZMQ2WS_TEST_REQUIRE=all forbids skipping");
            // Not `eprintln!`, which cargo shows for failed tests only.
            let _ = writeln!(io::stderr(), "page test skipped: {reason}");
            return None;
        };
        let profile = fresh_profile();
        let mut child = Command::new(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // It has children of its own: all of them can be ended together.
            .process_group(0)
            .spawn()
            .unwrap();
        let url = devtools_url(&child.stderr.take().map(lines).unwrap());
        let devtools = url.split("/devtools/").next().unwrap().to_owned();
        let mut browser = DevTools::connect(&url);
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let id = target["targetId"].as_str().unwrap();
        let mut page = DevTools::connect(&format!("{devtools}/devtools/page/{id}"));
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(Self { child, profile, devtools, page })
    }

    /// Has `script` run before the scripts of every document.
    pub(crate) fn run_in_new_documents(&mut self, script: &str) {
        let params = json!({"source": script});
        self.page.call("Page.addScriptToEvaluateOnNewDocument", &params);
    }

    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.page.call("Page.navigate", &json!({"url": url}));
        assert_eq!(answer.get("errorText"), None, "{url}");
        self.wait_for("document.readyState === 'complete'");
    }

    /// The value of `expression`, a promise's included.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.page.call("Runtime.evaluate", &params);
        assert_eq!(answer.get("exceptionDetails"), None, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Waits until `condition` is true.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, condition: &str) {
        let millis = PATIENCE.as_millis();
        let came = self.eval(&format!(
            "(async () => {{
                const end = performance.now() + {millis};
                while (!({condition})) {{
                    if (performance.now() > end) return false;
                    await new Promise((resolve) => setTimeout(resolve, 20));
                }}
                return true;
            }})()"
        ));
        if came != true {
            let text = self.eval("document.body.innerText");
            panic!("not in {PATIENCE:?}: {condition}\nthe page:\n{text}\n{:#?}", self.complaints());
        }
    }

    /// Errors and warnings so far: uncaught exceptions, the console's, and the browser's own,
    /// violations of the Content-Security-Policy among them.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // The answer to a call comes after everything that was said before it.
        self.eval("0");
        self.page.events.iter().filter_map(complaint).collect()
    }

    /// Seconds of CPU that the page's main thread has taken, and bytes of its heap after a collection.
    pub(crate) fn cost(&mut self) -> (f64, f64) {
        self.page.call("HeapProfiler.collectGarbage", &json!({}));
        self.page.call("Performance.enable", &json!({"timeDomain": "threadTicks"}));
        let answer = self.page.call("Performance.getMetrics", &json!({}));
        let metrics = answer["metrics"].as_array().unwrap();
        let metric = |name| {
            let found = metrics.iter().find(|metric| metric["name"] == name).unwrap();
            found["value"].as_f64().unwrap()
        };
        (metric("TaskDuration"), metric("JSHeapUsedSize"))
    }

    /// Takes the network away, or gives it back.
    pub(crate) fn set_offline(&mut self, is_offline: bool) {
        self.page.call("Network.enable", &json!({}));
        let conditions = json!({
            "offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1
        });
        self.page.call("Network.emulateNetworkConditions", &conditions);
    }

    /// Shows the page as on a screen of that width, light or dark.
    pub(crate) fn set_screen(&mut self, width: u32, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.page.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        let metrics =
            json!({"width": width, "height": 720, "deviceScaleFactor": 1, "mobile": false});
        self.page.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Keeps a picture of the page below `target/tmp` for whoever wants to look.
    #[track_caller]
    pub(crate) fn screenshot(&mut self, name: &str) {
        let answer = self.page.call("Page.captureScreenshot", &json!({"format": "png"}));
        let png = BASE64.decode(answer["data"].as_str().unwrap().as_bytes()).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{name}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
        fs::write(path, png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked, it ends its children itself; killed, it leaves them to the system.
        if let Ok(mut browser) =
            DevTools::try_connect(&format!("{}/devtools/browser", self.devtools))
        {
            browser.close_browser();
        }
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<_> = env::split_paths(&path).collect();
    let files = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

fn fresh_profile() -> PathBuf {
    static PROFILES: AtomicU32 = AtomicU32::new(0);
    let number = PROFILES.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("zmq2ws-page-{}-{number}", std::process::id()))
}

/// Lines as they come, to the end, so that the writer never waits for a reader.
pub(crate) fn lines(stream: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    lines
}

#[track_caller]
fn devtools_url(stderr: &Receiver<String>) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match stderr.recv_timeout(left) {
            Ok(line) => match line.strip_prefix("DevTools listening on ") {
                Some(url) => return url.trim().to_owned(),
                None => seen.push(line),
            },
            Err(error) => panic!("Chromium does not start ({error}): {seen:#?}"),
        }
    }
}

fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    let is_grave = |level: &Value| level == "error" || level == "warning";
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if is_grave(&params["type"]) => Some(params["args"].to_string()),
        "Log.entryAdded" if is_grave(&params["entry"]["level"]) => {
            Some(params["entry"].to_string())
        }
        _ => None,
    }
}

/// One connection to a DevTools target: calls and the events between them.
struct DevTools {
    socket: WebSocket<TcpStream>,
    calls: u64,
    events: Vec<Value>,
}

impl DevTools {
    #[track_caller]
    fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn try_connect(url: &str) -> Result<Self, String> {
        let address = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        // Above what a condition may take, so that its own report comes first.
        stream
            .set_read_timeout(Some(PATIENCE + Duration::from_secs(15)))
            .map_err(|error| error.to_string())?;
        let (socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
        Ok(Self { socket, calls: 0, events: Vec::new() })
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let call = json!({"id": self.calls, "method": method, "params": params});
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: {error}"));
            let Message::Text(text) = message else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.calls {
                assert_eq!(answer.get("error"), None, "{method} {params}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// Asks the whole browser to end, and waits until it has.
    fn close_browser(&mut self) {
        let _ = self.socket.get_ref().set_read_timeout(Some(Duration::from_secs(5)));
        let call = json!({"id": 1, "method": "Browser.close"});
        let _ = self.socket.send(Message::text(call.to_string()));
        while self.socket.read().is_ok() {}
    }
}
