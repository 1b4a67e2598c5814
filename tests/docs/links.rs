//! Every relative link leads to a file and a heading, and every page is in the summary. Asks no network.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::docs::{markdown, pages};

#[test]
fn every_link_leads_somewhere() {
    let mut complaints = Vec::new();
    let mut count = 0;
    for (page, text) in pages::all() {
        for link in markdown::links(&text) {
            count += 1;
            complaints
                .extend(complaint(&page, &text, &link).map(|why| format!("{page}: {link}: {why}")));
        }
    }
    assert!(count > 100, "only {count} links found");
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn wrong_links_are_found() {
    let text = "# Here\n";
    for (page, link) in [
        ("README.md", "docs/nowhere.md"),
        ("README.md", "#there"),
        ("docs/start.md", "programs.md#nowhere"),
        ("docs/start.md", "../README.md"),
    ] {
        assert!(complaint(page, text, link).is_some(), "{page}: {link}");
    }
    for (page, link) in
        [("README.md", "#here"), ("README.md", "docs/start.md"), ("docs/start.md", "https://a.b")]
    {
        assert_eq!(complaint(page, text, link), None, "{page}: {link}");
    }
}

fn complaint(page: &str, text: &str, link: &str) -> Option<&'static str> {
    if link.starts_with("https://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.into() } else { join(Path::new(page), file) };
    if page.starts_with("docs/") && !target.starts_with("docs") {
        return Some("leaves the handbook, so it breaks on the site");
    }
    if !pages::root().join(&target).exists() {
        return Some("no such file");
    }
    let read = || fs::read_to_string(pages::root().join(&target)).unwrap();
    let target_text = if file.is_empty() {
        text.to_owned()
    } else if anchor.is_empty() {
        String::new()
    } else {
        read()
    };
    let has_anchor = || markdown::anchors(&target_text).iter().any(|it| it == anchor);
    (!anchor.is_empty() && !has_anchor()).then_some("no such heading")
}

/// `link` as seen from `page`, without `..`.
fn join(page: &Path, link: &str) -> PathBuf {
    let mut path: PathBuf = page.parent().unwrap_or(Path::new("")).into();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(pages::root().join("docs/SUMMARY.md")).unwrap();
    let listed = markdown::links(&summary);
    for (page, _) in pages::handbook() {
        let name = page.strip_prefix("docs/").unwrap();
        assert!(
            name == "SUMMARY.md" || listed.iter().any(|it| it == name),
            "not in SUMMARY.md: {page}"
        );
    }
}
