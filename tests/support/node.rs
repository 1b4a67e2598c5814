//! What runs under Node: with packages from npm, installed once from `tests/node/package-lock.json`, below `target/`.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use super::PATIENCE;

const LOCK: &str = include_str!("../node/package-lock.json");
const PACKAGE: &str = include_str!("../node/package.json");

/// A script of `tests/node` that runs; killed when dropped.
pub(crate) struct Script {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Script {
    /// Starts it, or says on standard error why not: then the test has nothing to do.
    pub(crate) fn start(name: &str, args: &[&str]) -> Option<Self> {
        let mut child = node()
            .env("NODE_PATH", modules(name)?)
            .arg(file(name))
            .args(args)
            .stdin(Stdio::piped())
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
        let stdin = child.stdin.take().unwrap();
        Some(Self { child, stdin, lines })
    }

    /// Writes a line to its standard input.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// The next line of its standard output, which must come.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of the script")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, which trusts those who certify the gateways of this program.
fn node() -> Command {
    let mut command = Command::new("node");
    if trusted_file().exists() {
        command.env("NODE_EXTRA_CA_CERTS", trusted_file());
    }
    command
}

/// Where tests put the certificate of who certifies gateways, if anybody does.
pub(crate) fn trusted_file() -> PathBuf {
    let name = format!("{}-{}-authority.pem", env!("CARGO_CRATE_NAME"), std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The path of a file of `tests/node`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(name)
}

/// Runs `node` with these arguments, and fails with what it says where it fails. Returns at once where the test is to be
/// skipped.
#[track_caller]
pub(crate) fn run(name: &str, args: impl FnOnce(&Path) -> Vec<OsString>) {
    let Some(modules) = modules(name) else { return };
    let output = node().args(args(modules)).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{stdout}\n{stderr}", output.status);
}

/// The folder of the installed packages. `None` where there is none, which is said on standard error: the test with
/// `name` is skipped.
pub(crate) fn modules(name: &str) -> Option<&'static Path> {
    static MODULES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MODULES.get_or_init(install) {
        Ok(modules) => Some(modules),
        Err(reason) => {
            let required = env::var("ZMQ2WS_TEST_REQUIRE").is_ok_and(|what| what == "all");
            assert!(!required, "{reason}, and ZMQ2WS_TEST_REQUIRE=all forbids skipping");
            // Not `eprintln!`, which cargo shows for failed tests only.
            let _ = writeln!(io::stderr(), "test with {name} skipped: {reason}");
            None
        }
    }
}

fn install() -> Result<PathBuf, String> {
    for program in ["node", "npm"] {
        let version = Command::new(program).arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err(format!("no {program} in PATH"));
        }
    }
    let mut hasher = DefaultHasher::new();
    LOCK.hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("node-{:016x}", hasher.finish()));
    if !folder.exists() {
        // Whole or not at all, also where several processes install at the same time.
        let own = target.join(format!("node-{}", std::process::id()));
        let result = install_in(&own);
        if result.is_ok() {
            let _ = std::fs::rename(&own, &folder);
        }
        let _ = std::fs::remove_dir_all(&own);
        result?;
    }
    Ok(folder.join("node_modules"))
}

fn install_in(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("package.json"), PACKAGE).unwrap();
    std::fs::write(folder.join("package-lock.json"), LOCK).unwrap();
    // The binary of zeromq comes with its package: no package's own program has to run.
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("npm ci failed: {errors}")) }
}
