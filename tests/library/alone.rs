//! Runs a test in a process of its own, where it measures or changes what all threads of a process share.

use std::any::type_name_of_val;
use std::process::Command;

/// Set in the process that `body` has for itself.
const VARIABLE: &str = "ZMQ2WS_TEST_ALONE";

/// Runs this program again for the test that defines `body`, a function inside it, and there runs `body`.
#[track_caller]
pub(crate) fn alone<F: FnOnce()>(body: F) {
    if std::env::var_os(VARIABLE).is_some() {
        return body();
    }
    // `library::heap::test::body`: the harness leaves out the program's name.
    let path = type_name_of_val(&body);
    let test = path.split_once("::").and_then(|(_, path)| path.rsplit_once("::")).unwrap().0;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && report.contains("test result: ok. 1 passed");
    assert!(passed, "{test}: {report}\n{}", String::from_utf8_lossy(&output.stderr));
    print!("{report}");
}
