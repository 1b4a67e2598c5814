//! Reads the sources as text and holds them to the rules that no compiler knows: who may import whom,
//! who may look at a clock or a socket, and how long things may be.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod flags;
mod language;
mod packages;
mod public_api;
mod public_docs;
mod text;

use std::fs;
use std::path::Path;

use text::{has_word, item_len, without_comments_and_strings, without_tests};

/// The layers, top row first. A module imports from the rows above it, and what stands left of it in
/// its own row.
const LAYERS: [&[&str]; 11] = [
    &["error", "timers", "memory", "metrics"],
    &["message"],
    &["wire"],
    &["topics", "intake"],
    &["history", "feed"],
    &["access", "http", "hooks"],
    &["session"],
    &["net", "source"],
    &["connection"],
    &["event_loop"],
    &["config", "gateway", "bench_internals"],
];

/// Rows whose modules get time and bytes passed in, so that a test can drive them by a seed.
const ROWS_WITHOUT_IO: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 8];

/// Where `unsafe` is, each time in a wrapper as small as its reason: what the compiler cannot know.
const UNSAFE_FILES: [&str; 7] = [
    "examples/own_loop.rs",       // what any user of the poller has to write
    "examples/src/ffi.rs",        // C functions
    "src/event_loop/registry.rs", // a descriptor outlives its place in the poller
    "src/net/inherited.rs",       // a descriptor known by its number only
    "src/source/datagrams.rs",    // what Linux says of dropped datagrams
    "src/source/ffi.rs",          // C functions
    "tests/support/allocator.rs", // an allocator that counts
];

/// Files that may sleep.
const SLEEPING_FILES: [&str; 4] = [
    "examples/producer/pace.rs", // between two messages, but not through a signal
    "src/cli/output.rs", // on the log's own thread, while whoever reads standard error is slow
    "tests/page/views.rs", // between two pieces of a flood of a given rate
    "tests/support/mod.rs", // between two looks at a condition, with a deadline
];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

type Rule = fn(&Source) -> Vec<String>;

const RULES: [(&str, Rule); 10] = [
    ("imports", imports),
    ("clock", clock),
    ("io", io),
    ("poller", poller),
    ("unsafe", unsafe_code),
    ("length", length),
    ("functions", functions),
    ("head", head),
    ("leftovers", leftovers),
    ("sleep", sleeps),
];

/// Async runtimes, and what only they are built on.
const FOREIGN_LOOPS: [&str; 6] =
    ["tokio", "async-std", "smol", "mio", "async-io", "async-executor"];

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        read_folder(root, folder, &mut files);
    }
    assert!(files.len() > 70, "only {} files found", files.len());
    let tests: Vec<_> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let source = |(path, text): &(String, String)| {
        let is_test = tests.iter().any(|module| is_in_module(path, module));
        Source::new(path, text, is_test || !path.starts_with("src/"))
    };
    let complaints: Vec<_> = files.iter().flat_map(|file| complaints(&source(file))).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_layers_are_the_modules() {
    let code = without_tests(&without_comments_and_strings(include_str!("../../src/lib.rs")));
    let mut declared: Vec<_> = code
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let mut layers = LAYERS.concat();
    declared.sort_unstable();
    layers.sort_unstable();
    assert_eq!(layers, declared);
}

#[test]
fn no_async_runtime_is_locked() {
    let text = include_str!("../../Cargo.lock");
    assert_eq!(foreign_loops(text), Vec::<&str>::new());
    let bad = "[[package]]\nname = \"mio\"\n\n[[package]]\nname = \"tokio\"\n";
    assert_eq!(foreign_loops(bad), ["mio", "tokio"]);
    assert_eq!(foreign_loops("[[package]]\nname = \"tokio-free\"\n"), Vec::<&str>::new());
}

fn foreign_loops(lock: &str) -> Vec<&str> {
    lock.lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| FOREIGN_LOOPS.contains(name))
        .collect()
}

