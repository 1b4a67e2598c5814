//! The public interface as text, so that a review sees what changes in it. Reads the sources, since every `pub` item is
//! reachable from outside: the compiler's lint `unreachable_pub` sees to that.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use crate::flags::entry_name;
use crate::text::{item_len, without_comments_and_strings, without_tests};

const LIST: &str = "tests/public_api.txt";

/// What is public for this package's own programs only.
pub(crate) const HIDDEN: [&str; 3] = ["src/bench_internals/", "src/cli/", "src/config/"];

#[test]
fn the_public_interface_is_what_the_list_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    crate::read_folder(root, "src", &mut files);
    let list = public_items(&files);
    assert!(list.len() > 150, "only {} items found", list.len());
    let text = list.join("\n") + "\n";
    let path = root.join(LIST);
    if env::var_os("ZMQ2WS_ACCEPT_API").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let accepted = fs::read_to_string(&path).unwrap_or_default();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) =
        (accepted.lines().collect(), text.lines().collect());
    let gone: Vec<_> = before.difference(&after).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = after.difference(&before).map(|line| format!("+ {line}")).collect();
    assert!(
        accepted == text,
        "the public interface is not what {LIST} says:\n{}\n{}\n\
         If that is meant: ZMQ2WS_ACCEPT_API=1 cargo test --test tidy, and mind the version.\n",
        gone.join("\n"),
        new.join("\n")
    );
}

#[test]
fn what_is_public_is_found_and_nothing_else() {
    let lib = "mod a;\npub use a::{A, Odd};\n";
    let a = "#[derive(Debug)]\n#[non_exhaustive]\npub struct A {\n    /// Doc\n    pub b: u8,\n    c: u8,\n}\n\
        impl A {\n    pub fn new(b: u8) -> Self\n    where\n        u8: Copy,\n    {\n        Self { b, c: 0 }\n    }\n\n    \
        fn own(&self) {}\n    pub(crate) fn other(&self) {}\n}\n\
        impl Clone for A {\n    fn clone(&self) -> Self {}\n}\nimpl Clone for B {}\npub(crate) struct B;\n\
        pub struct T(u8);\nreasons! {\n    /// Doc\n    #[non_exhaustive]\n    pub Odd {\n        One = \"one\",\n    }\n}\n\
        #[cfg(test)]\nmod tests {\n    pub struct C;\n}\n";
    let settings = "                max_lag: \"BYTES\" = \"1MiB\",\n                /// Doc.\n                    fn(bytes: usize) = bytes;\n";
    let files = [("src/lib.rs", lib), ("src/a.rs", a), ("src/config/settings.rs", settings)];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let expected = [
        "#[derive(Debug)] #[non_exhaustive] pub struct A { pub b: u8, }",
        "#[non_exhaustive] pub Odd { One = , }",
        "impl A: pub fn new(b: u8) -> Self where u8: Copy",
        "impl Builder: pub fn max_lag(self, bytes: usize) -> Self",
        "impl Clone for A",
        "pub struct T(_)",
        "pub use a::{A, Odd}",
    ];
    assert_eq!(public_items(&files), expected);
}

/// Every public item on one line, sorted.
fn public_items(files: &[(String, String)]) -> Vec<String> {
    let code = |text: &str| without_tests(&without_comments_and_strings(text));
    let lib = files.iter().find(|(path, _)| path == "src/lib.rs").unwrap();
    let exported = exported(&lib.1);
    let is_exported = |name: &str| {
        exported.iter().any(|uses| uses.split(|c: char| !c.is_alphanumeric()).any(|it| it == name))
    };
    let mut items: Vec<_> = exported.iter().map(|uses| format!("pub use {uses}")).collect();
    for (path, text) in files {
        if path != "src/lib.rs" && !HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
            add_items(&code(text), &is_exported, &mut items);
        }
    }
    let settings = files.iter().filter(|(path, _)| path == "src/config/settings.rs");
    let methods = settings.flat_map(|(_, text)| builder_methods(text));
    items.extend(
        methods.map(|(name, args)| format!("impl Builder: pub fn {name}(self, {args}) -> Self")),
    );
    items.sort();
    items
}

