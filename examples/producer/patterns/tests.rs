//! Patterns over folders that change between two looks.

use std::ffi::OsStr;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::follower::{Common, Follower, GRACE, Sink, Visit};
use crate::lines::Budget;

struct Folder(PathBuf);

impl Folder {
    fn new(names: &[&str]) -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("zmq2ws-patterns-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        names.iter().for_each(|name| folder.make(name));
        folder
    }

    fn make(&self, name: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn patterns(&self, arguments: &[&str], threads: usize, files_max: usize) -> Patterns {
        self.patterns_with(arguments, threads, files_max, TopicFrom::Name)
    }

    fn patterns_with(
        &self,
        arguments: &[&str],
        threads: usize,
        files_max: usize,
        topic_from: TopicFrom,
    ) -> Patterns {
        let arguments: Vec<_> = arguments.iter().map(|argument| self.0.join(argument)).collect();
        let topics = ("host".to_owned(), topic_from);
        let claims = Arc::new(Claims::with_limit(1000));
        Patterns::new(&arguments, claims, topics, threads, room(files_max)).unwrap()
    }

    /// The names of what is found, in order.
    fn names(&self, found: &Found) -> Vec<String> {
        let name = |(_, it): &(usize, Assignment)| {
            it.path.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned()
        };
        let mut names: Vec<_> = found.assignments.iter().map(name).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn room(files_max: usize) -> Room {
    Room::new(files_max, u64::MAX, 1)
}

const NOTHING: [&str; 0] = [];

#[test]
fn patterns_find_what_is_there_and_what_comes() {
    let folder = Folder::new(&["a.log", "b.log", ".hidden.log", "c.txt", "sub/d.log"]);
    let mut patterns = folder.patterns(&["*.log", "later"], 1, 100);
    assert_eq!(folder.names(&patterns.look(|| false)), ["a.log", "b.log", "later"]);
    assert_eq!(folder.names(&patterns.look(|| false)), NOTHING);
    folder.make("e.log");
    assert_eq!(folder.names(&patterns.look(|| false)), ["e.log"]);
    let mut deep = folder.patterns(&["**/*.log"], 1, 100);
    assert_eq!(folder.names(&deep.look(|| false)), ["a.log", "b.log", "e.log", "sub/d.log"]);
}

#[test]
fn a_name_that_is_not_utf8_is_found_and_hides_no_other() {
    let folder = Folder::new(&["a.log"]);
    let name = |bytes: &[u8]| folder.0.join(OsStr::from_bytes(bytes));
    fs::write(name(b"\xff.txt"), "").unwrap();
    fs::create_dir(name(b"\xfe")).unwrap();
    let mut patterns = folder.patterns(&["*.log", "*/*.log"], 1, 100);
    assert_eq!(folder.names(&patterns.look(|| false)), ["a.log"]);
    fs::write(name(b"\xff.log"), "").unwrap();
    fs::write(name(b"\xfe/b.log"), "").unwrap();
    let found = patterns.look(|| false).assignments;
    let paths: Vec<_> = found.into_iter().map(|(_, assignment)| assignment.path).collect();
    assert_eq!(paths, [name(b"\xfe/b.log"), name(b"\xff.log")]);
}

#[test]
fn a_search_everywhere_finds_each_file_once_and_follows_no_circle() {
    let folder = Folder::new(&["a/b/x.log", "a/x.log", "x.log", ".git/x.log", "a/.x.log"]);
    std::os::unix::fs::symlink(&folder.0, folder.0.join("a/circle")).unwrap();
    let all = ["a/b/x.log", "a/x.log", "x.log"];
    for pattern in ["**/x.log", "**/**/*.log", "**", "**/*"] {
        let found = folder.patterns(&[pattern], 1, 100).look(|| false);
        assert_eq!(folder.names(&found), all, "{pattern}");
    }
    assert_eq!(folder.names(&folder.patterns(&["*/*/x.log"], 1, 9).look(|| false)).len(), 2);
    assert_eq!(folder.names(&folder.patterns(&["**"], 1, 9).look(|| true)), NOTHING);
}

#[test]
fn a_name_with_brackets_is_no_pattern_where_a_file_has_it() {
    let folder = Folder::new(&["[x].log", "x.log"]);
    assert_eq!(folder.names(&folder.patterns(&["[x].log"], 1, 9).look(|| false)), ["[x].log"]);
    fs::remove_file(folder.0.join("[x].log")).unwrap();
    assert_eq!(folder.names(&folder.patterns(&["[x].log"], 1, 9).look(|| false)), ["x.log"]);
    let arguments = [PathBuf::from("/nowhere/***")];
    let topics = ("host".to_owned(), TopicFrom::Name);
    assert!(
        Patterns::new(&arguments, Arc::new(Claims::with_limit(9)), topics, 1, room(9)).is_err()
    );
}

#[test]
fn a_renamed_file_is_not_found_again_and_its_successor_is_nobody_elses() {
    let folder = Folder::new(&["app.log"]);
    let mut patterns = folder.patterns(&["app.log*"], 1, 100);
    assert_eq!(folder.names(&patterns.look(|| false)), ["app.log"]);
    let rename = |from: &str, to: &str| fs::rename(folder.0.join(from), folder.0.join(to)).unwrap();
    rename("app.log", "app.log.1");
    folder.make("app.log");
    // As the follower says when it opens what it finds.
    let identity = |name: &str| Identity::of(&fs::metadata(folder.0.join(name)).unwrap());
    patterns.claims.open(identity("app.log.1"));
    patterns.claims.open(identity("app.log"));
    assert_eq!(folder.names(&patterns.look(|| false)), NOTHING);
    // Long after it was closed, the whole chain moves on.
    patterns.claims.close(identity("app.log.1"), 0);
    assert_eq!(folder.names(&patterns.look(|| false)), NOTHING);
    rename("app.log.1", "app.log.2");
    rename("app.log", "app.log.1");
    folder.make("app.log");
    assert_eq!(folder.names(&patterns.look(|| false)), NOTHING);
    // A second name is no second file.
    fs::hard_link(folder.0.join("app.log.2"), folder.0.join("app.log.3")).unwrap();
    assert_eq!(folder.names(&patterns.look(|| false)), NOTHING);
}

/// Lines, and nothing else.
#[derive(Default)]
struct Seen(Vec<String>);

impl Sink for Seen {
    fn line(&mut self, line: &[u8]) -> bool {
        self.0.push(String::from_utf8_lossy(line).into_owned());
        true
    }

    fn note(&mut self, _: &str) {}
}

#[test]
fn a_live_file_that_is_renamed_within_the_pattern_is_read_on_when_its_name_is_given_up() {
    let folder = Folder::new(&[]);
    let path = |name: &str| folder.0.join(name);
    let append = |name: &str, text: &str| {
        let file = fs::OpenOptions::new().create(true).append(true).open(path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut patterns = folder.patterns(&["*.log"], 1, 9);
    let common = Common {
        claims: Arc::clone(&patterns.claims),
        line_bytes_max: 100,
        budget: Budget::with_limit(100),
        stop: Arc::default(),
    };
    let common = Arc::new(common);
    let follow = |found: Found| {
        let [(_, assignment)] = &found.assignments[..] else { panic!("{found:?}") };
        let start = assignment.resume.unwrap_or(Start::All);
        Follower::new(assignment.path.clone(), start, Arc::clone(&common))
    };
    let visit = |follower: &mut Follower, now: Instant| {
        let mut seen = Seen::default();
        let visit = follower.visit(now, &mut [0; 64], &mut seen);
        (seen.0, visit)
    };
    let now = Instant::now();
    append("z.log", "1\n");
    let mut follower = follow(patterns.look(|| false));
    assert_eq!(visit(&mut follower, now).0, ["1"]);
    fs::rename(path("z.log"), path("y.log")).unwrap();
    append("y.log", "2\n");
    assert_eq!(visit(&mut follower, now).0, ["2"]);
    assert_eq!(patterns.look(|| false), Found::default());
    assert_eq!(visit(&mut follower, now + GRACE).1, Visit::Gone);
    drop(follower);
    patterns.forget(&path("z.log"));
    assert_eq!(patterns.look(|| false), Found::default(), "nothing new in it");
    append("y.log", "3\n");
    let mut follower = follow(patterns.look(|| false));
    assert_eq!(follower.path(), path("y.log"));
    assert_eq!(visit(&mut follower, now).0, ["3"]);
    // The same again, but emptied between two looks.
    fs::rename(path("y.log"), path("x.log")).unwrap();
    visit(&mut follower, now);
    assert_eq!(visit(&mut follower, now + GRACE).1, Visit::Gone);
    patterns.forget(&path("y.log"));
    fs::write(path("x.log"), "4\n").unwrap();
    assert_eq!(visit(&mut follow(patterns.look(|| false)), now).0, ["4"]);
}

#[test]
fn a_file_that_was_forgotten_is_found_anew() {
    let folder = Folder::new(&["a.log"]);
    let mut patterns = folder.patterns(&["*.log"], 1, 1);
    patterns.look(|| false);
    fs::remove_file(folder.0.join("a.log")).unwrap();
    patterns.forget(&folder.0.join("a.log"));
    patterns.look(|| false);
    folder.make("a.log");
    assert_eq!(folder.names(&patterns.look(|| false)), ["a.log"]);
}

#[test]
fn files_are_shared_evenly_among_threads_and_limited() {
    let names: Vec<_> = (0..10).map(|number| format!("{number}.log")).collect();
    let folder = Folder::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut patterns = folder.patterns(&["*.log"], 4, 9);
    let found = patterns.look(|| false);
    assert_eq!(found.assignments.len(), 9);
    assert!(found.notes[0].contains("--max-files"), "{:?}", found.notes);
    assert!(patterns.loads.iter().all(|&load| load == 2 || load == 3), "{:?}", patterns.loads);
    assert_eq!(patterns.look(|| false), Found::default(), "said once");
    // Room for the one that was left over.
    patterns.forget(&folder.0.join("0.log"));
    fs::remove_file(folder.0.join("0.log")).unwrap();
    assert_eq!(patterns.look(|| false).assignments.len(), 1);
}

#[test]
fn a_topic_is_the_host_and_the_name_or_the_path() {
    let folder = Folder::new(&["x/app.log", "y/app.log"]);
    let mut by_name = folder.patterns(&["*/app.log"], 1, 9);
    let found = by_name.look(|| false);
    assert!(found.assignments.iter().all(|(_, it)| it.topic == b"host/app.log"), "{found:?}");
    assert!(found.notes[0].contains("same topic"), "{found:?}");
    let found = folder.patterns_with(&["*/app.log"], 1, 9, TopicFrom::Path).look(|| false);
    let expected = format!("host{}/x/app.log", folder.0.display());
    assert_eq!(String::from_utf8_lossy(&found.assignments[0].1.topic), expected);
    assert_eq!(found.notes, NOTHING);
}
