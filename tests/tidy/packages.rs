//! What each Cargo feature brings with it, as Cargo tells it: the handbook's numbers, and what nobody is to have who did not ask
//! for it.

use std::collections::BTreeSet;
use std::process::Command;

use crate::public_api::one_line;

/// Cargo features that are for nobody else.
const OWN_FEATURES: [&str; 2] = ["default", "bench-internals"];

/// What the library does without: flags, log filters, signals, deflate.
const FOREIGN_TO_THE_LIBRARY: [&str; 5] = ["clap", "env_filter", "regex", "signal-hook", "flate2"];

#[test]
fn the_handbook_counts_the_packages_of_each_feature() {
    let page = include_str!("../../docs/embed.md");
    let (all, none) = (packages(&[]).len(), without_defaults("").len());
    let sentence = format!("`default-features = false` leaves {none} of {all} packages");
    assert!(one_line(page).contains(&sentence), "docs/embed.md does not say: {sentence}");
    for feature in features(include_str!("../../Cargo.toml")) {
        let added = without_defaults(feature).len() - none;
        let (row, number) = (format!("| `{feature}` |"), format!(" | {added} | "));
        let is_told = |line: &str| line.starts_with(&row) && line.contains(&number);
        assert!(page.lines().any(is_told), "docs/embed.md has no row: {row} … {number} …");
    }
}

#[test]
fn a_library_without_features_has_no_package_of_theirs() {
    let names = without_defaults("");
    assert!(names.len() > 20 && names.iter().any(|name| name.starts_with("zmq v")), "{names:?}");
    for foreign in FOREIGN_TO_THE_LIBRARY {
        let is_it = |name: &&String| name.starts_with(&format!("{foreign} v"));
        assert_eq!(names.iter().find(is_it), None);
        assert!(packages(&[]).iter().any(|name| is_it(&name)), "{foreign}: nobody has it any more");
    }
}

#[test]
fn features_are_found_where_they_are_declared() {
    let manifest = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"a\"]\n# Of a.\na = [\n    \"dep:y\",\n]\n\
        b-c = []\nbench-internals = []\n\n[dependencies]\nd = \"1\"\n";
    assert_eq!(features(manifest), ["a", "b-c"]);
}

/// The Cargo features that somebody may choose.
fn features(manifest: &str) -> Vec<&str> {
    let section = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.split_once(" = ").map(|(name, _)| name));
    names.filter(|name| !OWN_FEATURES.contains(name) && !name.starts_with('#')).collect()
}

fn without_defaults(features: &str) -> BTreeSet<String> {
    packages(&["--no-default-features", "--features", features])
}

/// Every package that is built for this one, itself included, with its version.
fn packages(arguments: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--package=zmq2ws", "--edges=normal,build"]);
    // The same numbers wherever the test runs.
    cargo.args(["--target=x86_64-unknown-linux-gnu", "--prefix=none", "--no-dedupe"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.args(arguments).output().unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&errors));
    text.lines().map(String::from).collect()
}
