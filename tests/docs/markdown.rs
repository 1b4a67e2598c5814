//! Markdown as far as tests need it: code blocks with the comments before them, headings and links. Runs nothing.

use std::fmt;

/// A code block.
#[derive(Debug, Clone)]
pub(crate) struct Snippet {
    /// Relative to the package.
    pub(crate) page: String,
    line: usize,
    pub(crate) language: String,
    /// The comments right before it: a key, and what follows its colon.
    directives: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Snippet {
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.directives.iter().find(|(it, _)| it == key).map(|(_, value)| &**value)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(crate) fn is_run_nowhere(&self) -> bool {
        self.has("not run")
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.page, self.line, self.language)
    }
}

/// The code blocks of a page, from top to bottom.
pub(crate) fn snippets(page: &str, text: &str) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    let mut directives = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let inner = line.trim_start();
        let indent = line.len() - inner.len();
        if let Some(info) = inner.strip_prefix("```") {
            let mut code = String::new();
            for (_, line) in lines.by_ref().take_while(|(_, line)| line.trim() != "```") {
                code += line.get(indent..).unwrap_or_default();
                code.push('\n');
            }
            let language = info.split(',').next().unwrap_or_default().to_owned();
            let directives = std::mem::take(&mut directives);
            let (page, line) = (page.to_owned(), number + 1);
            snippets.push(Snippet { page, line, language, directives, text: code });
        } else if let Some(comment) = inner.strip_prefix("<!--") {
            let comment = comment.strip_suffix("-->").unwrap_or(comment).trim();
            // A reason is a sentence, with semicolons of its own.
            let parts = if comment.starts_with("not run:") { 1 } else { usize::MAX };
            for part in comment.splitn(parts, ';') {
                let (key, value) = part.split_once(':').unwrap_or((part, ""));
                directives.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        } else {
            directives.clear();
        }
    }
    snippets
}

/// The page without its code blocks and code words.
pub(crate) fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if !is_code && !is_fence {
            prose.extend(line.split('`').step_by(2));
        }
        prose.push('\n');
    }
    prose
}

/// Where links lead: what stands in `](…)`, `src="…"` and `srcset="…"`.
pub(crate) fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut links = Vec::new();
    for (mark, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
        let targets = prose.split(mark).skip(1).filter_map(|rest| rest.split(end).next());
        links.extend(targets.map(str::to_owned));
    }
    links
}

/// The anchors of the page's headings, as code hosts and mdBook make them.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

#[test]
fn blocks_have_their_comments_and_lose_their_indent() {
    let text = "a\n<!-- file: a.py -->\n<!-- keeps running; prints: x y -->\n```python\ni = 1\n```\n\n  ```sh\n  ls\n    -l\n  ```\n\
                <!-- not run: one; two -->\n```rust,no_run\n```\n";
    let found = snippets("p.md", text);
    let languages: Vec<_> = found.iter().map(|it| it.language.as_str()).collect();
    assert_eq!(languages, ["python", "sh", "rust"]);
    assert_eq!((found[0].value("file"), found[0].value("prints")), (Some("a.py"), Some("x y")));
    assert!(found[0].has("keeps running") && !found[1].has("keeps running"));
    assert_eq!((&*found[0].text, &*found[1].text), ("i = 1\n", "ls\n  -l\n"));
    assert_eq!(found[2].value("not run"), Some("one; two"));
    assert_eq!(found[2].to_string(), "p.md:13: rust");
}

#[test]
fn links_and_anchors_are_found_outside_of_code() {
    let text = "# A `b`, c\n[x](y.md#z) `[no](code)`\n```md\n# no\n[no](block)\n```\n<img src=\"i.png\">\n";
    assert_eq!(links(text), ["y.md#z", "i.png"]);
    assert_eq!(anchors(text), ["a-b-c"]);
}
