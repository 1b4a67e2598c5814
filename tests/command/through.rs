//! Runs every test of `tests/gateway` twice more: with the gateway inside a host that hands over its connections, and over TLS.

use std::process::Command;

use crate::support::one_at_a_time;
use crate::support::through::{self, Through};

/// Runs this program again, and fails with the report of that run.
#[track_caller]
fn run_again(through: Through) {
    let _turn = one_at_a_time();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--skip=page::", "gateway::"])
        .env(through::VARIABLE, through.word())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = report.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap();
    let count: usize = passed.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 100, "tests of the gateway ran: {report}");
}

#[test]
#[ignore = "long: every test of the gateway once more"]
fn every_test_of_the_gateway_inside_a_host() {
    run_again(Through::Host);
}

#[test]
#[cfg(feature = "tls")]
#[ignore = "long: every test of the gateway once more"]
fn every_test_of_the_gateway_over_tls() {
    run_again(Through::Tls);
}
