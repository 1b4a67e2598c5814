//! The commands of each page, from top to bottom in one folder, with the page's files in it. Ports are replaced by free ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::docs::markdown::Snippet;
use crate::docs::{Folder, PATIENCE, is_possible, pages};

/// The ports of the pages.
const PORTS: [&str; 5] = ["8080", "5556", "5557", "9100", "443"];
/// What other programs the pages call.
const TOOLS: [&str; 3] = ["bash", "curl", "vmstat"];
/// Long enough for a program to see that it was called in a wrong way.
const SECOND_THOUGHT: Duration = Duration::from_millis(500);

#[test]
fn the_commands_of_each_page_work() {
    let missing = TOOLS.iter().find(|tool| find(tool).is_none());
    if !is_possible("test of commands", missing.map(|tool| format!("no {tool} in PATH"))) {
        return;
    }
    let mut by_page: BTreeMap<String, Vec<Snippet>> = BTreeMap::new();
    for snippet in pages::snippets() {
        by_page.entry(snippet.page.clone()).or_default().push(snippet);
    }
    let mut commands = 0;
    for (page, snippets) in by_page {
        let is_command = |it: &&Snippet| it.language == "sh" && !it.is_run_nowhere();
        if snippets.iter().any(|it| is_command(&it)) && is_possible(&page, lacks(&snippets)) {
            let mut terminal = Terminal::open(&snippets);
            for snippet in snippets.iter().filter(is_command) {
                terminal.type_in(snippet);
                commands += 1;
            }
            terminal.close();
        }
    }
    assert!(commands > 20, "only {commands} commands found");
}

/// What the commands need that is not on this machine.
fn lacks(snippets: &[Snippet]) -> Option<String> {
    let needs =
        |word: &str| snippets.iter().any(|it| it.language == "sh" && it.text.contains(word));
    if needs("python3") && python().is_none() {
        return Some("no python3 with pyzmq (apt-get install python3-zmq)".into());
    }
    if needs("-lzmq") && !has_headers() {
        return Some("no C compiler with zmq.h (apt-get install gcc libzmq3-dev)".into());
    }
    None
}

/// Whether C programs can be built with libzmq.
fn has_headers() -> bool {
    let args = ["-E", "-include", "zmq.h", "-x", "c", "/dev/null"];
    Command::new("cc").args(args).output().is_ok_and(|output| output.status.success())
}

