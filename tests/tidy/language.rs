//! Plain English: turns of phrase that are hard to read, and where they are looked for.

use std::fs;
use std::path::Path;

/// Folders and files that the rule holds for. `src`, `tests` and `benches` join when their words are rewritten.
const CHECKED: [&str; 7] =
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "examples", "www"];
const EXTENSIONS: [&str; 7] = ["md", "rs", "js", "ts", "html", "css", "toml"];

/// Each with what to write in its place.
const PHRASES: [(&str, &str); 18] = [
    ("all the same", "anyway, or nothing"),
    ("at the most", "at most"),
    ("be it", "or"),
    ("but for", "except"),
    ("goes without", "has no"),
    ("has room", "is not full"),
    ("have room", "are not full"),
    ("is none of", "is not"),
    ("is said", "say by what: a log line, an option"),
    ("is told", "gets, sees, reads"),
    ("and no more than", "at most"),
    ("are told", "get, see, read"),
    ("nobody", "no client, no publisher"),
    ("somebody", "a client, a publisher"),
    ("anybody", "any client, any publisher"),
    ("whoever", "the client that, the publisher that"),
    ("what there is", "name the thing"),
    ("there is none", "say what is missing"),
];

/// Lines that may have such a phrase: a path, and a part of the line.
const ALLOWED: [(&str, &str); 1] = [
    // A quotation of what the gateway logs.
    ("docs/reference/logs.md", "`nobody is accepted until connections end: …`"),
];

#[test]
fn the_words_are_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    let mut files = 0;
    let mut paths: Vec<_> = CHECKED.map(str::to_owned).into();
    while let Some(path) = paths.pop() {
        if root.join(&path).is_dir() {
            let names = fs::read_dir(root.join(&path)).unwrap();
            let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
            // What cargo builds for a package of its own.
            paths.extend(names.filter(|it| it != "target").map(|name| format!("{path}/{name}")));
        } else if EXTENSIONS.iter().any(|extension| path.ends_with(&format!(".{extension}"))) {
            let text = fs::read_to_string(root.join(&path)).unwrap();
            complaints.extend(hard_words(&path, &text));
            files += 1;
        }
    }
    assert!(files > 70, "only {files} files found");
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn hard_words_are_found_across_lines_and_questions_are_not() {
    for text in [
        "It is none\nof them.",
        "// It is none\n// of them.",
        "Nobody reads it.",
        "It ends. Who comes later waits.",
        "- Who reads this.",
        "/// Who has it.",
    ] {
        assert_eq!(hard_words("a.md", text).len(), 1, "{text}");
    }
    for text in ["Who reads this?", "A client who reads.", "The body is notable.", "`WHO` is one."]
    {
        assert_eq!(hard_words("a.md", text), Vec::<String>::new(), "{text}");
    }
}

/// A complaint for each hard phrase.
fn hard_words(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(words).collect();
    let mut complaints = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        // With the next line, since a phrase may be broken there.
        let next = lines.get(number + 1).map_or("", |next| next);
        let pair = format!(" {line} {next} ").to_lowercase();
        let line_len = line.len() + 1;
        if ALLOWED.iter().any(|(file, part)| *file == path && line.contains(part)) {
            continue;
        }
        for (phrase, plain) in PHRASES {
            let at = pair.find(&format!(" {phrase}")).filter(|at| *at < line_len);
            let ends = |at: usize| !pair[at + 1 + phrase.len()..].starts_with(char::is_alphabetic);
            if at.is_some_and(ends) {
                complaints.push(format!("{path}:{}: \"{phrase}\": {plain}", number + 1));
            }
        }
        if starts_with_who(line, next) {
            complaints.push(format!(
                "{path}:{}: \"who\": name the client, the publisher, the reader",
                number + 1
            ));
        }
    }
    complaints
}

/// The line without the marks of comments, lists and emphasis.
fn words(line: &str) -> String {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || "/!*-#>|(".contains(c));
    let line: String = line.chars().filter(|c| !"*_\"(".contains(*c)).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a sentence begins with "Who" in this line and is no question.
fn starts_with_who(line: &str, next: &str) -> bool {
    let begins = line.match_indices("Who ").map(|(at, _)| at);
    let mut sentences = begins.filter(|at| *at == 0 || line[..*at].ends_with(". "));
    sentences.any(|at| {
        let rest = format!("{} {next}", &line[at..]);
        !rest.split_inclusive(['.', '?']).next().unwrap_or_default().ends_with('?')
    })
}
