//! README and handbook as their readers use them: every command, program and configuration is run, every link is followed.
//!
//! A comment right before a code block says how a test treats it:
//!
//! | comment | meaning |
//! |---|---|
//! | `not run: REASON` | the block cannot run in a test |
//! | `file: PATH` | the reader saves the block under this name |
//! | `keeps running` | the command runs until the reader stops it |
//! | `prints: TEXT` | the command prints this |
//! | `needs: a certificate` | `fullchain.pem` and `privkey.pem` are there |
//! | `npm: PACKAGE`, `npm: PACKAGE as NAME` | the script runs under Node with this package |
//! | `publishes: TOPIC` | the script is a publisher of this topic |

mod links;
mod markdown;
mod outside;
mod pages;
mod shell;
mod web;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use markdown::Snippet;

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Languages of code blocks that are only read.
const READ_ONLY: [&str; 1] = ["text"];
/// Languages that no test can run: each block needs a reason.
const FOREIGN: [&str; 3] = ["ini", "tsx", "vue"];

#[test]
fn each_code_block_has_a_language_that_a_test_runs_or_a_reason() {
    let library = include_str!("../../src/lib.rs");
    let mut complaints = Vec::new();
    for snippet in pages::snippets() {
        let is_fine = match snippet.language.as_str() {
            _ if snippet.is_run_nowhere() => !snippet.value("not run").unwrap().is_empty(),
            // A doctest.
            "rust" => library.contains(&format!("include_str!(\"../{}\")", snippet.page)),
            "python" | "c" => is_used(&snippet),
            "js" | "html" | "sh" | "ts" | "toml" | "nginx" | "haproxy" => true,
            "json" => serde_json::from_str::<serde_json::Value>(&snippet.text).is_ok(),
            language => READ_ONLY.contains(&language) && !FOREIGN.contains(&language),
        };
        if !is_fine {
            complaints.push(format!("{snippet}: no test runs it, and no comment says why"));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Whether a command of the same page uses the file that the block is.
fn is_used(snippet: &Snippet) -> bool {
    let Some(file) = snippet.value("file") else { return false };
    let name = file.rsplit('/').next().unwrap();
    pages::snippets().iter().any(|other| {
        other.page == snippet.page && other.language == "sh" && other.text.contains(name)
    })
}

#[test]
fn the_readme_is_short_and_starts_with_what_to_type() {
    let readme = include_str!("../../README.md");
    let (lines, words) = (readme.lines().count(), readme.split_whitespace().count());
    assert!(lines <= 250 && words <= 1800, "{lines} lines, {words} words");
    for command in ["cargo run --release -- --demo", "cargo test"] {
        let is_early = readme.lines().take(30).any(|line| line == command);
        assert!(is_early, "the first 30 lines do not have: {command}");
    }
}

/// Whether a test may go on: where `reason` says what is missing, it is skipped, which is said on standard error.
#[track_caller]
fn is_possible(what: &str, missing: Option<String>) -> bool {
    let Some(reason) = missing else { return true };
    let required = env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
    assert!(!required, "{what}: {reason}, and ZMQ2WS_TEST_REQUIRE=all forbids skipping");
    // Not `eprintln!`, which cargo shows for failed tests only.
    let _ = writeln!(io::stderr(), "{what} skipped: {reason}");
    false
}

/// A folder of its own for each use, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("zmq2ws-docs-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders above it.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