#[test]
fn every_rule_catches_what_it_forbids() {
    let long_file = "//! Long.\n".to_owned() + &"\n".repeat(800);
    let long_function = format!("//! A.\nfn f() {{\n{}}}\n", "\n".repeat(69));
    let bad: &[(&str, &str, &str)] = &[
        ("imports", "src/topics.rs", "use crate::feed::Feeds;"),
        ("imports", "src/wire/json.rs", "use crate::{error::Error, session};"),
        ("imports", "src/error.rs", "fn f(m: crate::metrics::Metrics) {}"),
        ("imports", "src/access.rs", "use crate::http::Request;"),
        ("imports", "src/topics.rs", "use super::feed::Feeds;"),
        ("imports", "src/feed/log.rs", "use super::super::session::Session;"),
        ("imports", "src/cli/mod.rs", "use crate::gateway::Gateway;"),
        ("clock", "src/session/http.rs", "let now = Instant::now();"),
        ("clock", "src/feed/mod.rs", "SystemTime :: now()"),
        ("clock", "src/connection/mod.rs", "let age = since.elapsed();"),
        ("io", "src/access.rs", "use std::net::{IpAddr, TcpStream};"),
        ("io", "src/http/assets.rs", "std::fs::read(path)"),
        ("io", "src/connection/mod.rs", "use rustix::net::send;"),
        ("io", "src/message.rs", "fn f(socket: &zmq::Socket) {}"),
        ("poller", "src/net/stream.rs", "use polling::Poller;"),
        ("unsafe", "src/feed/log.rs", "unsafe { core::hint::unreachable_unchecked() }"),
        ("length", "tests/a.rs", &long_file),
        ("functions", "src/a.rs", &long_function),
        ("head", "src/a.rs", "use std::fs;\n//! Late."),
        ("head", "examples/a.rs", "//! no sentence"),
        ("leftovers", "src/timers.rs", "// TODO: later"),
        ("leftovers", "src/timers.rs", "dbg!(now);"),
        ("leftovers", "src/cli/mod.rs", "println!();"),
        ("sleep", "tests/a.rs", "std::thread::sleep(delay);"),
        ("sleep", "examples/consumer/a.rs", "thread::sleep(delay);"),
        ("sleep", "src/gateway.rs", "use std::thread::sleep; fn f() { sleep(delay); }"),
    ];
    for &(rule, path, text) in bad {
        let source = Source::new(path, text, path.starts_with("tests/"));
        let caught = complaints_of(rule, &source);
        assert!(!caught.is_empty(), "{rule}: {path}: {text} is not caught");
    }
    for (name, _) in RULES {
        assert!(bad.iter().any(|(rule, _, _)| *rule == name), "{name} has no bad example");
    }
}

#[test]
fn the_rules_leave_in_peace_what_is_allowed() {
    let function = format!("//! A.\nfn f<'a>() -> [u8; 2] {{\n{}}}\n", "\n".repeat(68));
    for (path, text) in [
        ("src/session/http.rs", "use crate::http::{Request, Serves};\nuse crate::session::Timing;"),
        ("src/metrics.rs", "use crate::error::CloseReason;"),
        ("src/gateway.rs", "let now = Instant::now(); let dir = std::fs::read_dir(path);"),
        ("src/event_loop/registry.rs", "use polling::Poller; unsafe { poller.add() }"),
        (
            "src/feed/mod.rs",
            "// Instant::now() and println! are words in a comment\nlet a = \"polling::\";",
        ),
        ("src/feed/mod.rs", "#[cfg(test)]\nmod tests {\n use crate::gateway::Gateway;\n}"),
        ("src/feed/mod.rs", "let c = '\"'; let r = r#\" \" polling:: \"#; fn g<'a>(x: &'a str) {}"),
        ("tests/a.rs", "println!(\"{}\", started.elapsed().as_secs());"),
        ("src/a.rs", &function),
    ] {
        let text = if text.starts_with("//!") { text.into() } else { format!("//! A.\n{text}") };
        let source = Source::new(path, &text, path.starts_with("tests/"));
        assert_eq!(complaints(&source), Vec::<String>::new());
    }
}