/// A Python that has pyzmq.
fn python() -> Option<PathBuf> {
    let candidates = find("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]);
    let has_zmq = |path: &PathBuf| {
        let output = Command::new(path).args(["-c", "import zmq"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(has_zmq)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a reader has on the screen: a folder, and programs that run in it.
struct Terminal {
    folder: Folder,
    ports: Vec<(String, String)>,
    running: Vec<Running>,
}

impl Terminal {
    fn open(snippets: &[Snippet]) -> Self {
        // All at once, so that no two are the same.
        let listeners: Vec<_> =
            PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = PORTS.iter().zip(&listeners).map(|(port, listener)| {
            (format!(":{port}"), format!(":{}", listener.local_addr().unwrap().port()))
        });
        let terminal = Self { folder: Folder::new(), ports: ports.collect(), running: Vec::new() };
        for snippet in snippets {
            if let Some(file) = snippet.value("file") {
                terminal.folder.write(file, &terminal.with_ports(&snippet.text));
            }
            if snippet.has("needs") {
                let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                terminal.folder.write("fullchain.pem", &key.cert.pem());
                terminal.folder.write("privkey.pem", &key.key_pair.serialize_pem());
            }
        }
        terminal.write_programs();
        terminal
    }

    /// The programs that the pages tell to install, and what replaces them where they would take minutes.
    fn write_programs(&self) {
        let (page, feed) = (self.port(":8080"), self.port(":5556"));
        let installed = |name: &str| {
            let tests = std::env::current_exe().unwrap();
            let path = tests.ancestors().nth(2).unwrap().join(name);
            assert!(
                path.exists(),
                "{}: run `cargo build --workspace --bins` first",
                path.display()
            );
            path.display().to_string()
        };
        let unless = |flags: &str, program: &str, given: &str| {
            format!(
                "case \" $* \" in {flags}) exec {program} \"$@\";; esac\nexec {program} {given} \"$@\""
            )
        };
        let ends = "*' --connect '*|*' --bind '*";
        let gateway = env!("CARGO_BIN_EXE_zmq2ws");
        let to_gateway = format!("--connect tcp://127.0.0.1{feed}");
        let programs = [
            ("producer", unless(ends, &installed("producer"), &to_gateway)),
            ("consumer", format!("exec {} \"$@\"", installed("consumer"))),
            (
                "ws_consumer",
                format!(
                    "exec {} 'ws://127.0.0.1{page}/ws?format=json' \"$@\"",
                    installed("ws_consumer")
                ),
            ),
            (
                "zmq2ws",
                format!(
                    "case \" $* \" in {ends}|*' --config '*) ;; *) export ZMQ2WS_BIND=tcp://127.0.0.1{feed};; esac\n\
                     case \" $* \" in *' --config '*) ;; *) export ZMQ2WS_LISTEN=127.0.0.1{page};; esac\n\
                     exec {gateway} \"$@\""
                ),
            ),
            (
                "cargo",
                CARGO
                    .replace("REPOSITORY", pages::root().to_str().unwrap())
                    .replace("CARGO", env!("CARGO")),
            ),
            ("python3", format!("exec {} -u \"$@\"", python().unwrap_or_default().display())),
        ];
        for (name, script) in programs {
            let path =
                self.folder.write(&format!("bin/{name}"), &format!("#!/bin/bash\n{script}\n"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn port(&self, written: &str) -> &str {
        &self.ports.iter().find(|(from, _)| from == written).unwrap().1
    }

    fn with_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn type_in(&mut self, snippet: &Snippet) {
        let mut script = self.with_ports(&snippet.text);
        let keeps_running = snippet.has("keeps running") && !names_other_hosts(&snippet.text);
        if snippet.has("keeps running") && !keeps_running {
            // Nothing is asked of hosts elsewhere.
            script = format!("{} --check", script.trim_end());
        }
        let is_gateway = is_gateway(&snippet.text);
        if is_gateway && keeps_running {
            self.running.iter_mut().filter(|it| it.is_gateway).for_each(Running::stop);
            self.running.retain(|it| !it.is_gateway);
        }
        let mut running =
            Running::start(self.folder.path(), &script, snippet.to_string(), is_gateway);
        let expected =
            snippet.value("prints").or((is_gateway && keeps_running).then_some("zeromq "));
        if let Some(text) = expected {
            running.wait_for_output(text);
        }
        if keeps_running {
            self.running.push(running);
        } else {
            running.wait_for_end();
        }
    }

    /// What keeps running has not ended in the meantime.
    fn close(mut self) {
        let begun = Instant::now();
        while begun.elapsed() < SECOND_THOUGHT {
            self.running.iter_mut().for_each(Running::assert_alive);
            thread::park_timeout(SECOND_THOUGHT / 10);
        }
    }
}

/// In place of cargo: what the tests have built already is run, and nothing is installed.
const CARGO: &str = r#"
case "$1" in
run)
    while [[ $# -gt 0 && "$1" != -- ]]; do shift; done
    exec zmq2ws "${@:2}";;
install)
    [[ "$2" == --path && -f "REPOSITORY/$3/Cargo.toml" ]];;
tree)
    cd REPOSITORY && exec CARGO "$@" --offline;;
*)
    echo "no test knows: cargo $1" >&2; exit 1;;
esac"#;

fn is_gateway(script: &str) -> bool {
    let runs_gateway = script.starts_with("cargo run ") && !script.contains("--bin");
    script.starts_with("zmq2ws") || runs_gateway
}

fn names_other_hosts(script: &str) -> bool {
    let is_here = |rest: &str| ["127.0.0.1", "0.0.0.0", "*"].iter().any(|it| rest.starts_with(it));
    script.split("tcp://").skip(1).any(|rest| !is_here(rest))
}

/// A command, killed with all that it started when dropped.
struct Running {
    name: String,
    child: Child,
    is_gateway: bool,
    output: Arc<Mutex<String>>,
}

impl Running {
    fn start(folder: &Path, script: &str, name: String, is_gateway: bool) -> Self {
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ZMQ2WS_") {
                command.env_remove(name);
            }
        }
        command.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        let output = Arc::default();
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        collect(child.stderr.take().unwrap(), Arc::clone(&output));
        Self { name, child, is_gateway, output }
    }

    fn wait_for_output(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.output.lock().unwrap().contains(text) {
            let output = self.output.lock().unwrap().clone();
            let has_failed = self.child.try_wait().unwrap().is_some_and(|status| !status.success());
            assert!(
                !has_failed && Instant::now() < deadline,
                "{}: does not print {text:?}:\n{output}",
                self.name
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "{}: does not end:\n{}",
                self.name,
                self.output.lock().unwrap()
            );
            thread::park_timeout(Duration::from_millis(5));
        };
        assert!(status.success(), "{}: {status}:\n{}", self.name, self.output.lock().unwrap());
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{}: ended with {status}:\n{}", self.name, self.output.lock().unwrap());
        }
    }

    /// Ctrl-C.
    fn stop(&mut self) {
        self.assert_alive();
        kill_process_group(Pid::from_child(&self.child), Signal::INT).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{}: does not stop", self.name);
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut output = output.lock().unwrap();
            *output += &String::from_utf8_lossy(&line);
            output.push('\n');
        }
    });
}

#[test]
fn hosts_elsewhere_are_known() {
    assert!(names_other_hosts("zmq2ws --connect tcp://eddn.example:9500"));
    assert!(!names_other_hosts("zmq2ws --bind 'tcp://*:5556' --connect tcp://127.0.0.1:1"));
    assert!(
        is_gateway("cargo run --release -- --demo")
            && !is_gateway("cargo run --release --bin producer")
    );
}
