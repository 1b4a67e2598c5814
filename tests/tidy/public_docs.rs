//! What the public interface shows of itself: a type has an example, and a method is in one. Reads the sources as text;
//! that examples compile and run is for `cargo test --doc`.

use std::path::Path;

use crate::public_api::{HIDDEN, exported};
use crate::text::has_word;

#[test]
fn every_public_item_is_in_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    crate::read_folder(root, "src", &mut files);
    let missing = without_example(&files);
    assert!(missing.is_empty(), "in no example of the documentation:\n{}\n", missing.join("\n"));
}

#[test]
fn what_is_in_no_example_is_found() {
    let lib = "pub use a::{A, B, C};\n";
    let a = "/// A.\n///\n/// ```\n/// A::new().run();\n/// ```\n#[derive(Debug)]\npub struct A;\n\
        /// No example.\npub enum B {\n}\npub struct Own;\n\
        impl A {\n    pub fn new() -> Self {}\n    pub fn run(&self) {}\n    /// Ends.\n    pub fn end(self) {}\n    \
        #[doc(hidden)]\n    pub fn secret() {}\n    pub const MAX: u8 = 1;\n}\n\
        impl Own {\n    pub fn free() {}\n}\n\
        reasons! {\n    /// As text only.\n    pub C {\n        One = \"one\",\n    }\n}\n";
    let files = [("src/lib.rs".into(), lib.into()), ("src/a.rs".into(), a.into())];
    assert_eq!(
        without_example(&files),
        ["src/a.rs: B", "src/a.rs: A::end", "src/a.rs: A::MAX", "src/a.rs: C"]
    );
}

fn without_example(files: &[(String, String)]) -> Vec<String> {
    let lib = files.iter().find(|(path, _)| path == "src/lib.rs").unwrap();
    let exported = exported(&lib.1);
    let is_exported = |name: &str| exported.iter().any(|uses| has_word(uses, name));
    let is_hidden = |path: &str| HIDDEN.iter().any(|hidden| path.starts_with(hidden));
    let shown = || files.iter().filter(|(path, _)| !is_hidden(path));
    let examples: String = files.iter().map(|(_, text)| examples_of(text)).collect();
    let mut missing = Vec::new();
    for (path, text) in shown() {
        let (mut above, mut owner) = (String::new(), None);
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with("///") || trimmed.starts_with("#[") {
                above += &format!("{trimmed}\n");
                continue;
            }
            if let Some(rest) = line.strip_prefix("impl") {
                owner = implementor(rest).filter(|name| is_exported(name));
            }
            let is_hidden = above.contains("#[doc(hidden)]");
            match (item(line), owner) {
                (Some(Item::Type(name)), _) if is_exported(name) && !above.contains("```") => {
                    missing.push(format!("{path}: {name}"));
                }
                (Some(Item::Member(name)), Some(owner))
                    if !is_hidden && !is_used(&examples, name) =>
                {
                    missing.push(format!("{path}: {owner}::{name}"));
                }
                _ => {}
            }
            above.clear();
        }
    }
    missing
}

enum Item<'a> {
    Type(&'a str),
    /// A function or a constant of a type.
    Member(&'a str),
}

/// The public item that begins in `line`.
fn item(line: &str) -> Option<Item<'_>> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let name_of = |rest: &'_ str| rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = |rest| name_of(rest).map(|end| &rest[..end]);
    for kind in ["fn ", "const "] {
        if let Some(rest) = rest.strip_prefix(kind) {
            return name(rest).map(Item::Member);
        }
    }
    let kinds = ["struct ", "enum "];
    let declared = kinds.iter().find_map(|kind| rest.strip_prefix(kind));
    // Or by a macro that declares an enum.
    let by_macro = || rest.starts_with(char::is_uppercase).then_some(rest);
    declared.or_else(by_macro).and_then(name).map(Item::Type)
}

/// Whose methods follow `impl`; those of a trait are the trait's.
fn implementor(rest: &str) -> Option<&str> {
    let header = rest.split('{').next()?;
    let header = if header.starts_with('<') { header.split_once('>')?.1 } else { header };
    let is_of_trait = header.contains(" for ");
    let name = header.trim().split(['<', ' ']).next()?;
    (!is_of_trait).then_some(name)
}

fn is_used(examples: &str, name: &str) -> bool {
    [".", "::"].iter().any(|before| has_word(examples, &format!("{before}{name}")))
}

/// The code in the documentation of a file.
fn examples_of(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("///"));
    let code = lines.filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        is_code && !is_fence
    });
    code.flat_map(|line| [line, "\n"]).collect()
}