/// The methods that the entries of the settings declare, each with its arguments: `fn(argument: Type) = …`.
pub(crate) fn builder_methods(settings: &str) -> Vec<(&str, &str)> {
    let mut name = "";
    let methods = settings.lines().filter_map(|line| {
        name = entry_name(line).unwrap_or(name);
        let (args, _) = line.strip_prefix("                    fn(")?.split_once(") = ")?;
        Some((name, args))
    });
    methods.collect()
}

/// What `lib.rs` lets out, by each `pub use`.
pub(crate) fn exported(lib: &str) -> Vec<String> {
    without_tests(&without_comments_and_strings(lib))
        .split(';')
        .filter_map(|item| Some(one_line(item.split_once("pub use ")?.1)))
        .collect()
}

fn add_items(code: &str, is_exported: &dyn Fn(&str) -> bool, items: &mut Vec<String>) {
    let mut offset = 0;
    let mut attributes = String::new();
    let mut owner = None;
    for line in code.split_inclusive('\n') {
        let rest = &code[offset..];
        offset += line.len();
        let item = &rest[..item_len(rest)];
        let (trimmed, is_top) = (line.trim(), !line.starts_with([' ', '\n']));
        if trimmed.starts_with("#[") {
            attributes += &format!("{trimmed} ");
            continue;
        }
        if is_top && trimmed.starts_with("impl") {
            let header = one_line(item.split('{').next().unwrap_or_default());
            let name = |text: &str| {
                let name = text.split(['<', ' ']).next().unwrap_or_default();
                name.to_owned()
            };
            if let Some((_, implementor)) = header.split_once(" for ")
                && is_exported(&name(implementor))
            {
                items.push(header.clone());
            }
            owner = Some(header).filter(|_| !trimmed.ends_with('}'));
        } else if is_top && trimmed == "}" {
            owner = None;
        }
        let named = trimmed.strip_prefix("pub ").unwrap_or_default();
        let is_listed =
            !named.is_empty() && !named.starts_with("use ") && !named.starts_with("mod ");
        let is_field = !is_top && owner.is_none() && !named.starts_with(char::is_uppercase);
        if is_listed && !is_field {
            let owner = owner.as_ref().map(|owner| format!("{owner}: ")).unwrap_or_default();
            items.push(format!("{owner}{}{}", kept(&attributes), signature(item, named)));
        }
        if !trimmed.is_empty() {
            attributes.clear();
        }
    }
}

/// The attributes that matter outside.
fn kept(attributes: &str) -> String {
    let kept = attributes.split("#[").filter_map(|it| match it {
        _ if it.starts_with("must_use") => Some("#[must_use] ".to_owned()),
        _ if it.starts_with("derive") || it.starts_with("non_exhaustive") => {
            Some(format!("#[{it}"))
        }
        _ => None,
    });
    kept.collect()
}

/// What an item looks like from outside.
fn signature(item: &str, named: &str) -> String {
    let head = || {
        one_line(item.split(['{', ';']).next().unwrap_or_default()).trim_end_matches(',').to_owned()
    };
    if named.starts_with("struct ") && item.contains('{') {
        let fields: String =
            item.lines().map(str::trim).filter(|it| it.starts_with("pub ")).skip(1).collect();
        return format!("{} {{ {} }}", head(), fields.replace(",pub", ", pub")).replace("  ", " ");
    }
    if named.starts_with("struct ") {
        return format!("{}(_)", head().split('(').next().unwrap_or_default());
    }
    let is_whole = named.starts_with("enum ") || named.starts_with(char::is_uppercase);
    if is_whole { one_line(item) } else { head() }
}

pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