/// A file, with what the rules look at.
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
    /// The text with comments and the contents of strings blanked.
    code: String,
    /// The code without what only tests see.
    shipped: String,
}

impl Source {
    fn new(path: &str, text: &str, is_test: bool) -> Self {
        let code = without_comments_and_strings(text);
        let shipped = if is_test { String::new() } else { without_tests(&code) };
        Self { path: path.into(), text: text.into(), code, shipped }
    }

    /// The name of the module below the crate's root that the file belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or_default();
        path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn row(&self) -> Option<usize> {
        LAYERS.iter().position(|row| row.contains(&self.module()))
    }

    fn is_without_io(&self) -> bool {
        self.row().is_some_and(|row| ROWS_WITHOUT_IO.contains(&row))
    }

    fn says(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// A complaint for each of `words` in each line of `code` that has it, blanks aside.
    fn find(&self, code: &str, words: &[&str], why: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (number, line) in code.lines().enumerate() {
            let line: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let line = line.replace(" ::", "::").replace(":: ", "::");
            for word in words.iter().filter(|word| has_word(&line, word)) {
                found.push(self.says(number, &format!("{word}: {why}")));
            }
        }
        found
    }
}

fn complaints(source: &Source) -> Vec<String> {
    RULES.iter().flat_map(|(name, _)| complaints_of(name, source)).collect()
}

fn complaints_of(name: &str, source: &Source) -> Vec<String> {
    let (_, rule) = RULES.iter().find(|(rule, _)| *rule == name).unwrap();
    rule(source).into_iter().map(|complaint| format!("{complaint} [{name}]")).collect()
}

fn imports(source: &Source) -> Vec<String> {
    let module = source.module();
    if source.path == "src/lib.rs" {
        return Vec::new();
    }
    // Rows are in order, and so is each row from left to right: one comparison says it all.
    let place = |name: &str| LAYERS.concat().iter().position(|it| *it == name);
    let is_above = |name: &str| matches!((place(name), place(module)), (Some(a), Some(b)) if a < b);
    let is_top_file = source.path.matches('/').count() == 1 || source.path.ends_with("/mod.rs");
    let mut complaints = Vec::new();
    for (line, name) in imported(&source.shipped) {
        if name != module && !is_above(name) {
            complaints.push(source.says(line, &format!("{module} may not use {name}")));
        }
    }
    let climbs: &[&str] =
        if is_top_file && place(module).is_some() { &["super::"] } else { &["super::super::"] };
    complaints.extend(source.find(&source.shipped, climbs, "name other modules by crate::"));
    complaints
}

/// The line and name of each module that `code` names by `crate::`.
fn imported(code: &str) -> Vec<(usize, &str)> {
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
    let mut names = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count();
        let rest = &code[at + start.len()..];
        let mut depth = 0;
        let group_end = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0
        };
        let items: Vec<&str> = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(group) => top_level_items(group.split(group_end).next().unwrap_or_default()),
        };
        for item in items {
            let name = item.trim_start().split(is_end).next().unwrap_or_default();
            if !name.is_empty() {
                names.push((line, name));
            }
        }
    }
    names
}

fn top_level_items(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let is_border = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    };
    group.split(is_border).collect()
}

fn clock(source: &Source) -> Vec<String> {
    let words = ["Instant::now", "SystemTime::now", ".elapsed("];
    let why = "time is passed in here, so that a test can turn it";
    if source.is_without_io() { source.find(&source.shipped, &words, why) } else { Vec::new() }
}

