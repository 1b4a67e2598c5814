//! README and the pages of the handbook, as files. Knows nothing of what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::docs::markdown::{self, Snippet};

/// Pages outside of the handbook whose links are followed.
const BESIDE: [&str; 5] =
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benches/README.md"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path and text of README and of every page of the handbook.
pub(crate) fn with_code() -> Vec<(String, String)> {
    let mut pages = handbook();
    pages.push(read("README.md"));
    pages
}

/// Path and text of every page whose links are followed.
pub(crate) fn all() -> Vec<(String, String)> {
    handbook().into_iter().chain(BESIDE.map(read)).collect()
}

/// Path and text of every page of the handbook.
pub(crate) fn handbook() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(read(&relative(&path)));
            }
        }
    }
    pages.sort_unstable();
    assert!(pages.len() > 30, "only {} pages found", pages.len());
    pages
}

/// Every code block of README and handbook.
pub(crate) fn snippets() -> Vec<Snippet> {
    with_code().iter().flat_map(|(page, text)| markdown::snippets(page, text)).collect()
}

/// The code blocks in `language` that a test has to run.
pub(crate) fn in_language(language: &str) -> Vec<Snippet> {
    let mut snippets = snippets();
    snippets.retain(|it| it.language == language && !it.is_run_nowhere());
    assert!(!snippets.is_empty(), "no code block in {language}");
    snippets
}

fn read(page: &str) -> (String, String) {
    (page.to_owned(), fs::read_to_string(root().join(page)).unwrap())
}

fn relative(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap().into();
    path.to_str().unwrap().to_owned()
}