fn io(source: &Source) -> Vec<String> {
    let words = [
        "TcpListener",
        "TcpStream",
        "UdpSocket",
        "UnixListener",
        "UnixStream",
        "std::fs",
        "fs::",
        "File::",
        "rustix::net",
        "zmq::Socket",
    ];
    let why = "bytes are passed in here, so that a test can make them up";
    if source.is_without_io() { source.find(&source.shipped, &words, why) } else { Vec::new() }
}

fn poller(source: &Source) -> Vec<String> {
    if source.module() == "event_loop" {
        return Vec::new();
    }
    source.find(&source.shipped, &["polling"], "only the event loop knows the poller")
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    source.find(&source.code, &["unsafe"], "is in no file but those that the rule lists")
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let is_short = lines <= FILE_LINES_MAX;
    let complaint = || source.says(0, &format!("{lines} lines, more than {FILE_LINES_MAX}"));
    if is_short { Vec::new() } else { vec![complaint()] }
}

fn functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut complaints = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let item = &code[at..at + item_len(&code[at..])];
        let lines = item.lines().count();
        if is_word && item.ends_with('}') && lines > FUNCTION_LINES_MAX {
            let name = item.split(['(', '<']).next().unwrap_or_default();
            let line = code[..at].matches('\n').count();
            let what = format!("{name}: {lines} lines, more than {FUNCTION_LINES_MAX}");
            complaints.push(source.says(line, &what));
        }
    }
    complaints
}

fn head(source: &Source) -> Vec<String> {
    let sentence = source.text.strip_prefix("//! ").unwrap_or_default();
    let first = sentence.chars().next().unwrap_or(' ');
    let is_sentence = first.is_uppercase() || first == '`';
    let complaint = || source.says(0, "a file opens with a sentence about what it owns, in //!");
    if is_sentence { Vec::new() } else { vec![complaint()] }
}

fn leftovers(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let why = "is not for what is shipped";
    let mut complaints = source.find(&source.text, &["TODO", "FIXME", "XXX"], why);
    let words = ["dbg!", "println!", "eprintln!", "print!", "eprint!", "todo!", "unimplemented!"];
    complaints.extend(source.find(&source.shipped, &words, why));
    complaints
}

fn sleeps(source: &Source) -> Vec<String> {
    let is_checked =
        ["src/", "tests/", "examples/"].iter().any(|folder| source.path.starts_with(folder));
    if !is_checked || SLEEPING_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    source.find(&source.code, &["sleep("], "wait for what is awaited, with a deadline")
}

/// The modules in files of their own that `text` declares for tests only: paths without `.rs`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let code = without_comments_and_strings(text);
    let parent = path.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|name| parent.strip_suffix(name));
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let name = rest.trim_start().strip_prefix("mod ")?.split_once(';')?.0;
        (!name.contains('{')).then(|| format!("{}/{name}", folder.unwrap_or(parent)))
    });
    declared.collect()
}

fn is_in_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[test]
fn test_modules_are_known_by_their_declaration() {
    let text = "#[cfg(test)]\nmod tests;\nmod log;\n#[cfg(test)]\nmod own { use a; }\n";
    assert_eq!(test_modules("src/lib.rs", text), ["src/tests"]);
    assert_eq!(test_modules("src/feed/mod.rs", text), ["src/feed/tests"]);
    assert_eq!(test_modules("src/wire/json.rs", text), ["src/wire/json/tests"]);
    assert!(is_in_module("src/feed/tests/a.rs", "src/feed/tests"));
    assert!(is_in_module("src/feed/tests.rs", "src/feed/tests"));
    assert!(!is_in_module("src/feed/tests_of.rs", "src/feed/tests"));
}

fn read_folder(root: &Path, folder: &str, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.map(Result::unwrap) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        // What cargo builds for a package of its own is nobody's source.
        if entry.file_name() == "target" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            read_folder(root, &path, files);
        } else if path.ends_with(".rs") {
            files.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
